"""Tells when jobs come short, are topped up, have all of their nodes, or are given back: log lines and counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import structlog

from clustermgtd.model.action import Action, StartLaunch
from clustermgtd.model.claim import Launch, LaunchResult
from clustermgtd.model.gang import GangEnd, HeldGang
from clustermgtd.model.ids import JobId
from clustermgtd.model.snapshot import Plan, Snapshot

log = structlog.get_logger(__name__)


class GangCounts(Protocol):
    """Who counts."""

    def gangs_held(self, gangs: int, missing: int) -> None:
        """So many jobs wait, and so many nodes of theirs have no instance."""
        ...

    def gang_hold_cost(self, dollars: float) -> None:
        """Instances that wait have cost so much more."""
        ...

    def gang_ended(self, end: GangEnd) -> None:
        """One job does not wait any more."""
        ...


class GangWatch:
    """A `LoopObserver`. After a restart a job that is short already is told of once more."""

    def __init__(self, counts: GangCounts) -> None:
        self._counts = counts
        self._known: dict[tuple[JobId, int], HeldGang] = {}

    def tick_done(self, snapshot: Snapshot, plan: Plan, duration_s: float) -> None:  # noqa: ARG002
        """A snapshot was taken and its plan applied."""
        waiting = [gang for gang in plan.gangs if gang.end is None]
        self._counts.gangs_held(len(waiting), sum(gang.missing for gang in waiting))
        now: dict[tuple[JobId, int], HeldGang] = {}
        for seen in plan.gangs:
            key = (seen.gang.job, seen.gang.restarts)
            before = self._known.get(key)
            if before is not None and before.gang != seen.gang:
                before = None
            spent = 0.0 if before is None else before.cost
            gang = now[key] = replace(seen, cost=max(seen.cost, spent))
            self._counts.gang_hold_cost(gang.cost - spent)
            if gang.end is None and before is None:
                log.warning("gang_short", **_facts(gang))
            elif gang.end is not None and (before is None or before.end is None):
                tell = log.info if gang.end is GangEnd.COMPLETE else log.warning
                tell("gang_complete" if gang.end is GangEnd.COMPLETE else "gang_released", **_facts(gang))
                self._counts.gang_ended(gang.end)
        self._known = now
        for action in plan.actions:
            if isinstance(action, StartLaunch) and any(gang.is_top_up for gang in action.launch.gangs):
                log.info(
                    "gang_topped_up",
                    job_id=action.launch.request.jobs[0],
                    launch_token=action.launch.token,
                    count=action.launch.request.count,
                    reason=action.reason,
                )

    def tick_failed(self, error: Exception, duration_s: float) -> None:
        """Nothing is known anew."""

    def action_applied(self, action: Action, outcome: str) -> None:
        """Plans say it all."""

    def launch_done(self, launch: Launch, result: LaunchResult, duration_s: float) -> None:
        """Plans say it all."""


def _facts(gang: HeldGang) -> dict[str, object]:
    return {
        "job_id": gang.gang.job,
        "nodes": gang.size,
        "missing": gang.missing,
        "held_s": round(gang.held_s, 1),
        "cost": round(gang.cost, 4),
        "cause": gang.end or "",
    }
