"""One log line when a compute resource goes on to a lower capacity tier, and one when that is over."""

from __future__ import annotations

import structlog

from clustermgtd.model.action import Action
from clustermgtd.model.claim import Launch, LaunchResult
from clustermgtd.model.offering_memory import Fall, OfferingMemory
from clustermgtd.model.snapshot import Plan, Snapshot

log = structlog.get_logger(__name__)


class FallLog:
    """A `LoopObserver` that compares what each decision knew with what it leaves behind."""

    def __init__(self) -> None:
        self._active: dict[tuple[str, str, int], Fall] | None = None
        """None before the first tick: a daemon that starts says nothing of what another one said."""

    def tick_done(self, snapshot: Snapshot, plan: Plan, duration_s: float) -> None:  # noqa: ARG002
        """A snapshot was taken and its plan applied."""
        now = snapshot.now
        before = _active(snapshot.offerings, now) if self._active is None else self._active
        after = _active(plan.offerings, now)
        for key in sorted(after.keys() - before.keys()):
            fall = after[key]
            log.warning("compute_resource_fallen", **_facts(fall), seconds=round(fall.until - now, 1), cause=fall.cause)
        for key in sorted(before.keys() - after.keys()):
            is_over = not before[key].is_active(now)
            cause = "the time is over" if is_over else "a higher tier gave instances, or the tiers were changed"
            log.info("compute_resource_returned", **_facts(before[key]), cause=cause)
        self._active = after

    def tick_failed(self, error: Exception, duration_s: float) -> None:
        """Nothing was decided."""

    def action_applied(self, action: Action, outcome: str) -> None:
        """Of no interest here."""

    def launch_done(self, launch: Launch, result: LaunchResult, duration_s: float) -> None:
        """Of no interest here."""


def _active(memory: OfferingMemory, now: float) -> dict[tuple[str, str, int], Fall]:
    return {(fall.queue, fall.compute_resource, fall.tier): fall for fall in memory.falls if fall.is_active(now)}


def _facts(fall: Fall) -> dict[str, object]:
    return {
        "queue": fall.queue,
        "compute_resource": fall.compute_resource,
        "tier": fall.tier,
        "count": fall.count,
        "level": fall.level,
        "since": fall.since,
        "until": fall.until,
    }
