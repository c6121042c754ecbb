"""Slurm's view of a job, as far as scaling depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from clustermgtd.model.ids import JobId, NodeName, QueueName


class JobTag(StrEnum):
    """A fact about a job that may be shown on its instances (`Clustermgtd.JobTags`)."""

    JOB_ID = "JobId"
    USER = "User"
    ACCOUNT = "Account"
    PARTITION = "Partition"


@dataclass(frozen=True, slots=True)
class JobTags:
    """What the instances of one launch say about the job that they are for."""

    values: tuple[tuple[JobTag, str], ...] = ()
    """As Slurm has them, empty ones left out; the provider's rules for tags are the adapter's business."""
    is_shared: bool = False
    """The launch serves several jobs, and `values` are the first one's."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job at the moment of the observation."""

    id: JobId
    state: str
    """Slurm's job state: PENDING, CONFIGURING, RUNNING, COMPLETING, ..."""
    reason: str = ""
    """Why it is pending: Resources, BeginTime, Priority, ..."""
    partition: QueueName = QueueName("")
    user: str = ""
    nodes: tuple[NodeName, ...] = ()
    """The present allocation, sorted; empty while pending."""
    restarts: int = 0
    """How often Slurm has requeued it."""
    priority: int = 0
    account: str = ""
    """The account it is charged to; empty where Slurm keeps none."""
    started_at: float = 0.0
    """Epoch seconds at which it got its present nodes, in whole seconds; 0 while pending, or if Slurm does not say."""
    begins_at: float = 0.0
    """Epoch seconds before which Slurm will not start it, in whole seconds; 0 unless pending and Slurm says so."""

    @property
    def is_configuring(self) -> bool:
        """Nodes are allocated and are being powered up."""
        return self.state == "CONFIGURING"

    @property
    def is_held_after_requeue(self) -> bool:
        """Slurm requeued it and holds it for about `cred_expire` seconds (120 by default) before it may start."""
        return self.state == "PENDING" and self.reason == "BeginTime" and self.restarts > 0
