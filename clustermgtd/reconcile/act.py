"""Carries out a plan: intent, effect, record; bounded, idempotent, in the plan's order."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import structlog

from clustermgtd.decide.outcome import attempted, with_failure, with_result
from clustermgtd.errors import (
    ClustermgtdError,
    ConfigurationError,
    FencedError,
    NotFoundError,
    TransientError,
    WithdrawnError,
)
from clustermgtd.model.action import (
    Action,
    AssignAddresses,
    CancelJobs,
    ClosePartitions,
    DeleteReservation,
    DrainNodes,
    ExplainJobs,
    HoldNodes,
    LiftRequeueHold,
    OpenPartitions,
    PowerDownNodes,
    PowerUpNodes,
    RecordFleet,
    RecordLaunch,
    RecordOfferings,
    RecordSafeguards,
    ReleaseNodes,
    RestoreDrains,
    ReturnNodesToService,
    SetNodesDown,
    SetReservation,
    StartLaunch,
    TerminateInstances,
    WithdrawLaunch,
)
from clustermgtd.model.claim import ClaimState, Launch, NodeClaim
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.hostlist import fold
from clustermgtd.model.ids import LaunchToken
from clustermgtd.model.node import REASON_PREFIX
from clustermgtd.model.partition import PartitionState
from clustermgtd.model.snapshot import Plan
from clustermgtd.ports.clock import Clock
from clustermgtd.ports.fleet import Fleet
from clustermgtd.ports.scheduler import Scheduler
from clustermgtd.reconcile.ban_log import log_bans
from clustermgtd.reconcile.fleet_log import log_fleet, log_safeguards
from clustermgtd.reconcile.launch_queue import LaunchQueue
from clustermgtd.reconcile.ledger import Ledger
from clustermgtd.reconcile.observer import LoopObserver

log = structlog.get_logger(__name__)

CONCURRENT_CALLS_MAX = 20
REASON_LENGTH_MAX = 300
RESTAMP_S = 10.0
"""A call that waited longer than this is stored anew with the time at which it is made, because a launch of unknown
outcome is given up by the age of its call."""


class Actor:
    """Applies plans. Launch calls go on in the background; everything else is done when `apply` returns."""

    def __init__(
        self,
        fleet: Fleet,
        scheduler: Scheduler,
        ledger: Ledger,
        clock: Clock,
        observer: LoopObserver,
        queue: LaunchQueue,
    ) -> None:
        self._fleet = fleet
        self._scheduler = scheduler
        self._ledger = ledger
        self._clock = clock
        self._observer = observer
        self._calls = asyncio.Semaphore(CONCURRENT_CALLS_MAX)
        self._background: dict[LaunchToken, asyncio.Task[None]] = {}
        self._queue = queue
        self.on_launch_settled: Callable[[], None] = lambda: None
        """Called after each launch call ended, whatever came of it."""
        self.fatal: ClustermgtdError | None = None
        """Set by a background launch that found this daemon fenced."""

    async def apply(self, plan: Plan, group: asyncio.TaskGroup) -> None:
        """Records first: if one cannot be stored nothing else of the plan happens. Then the effects.

        An effect that fails is logged and left to the next tick, which sees the same world and decides again.

        Raises:
            FencedError: another daemon took over; the caller stops.
            TransientError: a record was not stored.
        """
        for action in plan.actions:
            if isinstance(action, RecordOfferings | RecordFleet | RecordSafeguards):
                await self._remember(action)
        records = [action for action in plan.actions if isinstance(action, RecordLaunch)]
        starts = [action for action in plan.actions if isinstance(action, StartLaunch)]
        await asyncio.gather(*(self._record(action) for action in records))
        intents = await asyncio.gather(*(self._intend(action) for action in starts))
        for start, launch in zip(starts, intents, strict=True):
            if launch is not None:
                self._start(start, launch, group)
        for action in plan.actions:
            if not isinstance(action, RecordOfferings | RecordFleet | RecordSafeguards | RecordLaunch | StartLaunch):
                await self._effect(action)

    async def settle(self, seconds: float) -> None:
        """Wait for launch calls that are being made for at most so long, then break them off.

        Those that wait for their turn are broken off at once: their intents are stored.
        """
        for token in self._queue.waiting:
            self._background[token].cancel()
        if self._background:
            _, late = await asyncio.wait(self._background.values(), timeout=seconds)
            for task in late:
                task.cancel()

    async def _record(self, action: RecordLaunch) -> None:
        before = self._ledger.launches.get(action.launch.token)
        async with self._calls:
            await self._ledger.store(action.launch)
        self._observer.action_applied(action, "ok")
        _log_changes(before, action.launch)

    async def _remember(self, action: RecordOfferings | RecordFleet | RecordSafeguards) -> None:
        match action:
            case RecordOfferings(offerings):
                before = self._ledger.offerings
                await self._ledger.store_offerings(offerings)
                log_bans(before, offerings)
            case RecordFleet(record):
                known = self._ledger.fleet
                await self._ledger.store_fleet(record)
                log_fleet(known, record)
            case RecordSafeguards(safeguards):
                stored = self._ledger.safeguards
                await self._ledger.store_safeguards(safeguards)
                log_safeguards(stored, safeguards)
        self._observer.action_applied(action, "ok")

    async def _intend(self, action: StartLaunch) -> Launch | None:
        """The stored intent, or None if it could not be stored (the node is still unclaimed and comes up again)."""
        try:
            async with self._calls:
                return await self._ledger.store(attempted(action.launch, self._clock.now()))
        except FencedError:
            raise
        except ClustermgtdError as error:
            log.warning("launch_not_recorded", launch_token=action.launch.token, error=str(error))
            self._observer.action_applied(action, "failed")
            return None

    def _start(self, action: StartLaunch, launch: Launch, group: asyncio.TaskGroup) -> None:
        self._ledger.in_flight.add(launch.token)
        task = group.create_task(self._launch(action, launch), name=f"launch {launch.token}")
        self._background[launch.token] = task
        task.add_done_callback(lambda _: self._background.pop(launch.token, None))

    async def _launch(self, action: StartLaunch, launch: Launch) -> None:
        """One CreateFleet call in its turn, and the record of its outcome."""
        started = self._clock.monotonic()
        facts = {
            "launch_token": launch.token,
            "queue": launch.request.queue,
            "compute_resource": launch.request.compute_resource,
            "nodes": fold([claim.node for claim in launch.claims]),
            "job_ids": list(launch.request.jobs),
            "reason": action.reason,
        }
        try:
            outcome = await self._outcome(launch)
            if outcome is not None:
                stored = await self._ledger.store(outcome)
                _log_answer(stored, facts | {"seconds": round(self._clock.monotonic() - started, 3)})
                is_served = not stored.is_refused and not any(claim.failure for claim in stored.claims)
                self._observer.action_applied(action, "ok" if is_served else "failed")
        except FencedError as error:
            self.fatal = error
        except ClustermgtdError as error:
            log.warning("launch_unsettled", **facts, error=str(error), code=error.code, request_id=error.request_id)
            self._observer.action_applied(action, "failed")
        finally:
            self._ledger.in_flight.discard(launch.token)
            self.on_launch_settled()

    async def _outcome(self, launch: Launch) -> Launch | None:
        """The launch after its turn came and its call was made, or was withdrawn before.

        None if it was withdrawn and an earlier call may have been made: the intent stays.

        Raises:
            FencedError, ConflictError: the launch was changed by another daemon while it waited; no call was made.
            TransientError: there was no answer, or EC2 asked to come back; the intent stays for a replay.
        """
        try:
            async with self._queue.turn(launch) as waited_s:
                if waited_s > RESTAMP_S:
                    launch = await self._ledger.store(replace(launch, last_attempt_at=self._clock.now()))
                async with self._calls:
                    return await self._call(launch)
        except WithdrawnError as error:
            log.info("launch_withdrawn", launch_token=launch.token, attempts=launch.attempts)
            if launch.attempts > 1:
                return None
            return with_failure(launch, FailureKind.THROTTLED, error.code, str(error), self._clock.now())

    async def _call(self, launch: Launch) -> Launch:
        """The launch after EC2's answer.

        Raises:
            TransientError: there was no answer, or EC2 asked to come back; the intent stays for a replay.
        """
        started = self._clock.monotonic()
        try:
            result = await self._fleet.launch(launch)
        except TransientError:
            raise
        except ClustermgtdError as error:
            kind = FailureKind.CONFIGURATION if isinstance(error, ConfigurationError) else FailureKind.UNKNOWN
            return with_failure(launch, kind, error.code, f"(Code:{error.code}) {error}", self._clock.now())
        settled = with_result(launch, result, self._clock.now())
        self._observer.launch_done(settled, result, self._clock.monotonic() - started)
        return settled

    async def _effect(self, action: Action) -> None:
        try:
            await self._carry_out(action)
        except FencedError:
            raise
        except NotFoundError as error:
            log.warning("action_target_unknown", action=type(action).__name__, error=str(error))
            self._observer.action_applied(action, "failed")
        except ClustermgtdError as error:
            log.warning(
                "action_failed",
                action=type(action).__name__,
                reason=getattr(action, "reason", ""),
                error=str(error),
                code=error.code,
                request_id=error.request_id,
            )
            self._observer.action_applied(action, "failed")
        else:
            self._observer.action_applied(action, "ok")

    async def _carry_out(self, action: Action) -> None:
        match action:
            case TerminateInstances(instances, reason):
                result = await self._fleet.terminate(instances)
                if result.accepted:
                    log.info("instances_terminating", instances=sorted(result.accepted), reason=reason)
                for instance, code in result.refused:
                    log.warning("instance_not_terminated", instance_id=instance, code=code, reason=reason)
            case SetNodesDown(nodes, reason, detail, powers_down):
                text = f"{REASON_PREFIX} {reason} {detail}".strip()[:REASON_LENGTH_MAX]
                await self._scheduler.set_down(nodes, text)
                if powers_down:
                    await self._scheduler.power_down(nodes)
                log.warning("nodes_down", nodes=fold(nodes), reason=reason, detail=detail)
            case HoldNodes(nodes, detail, reason):
                await self._scheduler.hold(nodes, f"{REASON_PREFIX} {reason} {detail}"[:REASON_LENGTH_MAX])
                log.warning("nodes_held", nodes=fold(nodes), reason=reason, detail=detail)
            case RestoreDrains(nodes, text, reason):
                await self._scheduler.hold(nodes, text)
                log.warning("drains_restored", nodes=fold(nodes), text=text, reason=reason)
            case DrainNodes(nodes, reason, detail):
                await self._scheduler.drain(nodes, f"{REASON_PREFIX} {reason} {detail}".strip()[:REASON_LENGTH_MAX])
                log.warning("nodes_draining", nodes=fold(nodes), reason=reason, detail=detail)
            case ReleaseNodes(nodes, reason):
                await self._scheduler.release(nodes)
                log.info("nodes_released", nodes=fold(nodes), reason=reason)
            case PowerDownNodes(nodes, reason):
                await self._scheduler.power_down(nodes)
                log.info("nodes_powering_down", nodes=fold(nodes), reason=reason)
            case PowerUpNodes(nodes, reason):
                await self._scheduler.power_up(nodes)
                log.info("nodes_powering_up", nodes=fold(nodes), reason=reason)
            case ReturnNodesToService(nodes, reason):
                await self._scheduler.return_to_service(nodes)
                log.info("nodes_returned_to_service", nodes=fold(nodes), reason=reason)
            case WithdrawLaunch(token, reason):
                self._queue.withdraw(token)
            case AssignAddresses(addresses):
                await self._scheduler.assign_addresses(addresses)
                log.info("addresses_assigned", nodes=fold([node for node, _ in addresses]))
            case SetReservation(reservation, reason):
                await self._scheduler.reserve(reservation)
                log.info(
                    "reservation_set",
                    reservation=reservation.name,
                    nodes=fold(reservation.nodes),
                    starts_at=reservation.starts_at,
                    ends_at=reservation.ends_at,
                    reason=reason,
                )
            case DeleteReservation(name, reason):
                await self._scheduler.delete_reservation(name)
                log.info("reservation_deleted", reservation=name, reason=reason)
            case LiftRequeueHold(job, reason):
                await self._scheduler.lift_requeue_hold(job)
                log.info("requeue_hold_lifted", job_id=job, reason=reason)
            case ExplainJobs(jobs, text, reason):
                for job in jobs:
                    await self._scheduler.explain_job(job, text)
                log.info("jobs_explained", job_ids=list(jobs), text=text, reason=reason)
            case ClosePartitions(partitions, reason):
                for partition in partitions:
                    await self._scheduler.set_partition_state(partition, PartitionState.INACTIVE)
                log.info("partitions_closed", partitions=list(partitions), reason=reason)
            case OpenPartitions(partitions, reason):
                for partition in partitions:
                    await self._scheduler.set_partition_state(partition, PartitionState.UP)
                log.info("partitions_opened", partitions=list(partitions), reason=reason)
            case CancelJobs(jobs, reason):
                await self._scheduler.cancel_jobs(jobs)
                log.warning("jobs_cancelled", job_ids=list(jobs), reason=reason)
            case RecordOfferings() | RecordFleet() | RecordSafeguards() | RecordLaunch() | StartLaunch():
                raise AssertionError("records and launches are applied before effects")


def _log_answer(launch: Launch, facts: dict[str, object]) -> None:
    """One line for what a call came to."""
    failed = [claim for claim in launch.claims if claim.failure]
    if launch.is_refused and launch.outcome is not None:
        log.warning("launch_replay_refused", **facts, attempts=launch.attempts, cause=launch.outcome.cause)
        return
    log.info(
        "launch_done" if not failed else "launch_short",
        **facts,
        instances=sorted(launch.instances),
        missing=fold([claim.node for claim in failed]),
        cause=failed[0].history[-1].cause if failed else "",
    )


def _log_changes(before: Launch | None, after: Launch) -> None:
    """One line for each state that claims of a launch came to, with their nodes and the cause."""
    known = {claim.node: claim.state for claim in before.claims} if before else {}
    changed: dict[tuple[ClaimState, str], list[NodeClaim]] = defaultdict(list)
    for claim in after.claims:
        if claim.state is not known.get(claim.node):
            changed[claim.state, claim.history[-1].cause].append(claim)
    for (state, cause), claims in sorted(changed.items()):
        log.info(
            "claims_changed",
            launch_token=after.token,
            state=state,
            nodes=fold([claim.node for claim in claims]),
            instances=sorted({claim.instance for claim in claims if claim.instance}),
            cause=cause,
        )
