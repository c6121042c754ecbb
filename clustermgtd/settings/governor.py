"""`Clustermgtd.Governor`: EC2's limits as they are for this account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from clustermgtd.decide.budget import EC2_DEFAULTS, UNLIMITED, BucketName, Limit
from clustermgtd.settings.section import Seconds, Section


class Bucket(Section):
    """One of EC2's token buckets; keys that are left out are EC2's default for it."""

    enabled: bool = True
    """If false, the daemon does not hold back."""
    size: Annotated[float | None, Field(ge=1, le=1_000_000)] = None
    """Tokens of a full bucket."""
    refill_per_second: Annotated[float | None, Field(gt=0, le=1_000_000)] = None
    """Tokens that come back each second."""

    def limit(self, default: Limit) -> Limit:
        """What it holds, where the file says nothing `default`."""
        if not self.enabled:
            return UNLIMITED
        size, refill = self.size, self.refill_per_second
        return Limit(default.size if size is None else size, default.refill_per_s if refill is None else refill)


class Governor(Section):
    """Keeps calls within EC2's limits for this account and Region, and learns from throttles."""

    enabled: bool = True
    """If false, calls are made at once and EC2 throttles them."""
    boot_seconds: Seconds = 180.0
    """From a launch to slurmd's registration, as this site knows it; for warnings about ResumeTimeout."""
    describe_requests: Bucket = Bucket()
    """DescribeInstances calls. EC2's default: size 100, 20 a second."""
    launch_requests: Bucket = Bucket()
    """CreateFleet calls. EC2's default: size 50, 5 a second."""
    launch_instances: Bucket = Bucket()
    """Instances launched. EC2's default: size 1,000, 2 a second."""
    terminate_requests: Bucket = Bucket()
    """TerminateInstances calls. EC2's default: size 100, 5 a second."""
    terminate_instances: Bucket = Bucket()
    """Instances ended. EC2's default: size 1,000, 20 a second."""

    @property
    def limits(self) -> Mapping[BucketName, Limit]:
        """Every bucket."""
        buckets = {
            BucketName.DESCRIBE_REQUESTS: self.describe_requests,
            BucketName.LAUNCH_REQUESTS: self.launch_requests,
            BucketName.LAUNCH_INSTANCES: self.launch_instances,
            BucketName.TERMINATE_REQUESTS: self.terminate_requests,
            BucketName.TERMINATE_INSTANCES: self.terminate_instances,
        }
        return {name: b.limit(EC2_DEFAULTS[name]) if self.enabled else UNLIMITED for name, b in buckets.items()}
