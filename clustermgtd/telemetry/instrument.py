"""Decorators over ports: the same Protocol, each call counted with its duration and how it ended.

One small class per port, so that the type checker sees that nothing of the Protocol is missing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from clustermgtd.model.claim import Launch, LaunchResult, TerminateResult
from clustermgtd.model.fleet_status import FleetRecord
from clustermgtd.model.ids import InstanceId, JobId, LaunchToken, NodeName, QueueName
from clustermgtd.model.instance import Instance
from clustermgtd.model.job import Job
from clustermgtd.model.node import Node
from clustermgtd.model.node_report import NodeReport
from clustermgtd.model.notice import Notices
from clustermgtd.model.offering_memory import OfferingMemory
from clustermgtd.model.partition import PartitionState
from clustermgtd.model.reservation import Reservation
from clustermgtd.model.safeguards import Safeguards
from clustermgtd.ports.claim_store import ClaimStore, Term
from clustermgtd.ports.clock import Clock
from clustermgtd.ports.fleet import Fleet
from clustermgtd.ports.instance_status import InstanceStatusSource
from clustermgtd.ports.node_agents import Announcement, NodeAgents
from clustermgtd.ports.notice_queue import Message, NoticeQueue
from clustermgtd.ports.scheduler import Scheduler, SchedulerView
from clustermgtd.telemetry.labels import Port, call_outcome
from clustermgtd.telemetry.metrics import Metrics

T = TypeVar("T")


class _Observed:
    """Waits for a call and counts it; errors and cancellation pass through unchanged."""

    def __init__(self, port: Port, metrics: Metrics, clock: Clock) -> None:
        self._port = port
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, method: str, call: Awaitable[T]) -> T:
        started = self._clock.monotonic()
        raised: BaseException | None = None
        try:
            return await call
        except BaseException as error:
            raised = error
            raise
        finally:
            self._metrics.port_call(self._port, method, call_outcome(raised), self._clock.monotonic() - started)


class InstrumentedFleet:
    """A `Fleet` that counts."""

    def __init__(self, fleet: Fleet, metrics: Metrics, clock: Clock) -> None:
        self._fleet = fleet
        self._observed = _Observed(Port.FLEET, metrics, clock)

    async def launch(self, launch: Launch) -> LaunchResult:
        return await self._observed("launch", self._fleet.launch(launch))

    async def instances(self) -> Mapping[InstanceId, Instance]:
        return await self._observed("instances", self._fleet.instances())

    async def terminate(self, instances: Iterable[InstanceId]) -> TerminateResult:
        return await self._observed("terminate", self._fleet.terminate(instances))

    async def console_output(self, instance: InstanceId) -> str:
        return await self._observed("console_output", self._fleet.console_output(instance))


class InstrumentedScheduler:
    """A `Scheduler` that counts."""

    def __init__(self, scheduler: Scheduler, metrics: Metrics, clock: Clock) -> None:
        self._scheduler = scheduler
        self._observed = _Observed(Port.SCHEDULER, metrics, clock)

    async def view(self) -> SchedulerView:
        return await self._observed("view", self._scheduler.view())

    async def some_nodes(self, names: Sequence[NodeName]) -> Mapping[NodeName, Node]:
        return await self._observed("some_nodes", self._scheduler.some_nodes(names))

    async def some_jobs(self, ids: Sequence[JobId]) -> Mapping[JobId, Job]:
        return await self._observed("some_jobs", self._scheduler.some_jobs(ids))

    async def reservations(self) -> Mapping[str, Reservation]:
        return await self._observed("reservations", self._scheduler.reservations())

    async def reserve(self, reservation: Reservation) -> None:
        await self._observed("reserve", self._scheduler.reserve(reservation))

    async def delete_reservation(self, name: str) -> None:
        await self._observed("delete_reservation", self._scheduler.delete_reservation(name))

    async def set_down(self, nodes: Iterable[NodeName], reason: str) -> None:
        await self._observed("set_down", self._scheduler.set_down(nodes, reason))

    async def power_down(self, nodes: Iterable[NodeName]) -> None:
        await self._observed("power_down", self._scheduler.power_down(nodes))

    async def power_up(self, nodes: Iterable[NodeName]) -> None:
        await self._observed("power_up", self._scheduler.power_up(nodes))

    async def return_to_service(self, nodes: Iterable[NodeName]) -> None:
        await self._observed("return_to_service", self._scheduler.return_to_service(nodes))

    async def hold(self, nodes: Iterable[NodeName], reason: str) -> None:
        await self._observed("hold", self._scheduler.hold(nodes, reason))

    async def drain(self, nodes: Iterable[NodeName], reason: str) -> None:
        await self._observed("drain", self._scheduler.drain(nodes, reason))

    async def release(self, nodes: Iterable[NodeName]) -> None:
        await self._observed("release", self._scheduler.release(nodes))

    async def assign_addresses(self, addresses: Iterable[tuple[NodeName, str]]) -> None:
        await self._observed("assign_addresses", self._scheduler.assign_addresses(addresses))

    async def explain_job(self, job: JobId, text: str) -> None:
        await self._observed("explain_job", self._scheduler.explain_job(job, text))

    async def lift_requeue_hold(self, job: JobId) -> None:
        await self._observed("lift_requeue_hold", self._scheduler.lift_requeue_hold(job))

    async def cancel_jobs(self, jobs: Iterable[JobId]) -> None:
        await self._observed("cancel_jobs", self._scheduler.cancel_jobs(jobs))

    async def partitions(self) -> Mapping[QueueName, PartitionState]:
        return await self._observed("partitions", self._scheduler.partitions())

    async def set_partition_state(self, partition: QueueName, state: PartitionState) -> None:
        await self._observed("set_partition_state", self._scheduler.set_partition_state(partition, state))


class InstrumentedClaimStore:
    """A `ClaimStore` that counts."""

    def __init__(self, claim_store: ClaimStore, metrics: Metrics, clock: Clock) -> None:
        self._claim_store = claim_store
        self._observed = _Observed(Port.CLAIM_STORE, metrics, clock)

    async def begin_term(self, holder: str) -> Term:
        return await self._observed("begin_term", self._claim_store.begin_term(holder))

    async def confirm_term(self) -> None:
        await self._observed("confirm_term", self._claim_store.confirm_term())

    async def load(self) -> Mapping[LaunchToken, Launch]:
        return await self._observed("load", self._claim_store.load())

    async def put(self, launch: Launch) -> Launch:
        return await self._observed("put", self._claim_store.put(launch))

    async def load_offerings(self) -> OfferingMemory:
        return await self._observed("load_offerings", self._claim_store.load_offerings())

    async def put_offerings(self, offerings: OfferingMemory) -> OfferingMemory:
        return await self._observed("put_offerings", self._claim_store.put_offerings(offerings))

    async def load_fleet(self) -> FleetRecord:
        return await self._observed("load_fleet", self._claim_store.load_fleet())

    async def put_fleet(self, record: FleetRecord) -> FleetRecord:
        return await self._observed("put_fleet", self._claim_store.put_fleet(record))

    async def load_safeguards(self) -> Safeguards:
        return await self._observed("load_safeguards", self._claim_store.load_safeguards())

    async def put_safeguards(self, safeguards: Safeguards) -> Safeguards:
        return await self._observed("put_safeguards", self._claim_store.put_safeguards(safeguards))

    async def boot_phases(self, instances: Iterable[InstanceId]) -> Mapping[InstanceId, Mapping[str, float]]:
        return await self._observed("boot_phases", self._claim_store.boot_phases(instances))


class InstrumentedNoticeQueue:
    """A `NoticeQueue` that counts; a receive's duration is mostly its waiting for a message."""

    def __init__(self, queue: NoticeQueue, metrics: Metrics, clock: Clock) -> None:
        self._queue = queue
        self._observed = _Observed(Port.NOTICE_QUEUE, metrics, clock)

    async def receive(self, wait_s: float) -> Sequence[Message]:
        return await self._observed("receive", self._queue.receive(wait_s))

    async def delete(self, receipts: Collection[str]) -> int:
        return await self._observed("delete", self._queue.delete(receipts))

    async def depth(self) -> int:
        return await self._observed("depth", self._queue.depth())


class InstrumentedInstanceStatus:
    """An `InstanceStatusSource` that counts."""

    def __init__(self, source: InstanceStatusSource, metrics: Metrics, clock: Clock) -> None:
        self._source = source
        self._observed = _Observed(Port.INSTANCE_STATUS, metrics, clock)

    async def statuses(self, ids: Iterable[InstanceId]) -> Notices:
        return await self._observed("statuses", self._source.statuses(ids))


class InstrumentedNodeAgents:
    """A `NodeAgents` that counts."""

    def __init__(self, node_agents: NodeAgents, metrics: Metrics, clock: Clock) -> None:
        self._node_agents = node_agents
        self._observed = _Observed(Port.NODE_AGENTS, metrics, clock)

    async def beat(self) -> None:
        await self._observed("beat", self._node_agents.beat())

    async def announcements(self) -> Collection[Announcement]:
        return await self._observed("announcements", self._node_agents.announcements())

    async def reports(self, instances: Iterable[InstanceId]) -> Mapping[InstanceId, NodeReport]:
        return await self._observed("reports", self._node_agents.reports(instances))

    async def acknowledge(self, announcements: Iterable[Announcement]) -> None:
        await self._observed("acknowledge", self._node_agents.acknowledge(announcements))
