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
    tiers_s: float = 0.0
    """The longest that a job waits for capacity tiers, all MaxWaitSeconds of a compute resource together."""
    hold_s: float = 0.0
    """How long a job of the queue may wait for its last nodes; 0 if none is so large that it may."""

    @property
    def margin_s(self) -> float:
        """Below zero Slurm gives up nodes that were asked for late, or not at all yet."""
        return self.resume_timeout_s - self.wait_s - self.tiers_s - self.boot_s

    @property
    def text(self) -> str:
        """With the numbers, for people."""
        tiers = f"its capacity tiers' MaxWaitSeconds are {self.tiers_s:,.0f} s, " if self.tiers_s else ""
        in_all = self.resume_timeout_s - self.margin_s
        return (
            f"queue {self.queue} can have {self.nodes:,} nodes; EC2's limit ({self.limit.size:,.0f} at once, "
            f"then {self.limit.refill_per_s:g} a second) lets the last one be requested after {self.wait_s:,.0f} s, "
            f"{tiers}and it boots in {self.boot_s:,.0f} s: {in_all:,.0f} s in all, but its ResumeTimeout "
            f"is {self.resume_timeout_s:,.0f} s, after which Slurm sets nodes DOWN that are still waited for"
        )

    @property
    def is_hold_short(self) -> bool:
        """Slurm ends the wait of a job that came short, and not `Gangs.HoldSeconds`."""
        return self.hold_s > 0 and self.hold_s + self.boot_s > self.resume_timeout_s

    @property
    def hold_text(self) -> str:
        """With the numbers, for people."""
        return (
            f"queue {self.queue}: a job that came short may wait {self.hold_s:,.0f} s for its last nodes "
            f"(Clustermgtd.Gangs.HoldSeconds), and a boot takes {self.boot_s:,.0f} s, but ResumeTimeout is "
            f"{self.resume_timeout_s:,.0f} s, after which Slurm sets the missing nodes DOWN and requeues the job"
        )


def resume_margins(settings: Settings) -> tuple[ResumeMargin, ...]:
    """One for each queue, in the file's order."""
    governor, gangs = settings.clustermgtd.governor, settings.clustermgtd.gangs
    limits: Mapping[BucketName, Limit] = governor.limits
    limit = limits[BucketName.LAUNCH_INSTANCES]
    counts: dict[QueueName, int] = {}
    for nodes in settings.nodes:
        counts[nodes.key.queue] = counts.get(nodes.key.queue, 0) + len(nodes.static) + len(nodes.dynamic)
    waits = {
        QueueName(queue.name): max(
            sum(tier.max_wait_s for tier in settings.tiers_of(queue, resource)) for resource in queue.compute_resources
        )
        for queue in settings.scheduling.slurm_queues
    }
    return tuple(
        ResumeMargin(
            queue=queue,
            nodes=count,
            wait_s=launch_wait_s(count, limit),
            boot_s=governor.boot_seconds,
            resume_timeout_s=float(settings.times_of(queue).resume_timeout_seconds or settings.resume_timeout_s),
            limit=limit,
            tiers_s=waits[queue],
            hold_s=gangs.hold_seconds if gangs.policy.keeps(count) else 0.0,
        )
        for queue, count in counts.items()
    )


def warnings(settings: Settings) -> list[str]:
    """Sentences for whoever wrote the file; empty if there is nothing to say."""
    margins = resume_margins(settings)
    return [
        *(margin.text for margin in margins if margin.margin_s < 0),
        *(margin.hold_text for margin in margins if margin.is_hold_short),
    ]
