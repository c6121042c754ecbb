"""Jobs that keep what arrived while they wait for the rest of their nodes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from clustermgtd.model.ids import JobId


class GangOrder(StrEnum):
    """Which job is served first; of equal ones the older."""

    PRIORITY = "priority"
    """Slurm's job priority, then smaller jobs first."""
    PRIORITY_LARGEST_FIRST = "priority-largest-first"
    """Slurm's job priority, then larger jobs first."""
    LARGEST_FIRST = "largest-first"
    SMALLEST_FIRST = "smallest-first"
    ARRIVAL = "arrival"
    """By job number."""


@dataclass(frozen=True, slots=True)
class GangPolicy:
    """How jobs of several nodes are collected."""

    keep_above: int = 1000
    """Jobs with more nodes are collected over several launches; at most 1,000, EC2's limit for all or nothing."""
    hold_s: float = 600.0
    """How long a job that came short keeps its instances."""
    hold_cost_max: float = 100.0
    """US dollars that they may cost meanwhile, for one job; instances of unknown price cost nothing."""
    order: GangOrder = GangOrder.PRIORITY

    def keeps(self, size: int) -> bool:
        """A job of so many nodes keeps what arrived."""
        return size > max(self.keep_above, 1)


class GangEnd(StrEnum):
    """Why a job does not keep its instances for the rest any longer."""

    COMPLETE = "complete"
    """The rest arrived."""
    TIME = "time"
    """It waited for as long as it may."""
    COST = "cost"
    """What waited has cost as much as it may."""
    REFUSED = "refused"
    """Nothing that may pass stands in the way: the rest will not come."""
    GONE = "gone"
    """The job was cancelled or requeued."""


@dataclass(frozen=True, slots=True, order=True)
class ShortGang:
    """A job that came short and keeps what arrived, as stored."""

    job: JobId
    restarts: int
    """Which of the job's attempts it is: a later one has a time of its own."""
    since: float
    """Epoch seconds."""


@dataclass(frozen=True, slots=True)
class HeldGang:
    """How it stands with a job that came short."""

    gang: ShortGang
    size: int
    """Nodes of the job."""
    missing: int
    """Those that have no instance."""
    held_s: float
    cost: float = 0.0
    """US dollars that its instances cost since it came short, as far as prices are known."""
    end: GangEnd | None = None
    """None while it waits."""
