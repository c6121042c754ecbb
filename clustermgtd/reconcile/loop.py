"""The loop: one tick after another, soon when there is something to wait for, seldom when there is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from clustermgtd.decide.plan import decide
from clustermgtd.decide.requeue import HURRY_S
from clustermgtd.decide.reservations import next_change
from clustermgtd.errors import ClustermgtdError, FencedError
from clustermgtd.model.capacity_block import BlockReading
from clustermgtd.model.claim import ClaimState
from clustermgtd.model.hostlist import fold
from clustermgtd.model.ids import InstanceId, SubnetId
from clustermgtd.model.node_report import NodeReport
from clustermgtd.model.notice import NoticeKind, Notices
from clustermgtd.model.offering import Subnet
from clustermgtd.model.policy import Policy
from clustermgtd.model.reservation import Reservation
from clustermgtd.model.schedule import ScheduleName, ScheduleTime
from clustermgtd.model.snapshot import Memory, Plan, Snapshot
from clustermgtd.ports.clock import Clock
from clustermgtd.ports.fleet import Fleet
from clustermgtd.ports.scheduler import Scheduler
from clustermgtd.reconcile.act import Actor
from clustermgtd.reconcile.inbox import Inbox
from clustermgtd.reconcile.launch_queue import LaunchQueue, NoQueue
from clustermgtd.reconcile.ledger import Ledger
from clustermgtd.reconcile.notice_book import NoticeBook
from clustermgtd.reconcile.observer import LoopObserver

log = structlog.get_logger(__name__)

STOP_S = 10.0
INLINE_NODES_MAX = 500
"""Decisions about more nodes than this (three milliseconds) are taken on a thread."""
_SETTLED = frozenset({ClaimState.READY, ClaimState.TERMINATED})


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two ticks."""

    quiet_s: float = 30.0
    """Nothing is under way."""
    waiting_s: float = 5.0
    """Some claim is between two states."""
    acted_s: float = 1.0
    """The last plan was not empty."""
    between_s: float = 0.2
    """At least this, so that a burst of hooks makes one tick."""
    failed_s: float = 5.0
    """The last tick failed."""


