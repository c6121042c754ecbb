"""EC2's token buckets: requests per action, and instances per action.

Defaults: https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket that starts full."""

    size: float
    refill_per_s: float


NON_MUTATING = "non-mutating"
UNFILTERED = "unfiltered"
MUTATING = "mutating"

REQUEST_BUCKETS: Mapping[str, Bucket] = MappingProxyType(
    {
        NON_MUTATING: Bucket(100, 20),
        UNFILTERED: Bucket(50, 10),
        MUTATING: Bucket(50, 5),
        "RunInstances": Bucket(5, 2),
        "StartInstances": Bucket(5, 2),
        "TerminateInstances": Bucket(100, 5),
        "CreateTags": Bucket(100, 10),
        "DeleteTags": Bucket(100, 10),
        "CreateLaunchTemplateVersion": Bucket(100, 5),
        "ModifyLaunchTemplate": Bucket(100, 5),
        "CreateNetworkInterface": Bucket(100, 5),
        "DescribeInstanceTopology": Bucket(1, 1),
    }
)
RESOURCE_BUCKETS: Mapping[str, Bucket] = MappingProxyType(
    {
        "RunInstances": Bucket(1000, 2),
        "StartInstances": Bucket(1000, 2),
        "TerminateInstances": Bucket(1000, 20),
        "StopInstances": Bucket(1000, 20),
    }
)
_UNFILTERED_ACTIONS = frozenset(
    {
        "DescribeInstances",
        "DescribeInstanceStatus",
        "DescribeNetworkInterfaces",
        "DescribeSecurityGroups",
        "DescribeSpotInstanceRequests",
        "DescribeVolumes",
    }
)


class TokenBuckets:
    """The levels of a set of buckets. A name without a bucket is unlimited."""

    def __init__(self, buckets: Mapping[str, Bucket]) -> None:
        self._buckets = dict(buckets)
        self._levels: dict[str, tuple[float, float]] = {}
        """name -> (tokens, as of)."""

    def available(self, name: str, now: float) -> float:
        """Tokens there are now; infinite for a name without a bucket."""
        bucket = self._buckets.get(name)
        if bucket is None:
            return float("inf")
        tokens, since = self._levels.get(name, (bucket.size, now))
        return min(bucket.size, tokens + max(0.0, now - since) * bucket.refill_per_s)

    def take(self, name: str, count: float, now: float) -> bool:
        """Take all of `count`, or nothing."""
        tokens = self.available(name, now)
        if tokens + 1e-9 < count:
            return False
        if name in self._buckets:
            self._levels[name] = (tokens - count, now)
        return True

    def set(self, name: str, bucket: Bucket | None, now: float) -> None:
        """Replace a bucket, keeping its tokens as far as they fit; None lifts the limit."""
        if bucket is None:
            self._buckets.pop(name, None)
            self._levels.pop(name, None)
            return
        tokens = min(self.available(name, now), bucket.size)
        self._buckets[name] = bucket
        self._levels[name] = (tokens, now)


def request_bucket(action: str, *, bare: bool) -> str:
    """The bucket that a call of `action` draws on; `bare` when it has no filter, no ids and no page size."""
    if action in REQUEST_BUCKETS:
        return action
    if action.startswith(("Describe", "Get", "Search", "List")):
        return UNFILTERED if bare and action in _UNFILTERED_ACTIONS else NON_MUTATING
    return MUTATING
