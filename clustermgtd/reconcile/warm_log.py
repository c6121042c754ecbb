"""One log line when a schedule begins to want a compute resource's nodes, one when they are there, one when it ends."""

from __future__ import annotations

import structlog

from clustermgtd.model.action import Action
from clustermgtd.model.claim import Launch, LaunchResult
from clustermgtd.model.hostlist import fold
from clustermgtd.model.policy import ComputeResourceKey
from clustermgtd.model.snapshot import Plan, Snapshot
from clustermgtd.model.warm import WarmStatus

log = structlog.get_logger(__name__)


class WarmLog:
    """A `LoopObserver` that compares each decision's warm nodes with those of the one before."""

    def __init__(self) -> None:
        self._before: dict[ComputeResourceKey, WarmStatus] = {}

    def tick_done(self, snapshot: Snapshot, plan: Plan, duration_s: float) -> None:  # noqa: ARG002
        """A snapshot was taken and its plan applied."""
        now = {status.key: status for status in plan.warm}
        for key in sorted(self._before.keys() | now.keys(), key=lambda key: (key.queue, key.name)):
            _compare(self._before.get(key, WarmStatus(key)), now.get(key, WarmStatus(key)))
        self._before = now

    def tick_failed(self, error: Exception, duration_s: float) -> None:
        """Nothing was decided."""

    def action_applied(self, action: Action, outcome: str) -> None:
        """Of no interest here."""

    def launch_done(self, launch: Launch, result: LaunchResult, duration_s: float) -> None:
        """Of no interest here."""


def _compare(before: WarmStatus, after: WarmStatus) -> None:
    asked_anew = (after.schedule, after.wanted) != (before.schedule, before.wanted)
    if before.wanted and not after.wanted:
        log.info("warm_nodes_released", **_facts(after), schedule=before.schedule)
    elif after.wanted and asked_anew:
        log.info("warm_nodes_wanted", **_facts(after), schedule=after.schedule, until=after.until)
    if after.wanted and after.warm == after.wanted and (asked_anew or before.warm < before.wanted):
        log.info("warm_nodes_up", **_facts(after), schedule=after.schedule, kept=fold(after.kept))


def _facts(status: WarmStatus) -> dict[str, object]:
    return {
        "queue": status.key.queue,
        "compute_resource": status.key.name,
        "wanted": status.wanted,
        "up": status.up,
        "cost_per_hour": round(status.cost_per_hour, 4),
    }