class Loop:
    """Observe, decide, act, record."""

    def __init__(
        self,
        fleet: Fleet,
        scheduler: Scheduler,
        ledger: Ledger,
        clock: Clock,
        observer: LoopObserver,
        queue: LaunchQueue | None = None,
    ) -> None:
        """`queue` is where launches wait for EC2's limits; without one their calls are made at once."""
        self._fleet = fleet
        self._scheduler = scheduler
        self._ledger = ledger
        self._clock = clock
        self._observer = observer
        self._queue = queue or NoQueue()
        self.actor = Actor(fleet, scheduler, ledger, clock, observer, self._queue)
        self.inbox = Inbox()
        self.notices = NoticeBook(clock, self.inbox.wake)
        self.actor.on_launch_settled = self.inbox.wake
        self.memory = Memory()
        self.subnets: Callable[[], Mapping[SubnetId, Subnet]] = dict
        """The newest reading of the subnets; none without one."""
        self.blocks: Callable[[], BlockReading] = BlockReading
        """The newest reading of the capacity blocks; none without one."""
        self._has_reservations = True
        """There may be reservations of ours in Slurm: those of a former daemon, at first."""
        self.schedules: Callable[[float], Mapping[ScheduleName, ScheduleTime]] = _no_schedules
        """Where a moment is in the site's schedules."""
        self.node_reports: Callable[[], Mapping[InstanceId, NodeReport]] = dict
        """What node agents told."""
        self.node_reports_at: Callable[[], float] = float
        """When the newest complete reading of those began."""
        self.ticks = 0
        self._is_stopping = False

    async def run(self, policy: Callable[[], Policy], pace: Callable[[], Pace]) -> None:
        """Tick until `stop`. Policy and pace are asked for anew each time, so that a reload is a swap.

        Launch calls that are being made when it stops get `STOP_S` to be answered and recorded; one that is not
        stays an intent, and the next daemon finds out what became of it.

        Raises:
            FencedError: another daemon took over (in an ExceptionGroup).
        """
        async with asyncio.TaskGroup() as group:
            while not self._is_stopping:
                pause = await self.tick(policy(), pace(), group)
                if not self._is_stopping:
                    await self._clock.sleep(pace().between_s)
                    await self.inbox.wait(max(0.0, pause - pace().between_s))
            await self.actor.settle(STOP_S)

    def stop(self) -> None:
        """End `run` after the present tick."""
        self._is_stopping = True
        self.inbox.wake()

    async def tick(self, policy: Policy, pace: Pace, group: asyncio.TaskGroup) -> float:
        """One round; returns the seconds until the next one is due if nothing wakes the loop.

        A tick that cannot observe or record ends there: nothing is decided from half of the facts.
        """
        self.ticks += 1
        started = self._clock.monotonic()
        letters = self.inbox.drain()
        with structlog.contextvars.bound_contextvars(tick=self.ticks):
            unstored = self.notices.drain()
            try:
                snapshot, plan = await self._round(policy, group)
            except FencedError:
                raise
            except ClustermgtdError as error:
                self.inbox.put_back(letters)
                self.notices.put_back(unstored)
                duration = self._clock.monotonic() - started
                log.warning("tick_failed", error=str(error), kind=type(error).__name__, seconds=round(duration, 3))
                self._observer.tick_failed(error, duration)
                return pace.failed_s
            for letter in letters:
                letter.on_stored()
            for on_stored in unstored:
                on_stored()
            await asyncio.sleep(0)  # what follows looks at every node again: hooks are answered in between
            duration = self._clock.monotonic() - started
            self._observer.tick_done(snapshot, plan, duration)
            log.log(
                20 if plan.actions else 10,
                "tick",
                hints=[f"{letter.hint.kind} {fold(letter.hint.nodes)}" for letter in letters],
                actions=len(plan.actions),
                nodes=len(snapshot.nodes),
                instances=sum(i.is_live for i in snapshot.instances.values()),
                open_launches=len(snapshot.launches),
                seconds=round(duration, 3),
            )
        return self._pause(snapshot, plan, pace)

    async def _round(self, policy: Policy, group: asyncio.TaskGroup) -> tuple[Snapshot, Plan]:
        if self.actor.fatal is not None:
            raise self.actor.fatal
        await self._ledger.confirm()
        snapshot = await self.observe(policy)
        plan = await _decided(snapshot, policy)
        self.memory = plan.memory
        self._ledger.next_launch = plan.next_launch
        try:
            await self.actor.apply(plan, group)
        except ClustermgtdError:
            self.memory = plan.memory.unless_carried_out(snapshot.memory)
            raise
        return snapshot, plan

    async def observe(self, policy: Policy) -> Snapshot:
        """Instances first, then Slurm, then our own records: see `Snapshot.instances`.

        Raises:
            TransientError: a source could not be read whole.
        """
        assert self._ledger.term is not None, "the ledger begins its term before the first tick"
        in_flight = frozenset(self._ledger.in_flight)
        instances = await self._fleet.instances()
        fleet = await self._ledger.read_fleet()
        view = await self._scheduler.view()
        launches = self._ledger.launches
        notices = self.notices.view(instances, launches)
        reservations = await self._reservations(policy, notices)
        partitions = {} if fleet.is_settled else await self._scheduler.partitions()
        now = self._clock.now()
        return Snapshot(
            now=now,
            nodes=view.nodes,
            jobs=view.jobs,
            instances=instances,
            launches=launches,
            in_flight=in_flight | self._ledger.in_flight,
            waiting=self._queue.waiting,
            token_prefix=self._ledger.term.token_prefix,
            next_launch=self._ledger.next_launch,
            memory=self.memory,
            offerings=self._ledger.offerings,
            subnets=self.subnets(),
            notices=notices,
            blocks=self.blocks(),
            reservations=reservations,
            node_reports=self.node_reports(),
            node_reports_at=self.node_reports_at(),
            fleet=fleet,
            safeguards=self._ledger.safeguards,
            partitions=partitions,
            schedules=self.schedules(now),
        )

    async def _reservations(self, policy: Policy, notices: Notices) -> Mapping[str, Reservation]:
        """Slurm's, as long as one of them may be ours: a cluster that needs none does not pay for the look."""
        is_needed = bool(policy.blocks.of) or any(
            notice.kind is NoticeKind.SCHEDULED_EVENT for told in notices.values() for notice in told
        )
        if not is_needed and not self._has_reservations:
            return {}
        found = await self._scheduler.reservations()
        self._has_reservations = is_needed or any(one.is_ours for one in found.values())
        return found

    def _pause(self, snapshot: Snapshot, plan: Plan, pace: Pace) -> float:
        if plan.actions:
            return pace.acted_s
        next_at = min(plan.offerings.next_end(snapshot.now), next_change(plan.blocks, snapshot.now), plan.wake_at)
        time_does_in = max(pace.acted_s, next_at - snapshot.now)
        is_waiting = (
            bool(plan.gangs or plan.fleet.is_moving)
            or any(snapshot.now - at < HURRY_S for at in plan.memory.freed_at.values())
            or any(claim.state not in _SETTLED for launch in snapshot.launches.values() for claim in launch.claims)
        )
        return min(pace.waiting_s if is_waiting else pace.quiet_s, time_does_in)


def _no_schedules(_: float) -> Mapping[ScheduleName, ScheduleTime]:
    return {}


async def _decided(snapshot: Snapshot, policy: Policy) -> Plan:
    """The plan. It is made from frozen values, so hooks are answered and replies are recorded meanwhile.

    What changes then are launches in flight, which the plan leaves alone.
    """
    if len(policy.nodes) <= INLINE_NODES_MAX:
        return decide(snapshot, policy)
    return await asyncio.to_thread(decide, snapshot, policy)
