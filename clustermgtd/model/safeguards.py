"""What the daemon holds back on its own, and the counts that this depends on. Stored: a restart forgets nothing."""

from __future__ import annotations

from dataclasses import dataclass

from clustermgtd.model.ids import ComputeResourceName, JobId, QueueName


@dataclass(frozen=True, slots=True)
class TerminationPolicy:
    """How many involuntary terminations are allowed."""

    per_minute: int = 20
    """Of all queues."""
    percent: float = 25.0
    """Of the queue's instances, within a minute; at least `ALWAYS_ALLOWED`."""


ALWAYS_ALLOWED = 2
"""Of one queue within a minute, however small it is."""
WINDOW_S = 60.0


@dataclass(frozen=True, slots=True, order=True)
class Terminated:
    """Involuntary terminations of one decision."""

    at: float
    """Epoch seconds."""
    queue: QueueName
    reason: str
    """A `Reason`, as text."""
    count: int


@dataclass(frozen=True, slots=True, order=True)
class HeldBack:
    """Terminations that a limit forbids for now."""

    queue: QueueName
    reason: str
    """A `Reason`, as text."""
    count: int


@dataclass(frozen=True, slots=True)
class ProtectionPolicy:
    """When launches stop because nodes do not come up."""

    failures_max: int = 10
    """In a row, of one compute resource; 0 never stops."""
    backoff_s: tuple[float, ...] = (600.0, 1800.0, 7200.0)
    """Until one launch may try again, after the first stop, after one more failure, and so on; the last one repeats."""


@dataclass(frozen=True, slots=True)
class BootRecord:
    """A compute resource whose last instances did not become nodes."""

    queue: QueueName
    compute_resource: ComputeResourceName
    failures: int
    """In a row: no node of the compute resource came up since the first of them."""
    configuration: str = ""
    """`ComputeResourcePolicy.configuration` of it: once that changed, nothing of this counts."""
    since: float = 0.0
    """Epoch seconds since which it is protected; 0 if it is not."""
    until: float = 0.0
    """Epoch seconds: from then on one small launch at a time tries."""
    level: int = 0
    """How many of those failed."""
    cause: str = ""
    """Of the last failure, for people."""

    @property
    def is_protected(self) -> bool:
        return self.since > 0.0


@dataclass(frozen=True, slots=True)
class Safeguards:
    """All of it, as stored."""

    terminated: tuple[Terminated, ...] = ()
    """Those of the last minute, as of the last write; sorted."""
    held_back: tuple[HeldBack, ...] = ()
    """Sorted. Not empty: somebody has to look."""
    boots: tuple[BootRecord, ...] = ()
    """Sorted by queue and compute resource; none where the last node came up."""
    told: tuple[JobId, ...] = ()
    """Jobs that say, by our hand, that their queue is protected; sorted."""
    version: int = 0
    """The stored version this value was read from; 0 is not stored yet."""
