"""EC2's token buckets as this daemon believes them to be: pure arithmetic, learning from throttles.

Defaults: https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

SHARE_MIN = 1 / 16
"""Least share of the configured limits that throttles may lead to."""
RECOVERY_S = 600.0
"""From nothing back to the whole of the configured limits, in a straight line."""
PAUSE_S = 2.0
"""Pause after a throttle, over the share that is left: 4 s after the first, at most 32 s."""


class BucketName(StrEnum):
    """Requests are counted per API, instances per kind of call."""

    DESCRIBE_REQUESTS = "describe-requests"
    LAUNCH_REQUESTS = "launch-requests"
    LAUNCH_INSTANCES = "launch-instances"
    TERMINATE_REQUESTS = "terminate-requests"
    TERMINATE_INSTANCES = "terminate-instances"


@dataclass(frozen=True, slots=True)
class Limit:
    """A bucket as it is configured. Infinite numbers are no limit."""

    size: float
    """Tokens when it is full."""
    refill_per_s: float

    @property
    def is_off(self) -> bool:
        return math.isinf(self.size)


UNLIMITED = Limit(math.inf, math.inf)

EC2_DEFAULTS: Mapping[BucketName, Limit] = MappingProxyType(
    {
        BucketName.DESCRIBE_REQUESTS: Limit(100, 20),
        BucketName.LAUNCH_REQUESTS: Limit(50, 5),
        BucketName.LAUNCH_INSTANCES: Limit(1000, 2),
        BucketName.TERMINATE_REQUESTS: Limit(100, 5),
        BucketName.TERMINATE_INSTANCES: Limit(1000, 20),
    }
)
"""Per account and Region, unless AWS raised them. CreateFleet draws on the mutating requests and on RunInstances'
instances."""


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """What is believed about one bucket as of `at`. Times are seconds of any one clock."""

    limit: Limit
    tokens: float
    """May be below zero: what was spent beyond the knowledge of the moment is paid back first."""
    at: float
    share: float = 1.0
    """The part of the limit that is believed in as of `at`; throttles halve it, time restores it."""
    throttled_at: float = -math.inf
    paused_until: float = -math.inf

    @classmethod
    def full(cls, limit: Limit, now: float) -> TokenBucket:
        return cls(limit, limit.size, now)

    def share_at(self, now: float) -> float:
        return min(1.0, self.share + max(0.0, now - self.at) / RECOVERY_S)

    def size_at(self, now: float) -> float:
        """Tokens that it holds at most; at least one, or it would never let anything pass."""
        return self.limit.size if self.limit.is_off else max(1.0, self.limit.size * self.share_at(now))

    def refill_at(self, now: float) -> float:
        """Tokens a second."""
        return self.limit.refill_per_s * self.share_at(now)

    def level(self, now: float) -> float:
        """Tokens there are."""
        if self.limit.is_off:
            return math.inf
        elapsed = max(0.0, now - self.at)
        rising = min(elapsed, (1.0 - self.share) * RECOVERY_S)
        full_seconds = rising * (self.share + rising / (2 * RECOVERY_S)) + (elapsed - rising)
        return min(self.size_at(now), self.tokens + full_seconds * self.limit.refill_per_s)

    def wait_s(self, count: float, now: float) -> float:
        """Seconds until `count` tokens can be taken, 0 if they can be now.

        More than the bucket can hold are there when it is full. While the share recovers this is an upper bound.
        """
        if self.limit.is_off:
            return 0.0
        missing = min(count, self.size_at(now)) - self.level(now)
        refill = missing / self.refill_at(now) if missing > 1e-9 else 0.0
        return max(refill, self.paused_until - now, 0.0)

    def backlog_s(self, count: float, now: float) -> float:
        """Seconds until the last of `count` tokens has been taken, whatever the size of the bucket."""
        if self.limit.is_off:
            return 0.0
        missing = max(0.0, count - self.level(now))
        return max(missing / self.refill_at(now), self.paused_until - now, 0.0)

    def spend(self, count: float, now: float) -> TokenBucket:
        """The bucket after `count` tokens were taken, there or not; a negative count gives tokens back."""
        if self.limit.is_off:
            return self
        tokens = min(self.size_at(now), self.level(now) - count)
        return replace(self, tokens=tokens, share=self.share_at(now), at=now)

    def throttled(self, called_at: float, now: float) -> TokenBucket:
        """The bucket after EC2 throttled a call that began at `called_at`.

        It is known to be empty now, and half of what was believed in is believed in. Calls that began before the
        last throttle was known say nothing new: many callers that run into the same wall pause the bucket once.
        """
        if self.limit.is_off or called_at <= self.throttled_at:
            return self
        share = max(SHARE_MIN, self.share_at(now) / 2)
        tokens = min(0.0, self.level(now))
        return replace(self, tokens=tokens, at=now, share=share, throttled_at=now, paused_until=now + PAUSE_S / share)

    def with_limit(self, limit: Limit, now: float) -> TokenBucket:
        """The bucket under another limit, with its tokens as far as they fit; one that was off begins full."""
        if limit.is_off or self.limit.is_off:
            return TokenBucket.full(limit, now)
        return replace(self, limit=limit, tokens=min(limit.size, self.level(now)), share=self.share_at(now), at=now)

    def after(self, spent_at: Iterable[float], now: float) -> TokenBucket:
        """A bucket that was full before the moments at which one token each was spent: what a restart can see."""
        bucket = self
        moments = sorted(moment for moment in spent_at if moment <= now)
        if moments and not self.limit.is_off:
            bucket = TokenBucket.full(self.limit, moments[0])
            for moment in moments:
                bucket = bucket.spend(1.0, moment)
            return replace(bucket, tokens=min(self.level(now), bucket.level(now)), at=now)
        return bucket


def launch_wait_s(count: int, limit: Limit) -> float:
    """Seconds until the last of `count` instances may be asked for, from a full bucket."""
    return TokenBucket.full(limit, 0.0).backlog_s(count, 0.0)
