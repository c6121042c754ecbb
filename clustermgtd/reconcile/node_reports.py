"""What node agents told, for the snapshot: reads only reports that changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from clustermgtd.errors import ClustermgtdError
from clustermgtd.model.action import Action
from clustermgtd.model.claim import Launch, LaunchResult
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.node_report import NodeReport
from clustermgtd.model.notice import Notice, NoticeKind
from clustermgtd.model.snapshot import Plan, Snapshot
from clustermgtd.ports.clock import Clock
from clustermgtd.ports.node_agents import NodeAgents

log = structlog.get_logger(__name__)

UNSEEN_KEPT_S = 600.0
"""A report of an instance that EC2 never showed is kept for so long; EC2's reads lag behind agents by seconds."""
REPORTS_MAX = 50_000


@dataclass(frozen=True, slots=True)
class _Entry:
    report: NodeReport
    received_at: float
    """Monotonic seconds."""


class NodeReportBook:
    """A `LoopObserver`. Announced reports are read once in a period, those of a predecessor's time once at the start.

    An announcement is acknowledged when its report is in the book. The report stays stored, so a daemon that dies
    afterwards loses nothing.
    """

    def __init__(
        self,
        node_agents: NodeAgents,
        clock: Clock,
        period_s: Callable[[], float],
        changed: Callable[[], None],
        offer: Callable[[Sequence[Notice]], bool],
    ) -> None:
        """`changed` is called when a report says something that a decision may depend on. `offer` is given the notices
        of each report; False: there is no room for them now."""
        self._node_agents = node_agents
        self._clock = clock
        self._period_s = period_s
        self._changed = changed
        self._offer = offer
        self._entries: dict[InstanceId, _Entry] = {}
        self._live: frozenset[InstanceId] = frozenset()
        self._seen: frozenset[InstanceId] = frozenset()
        """Live ones of this term, among those that still have an entry."""
        self._first_tick = asyncio.Event()
        self._has_failed = False
        self._read_at = 0.0

    @property
    def read_at(self) -> float:
        """When the newest reading that left nothing out began, epoch seconds; 0: there was none."""
        return self._read_at

    def reports(self) -> Mapping[InstanceId, NodeReport]:
        """The newest known."""
        return {instance: entry.report for instance, entry in self._entries.items()}

    async def run(self) -> None:
        """Read until cancelled. What cannot be read is said once and tried again after a period."""
        await self._first_tick.wait()
        is_caught_up = False
        while True:
            began_at = self._clock.now()
            try:
                if not is_caught_up:
                    is_caught_up = self._take(await self._node_agents.reports(sorted(self._live)))
                await self.read_announced()
            except ClustermgtdError as error:
                if not self._has_failed:
                    log.warning("node_reports_unreadable", error=str(error))
                self._has_failed = True
            else:
                if self._has_failed:
                    log.info("node_reports_readable_again")
                self._has_failed = False
                self._read_at = began_at if is_caught_up else 0.0
            await self._clock.sleep(self._period_s())

    async def read_announced(self) -> None:
        """One round. Without an instance there is no agent, and nothing is read.

        Raises:
            TransientError, ConfigurationError: nothing was acknowledged that is not in the book.
        """
        if not self._live:
            return
        announcements = await self._node_agents.announcements()
        if announcements:
            reports = await self._node_agents.reports({announcement.instance for announcement in announcements})
            if self._take(reports):
                await self._node_agents.acknowledge(announcements)

    def _take(self, reports: Mapping[InstanceId, NodeReport]) -> bool:
        """Into the book; False if some of it has to be read again."""
        is_news = False
        is_taken = True
        for instance, report in sorted(reports.items()):
            before = self._entries.get(instance)
            if before is None and len(self._entries) >= REPORTS_MAX:
                log.warning("node_reports_full", instance_id=instance)
                break
            known = before.report if before else NodeReport(instance)
            told = (*report.notices, *_withdrawn(known, report))
            if told and not self._offer(told):
                is_taken = False
                continue
            self._entries[instance] = _Entry(report, self._clock.monotonic())
            if report.news != known.news:
                is_news = True
                _tell(report, known)
        if is_news:
            self._changed()
        return is_taken

    def tick_done(self, snapshot: Snapshot, plan: Plan, duration_s: float) -> None:
        del plan, duration_s
        self._live = frozenset(id for id, instance in snapshot.instances.items() if instance.is_live)
        self._seen = (self._seen | self._live) & (self._entries.keys() | self._live)
        oldest = self._clock.monotonic() - UNSEEN_KEPT_S
        for instance in [
            instance
            for instance, entry in self._entries.items()
            if instance not in self._live and (instance in self._seen or entry.received_at < oldest)
        ]:
            del self._entries[instance]
        self._first_tick.set()

    def tick_failed(self, error: Exception, duration_s: float) -> None:
        """A failed tick shows no instances."""

    def action_applied(self, action: Action, outcome: str) -> None:
        """Reports do not follow actions."""

    def launch_done(self, launch: Launch, result: LaunchResult, duration_s: float) -> None:
        """A launched instance has not told anything yet."""


def _withdrawn(known: NodeReport, report: NodeReport) -> tuple[Notice, ...]:
    """Scheduled events that the metadata does not show any more: done with, or called off."""
    shown = {(notice.kind, notice.matter) for notice in report.notices}
    return tuple(
        replace(notice, is_over=True)
        for notice in known.notices
        if notice.kind is NoticeKind.SCHEDULED_EVENT and (notice.kind, notice.matter) not in shown
    )


def _tell(report: NodeReport, known: NodeReport) -> None:
    """One line for each thing that is new."""
    about = {"node": report.node, "instance_id": report.instance}
    for notice in (notice for notice in report.notices if notice not in known.notices):
        log.info(
            "node_notice",
            **about,
            kind=notice.kind,
            action=notice.action,
            effective_at=notice.effective_at,
            matter=notice.matter,
            is_over=notice.is_over,
        )
    if report.hook is not known.hook:
        log.info("node_hook", **about, state=report.hook)
    if report.slurmd != known.slurmd:
        trouble = report.slurmd
        log.log(
            30 if trouble else 20,
            "node_slurmd",
            **about,
            failures=trouble.failures if trouble else 0,
            exit_code=trouble.exit_code if trouble else None,
        )
    if report.health != known.health:
        check = report.health
        log.log(
            30 if check else 20,
            "node_health",
            **about,
            is_healthy=check is None,
            exit_code=check.exit_code if check else 0,
            output=check.output if check else "",
        )
    if report.ended and report.ended != known.ended:
        log.warning("node_ends_itself", **about, why=report.ended)
