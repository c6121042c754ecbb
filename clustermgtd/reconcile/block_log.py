"""One log line for each capacity block that comes to another phase of its life."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from clustermgtd.model.action import Action
from clustermgtd.model.capacity_block import BlockPhase
from clustermgtd.model.claim import Launch, LaunchResult
from clustermgtd.model.ids import CapacityReservationId
from clustermgtd.model.snapshot import Plan, Snapshot

log = structlog.get_logger(__name__)


class BlockLog:
    """A `LoopObserver`."""

    def __init__(self) -> None:
        self._phases: Mapping[CapacityReservationId, BlockPhase] = {}

    def tick_done(self, snapshot: Snapshot, plan: Plan, duration_s: float) -> None:  # noqa: ARG002
        """Compare the phases with those of the tick before."""
        for status in {status.id: status for status in plan.blocks}.values():
            if self._phases.get(status.id) is not status.phase:
                level = 30 if status.phase is BlockPhase.NONE else 20
                log.log(
                    level,
                    "capacity_block",
                    capacity_reservation=status.id,
                    phase=status.phase,
                    queue=status.queue,
                    starts_in_s=round(status.starts_at - snapshot.now),
                    drains_in_s=round(status.drains_at - snapshot.now),
                    ends_in_s=round(status.ends_at - snapshot.now),
                )
        self._phases = {status.id: status.phase for status in plan.blocks}

    def tick_failed(self, error: Exception, duration_s: float) -> None:
        """Nothing was learned."""

    def action_applied(self, action: Action, outcome: str) -> None:
        """Logged where it is done."""

    def launch_done(self, launch: Launch, result: LaunchResult, duration_s: float) -> None:
        """Logged where it is done."""
