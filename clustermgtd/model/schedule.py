"""Times at which a site wants nodes to be up, whether there are jobs or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

ScheduleName = NewType("ScheduleName", str)


@dataclass(frozen=True, slots=True)
class ScheduleTime:
    """Where a schedule is at one moment. Epoch seconds."""

    ends_at: float = 0.0
    """When the present window ends; in the past: there is none."""
    next_starts_at: float = float("inf")
    """When the next one begins, which may be before the present one ends."""

    def is_active(self, now: float) -> bool:
        return now < self.ends_at

    def changes_at(self, now: float) -> float:
        """When the clock alone changes something next."""
        return min(at for at in (self.ends_at, self.next_starts_at, float("inf")) if at > now)


@dataclass(frozen=True, slots=True)
class WarmNodes:
    """What one schedule wants of one compute resource."""

    schedule: ScheduleName
    minimum: int
    """Nodes that are up while it is active, static and busy ones among them."""
