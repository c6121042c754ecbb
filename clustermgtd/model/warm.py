"""How many nodes of a compute resource schedules want up, and how many are."""

from __future__ import annotations

from dataclasses import dataclass

from clustermgtd.model.ids import NodeName
from clustermgtd.model.policy import ComputeResourceKey
from clustermgtd.model.schedule import ScheduleName


@dataclass(frozen=True, slots=True)
class WarmStatus:
    """One compute resource that a schedule may want nodes of."""

    key: ComputeResourceKey
    schedule: ScheduleName = ScheduleName("")
    """The active schedule that wants most; empty if none is active."""
    until: float = 0.0
    """When that schedule's window ends, epoch seconds."""
    wanted: int = 0
    up: int = 0
    """Nodes that jobs can start on at once, or that run some."""
    kept: tuple[NodeName, ...] = ()
    """Idle nodes that stay because of the schedule, however long they idle."""
    cost_per_hour: float = 0.0
    """What those cost, US dollars, as far as prices are known."""

    @property
    def warm(self) -> int:
        """Of the wanted ones, how many are up."""
        return min(self.up, self.wanted)
