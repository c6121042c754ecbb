"""Reads what node agents reported about their boots, once a node is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from clustermgtd.errors import ClustermgtdError
from clustermgtd.model.action import Action, RecordLaunch
from clustermgtd.model.claim import ClaimState, Launch, LaunchResult
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.snapshot import Plan, Snapshot
from clustermgtd.ports.claim_store import ClaimStore

log = structlog.get_logger(__name__)

BATCHES_MAX = 100
"""Ticks whose ready nodes may wait to be asked about; more are dropped, it is only statistics."""


class BootReports:
    """A `LoopObserver`. `report` is told each phase's name and the seconds from the launch to its end."""

    def __init__(self, claim_store: ClaimStore, report: Callable[[str, float], None]) -> None:
        self._claim_store = claim_store
        self._report = report
        self._ready: asyncio.Queue[Mapping[InstanceId, float]] = asyncio.Queue(BATCHES_MAX)

    async def run(self) -> None:
        """Ask for reports until cancelled; one that cannot be read is left out."""
        while True:
            launched_at = await self._ready.get()
            try:
                phases = await self._claim_store.boot_phases(launched_at)
            except ClustermgtdError as error:
                log.info("boot_reports_unreadable", error=str(error))
                continue
            for instance, ends in phases.items():
                for phase, at in ends.items():
                    self._report(phase, at - launched_at[instance])

    def tick_done(self, snapshot: Snapshot, plan: Plan, duration_s: float) -> None:
        del duration_s
        ready = {
            claim.instance: next(event.at for event in claim.history if event.state is ClaimState.LAUNCHED)
            for action in plan.actions
            if isinstance(action, RecordLaunch)
            for claim in action.launch.claims
            if claim.state is ClaimState.READY and claim.since == snapshot.now
        }
        if ready and not self._ready.full():
            self._ready.put_nowait(ready)

    def tick_failed(self, error: Exception, duration_s: float) -> None:
        """A failed tick makes no node ready."""

    def action_applied(self, action: Action, outcome: str) -> None:
        """Readiness is read from the plan."""

    def launch_done(self, launch: Launch, result: LaunchResult, duration_s: float) -> None:
        """A launched node is not ready yet."""
