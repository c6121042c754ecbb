"""What is allowed in a cluster.yaml and will disappoint all the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clustermgtd.decide.budget import BucketName, Limit, launch_wait_s
from clustermgtd.model.ids import QueueName
from clustermgtd.settings.cluster import Settings


@dataclass(frozen=True, slots=True)
class ResumeMargin:
    """How one queue's ResumeTimeout compares with the time that EC2's limits and a boot take. Times in seconds."""

    queue: QueueName
    nodes: int
    """All that the queue can have."""
    wait_s: float
    """Until the last of them may be asked for, from a full bucket."""
    boot_s: float
    resume_timeout_s: float
    limit: Limit

    @property
    def margin_s(self) -> float:
        """Below zero Slurm gives up nodes that were asked for late, or not at all yet."""
        return self.resume_timeout_s - self.wait_s - self.boot_s

    @property
    def text(self) -> str:
        """With the numbers, for people."""
        return (
            f"queue {self.queue} can have {self.nodes:,} nodes; EC2's limit ({self.limit.size:,.0f} at once, "
            f"then {self.limit.refill_per_s:g} a second) lets the last one be requested after {self.wait_s:,.0f} s, "
            f"and it boots in {self.boot_s:,.0f} s: {self.wait_s + self.boot_s:,.0f} s in all, but its ResumeTimeout "
            f"is {self.resume_timeout_s:,.0f} s, after which Slurm sets nodes DOWN that are still waited for"
        )


def resume_margins(settings: Settings) -> tuple[ResumeMargin, ...]:
    """One for each queue, in the file's order."""
    governor = settings.clustermgtd.governor
    limits: Mapping[BucketName, Limit] = governor.limits
    limit = limits[BucketName.LAUNCH_INSTANCES]
    counts: dict[QueueName, int] = {}
    for nodes in settings.nodes:
        counts[nodes.key.queue] = counts.get(nodes.key.queue, 0) + len(nodes.static) + len(nodes.dynamic)
    return tuple(
        ResumeMargin(
            queue=queue,
            nodes=count,
            wait_s=launch_wait_s(count, limit),
            boot_s=governor.boot_seconds,
            resume_timeout_s=float(settings.times_of(queue).resume_timeout_seconds or settings.resume_timeout_s),
            limit=limit,
        )
        for queue, count in counts.items()
    )


def warnings(settings: Settings) -> list[str]:
    """Sentences for whoever wrote the file; empty if there is nothing to say."""
    return [margin.text for margin in resume_margins(settings) if margin.margin_s < 0]
