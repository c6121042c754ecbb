"""Level B: the production loop, ledger and actor under virtual time, with the world behind their ports.

The daemon is killed at seeded moments, between any two awaits, and started again over the same world; sometimes a
second one starts while the first still runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import async_solipsism

from clustermgtd.errors import FencedError, TransientError
from clustermgtd.model.action import Action, StartLaunch, TerminateInstances
from clustermgtd.model.claim import Launch, LaunchResult, TerminateResult
from clustermgtd.model.fleet_status import FleetRecord
from clustermgtd.model.ids import InstanceId, JobId, LaunchToken, NodeName, QueueName
from clustermgtd.model.instance import Instance
from clustermgtd.model.job import Job
from clustermgtd.model.node import Node
from clustermgtd.model.offering_memory import OfferingMemory
from clustermgtd.model.partition import PartitionState
from clustermgtd.model.reservation import Reservation
from clustermgtd.model.safeguards import Safeguards
from clustermgtd.model.snapshot import Plan, Snapshot
from clustermgtd.ports.claim_store import Term
from clustermgtd.ports.scheduler import SchedulerView
from clustermgtd.reconcile.governor import Buckets, GovernedFleet
from clustermgtd.reconcile.ledger import Ledger
from clustermgtd.reconcile.loop import Loop, Pace
from tests.simulation.fleet_operators import check_call, check_fleet_action, start_everything
from tests.simulation.invariants import check_after_step, check_node_update, check_termination
from tests.simulation.world import START, TROUBLE, World


class VirtualClock:
    def now(self) -> float:
        return START + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Latency:
    """Time on the wire, drawn from the world's generator; a kill may fall into it."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def __call__(self) -> None:
        await asyncio.sleep(self._world.rng.choice(self._world.latencies_s))
        self._world.pass_to(VirtualClock().now())


class WorldFleet:
    def __init__(self, world: World) -> None:
        self._world = world
        self._latency = Latency(world)

    async def launch(self, launch: Launch) -> LaunchResult:
        await self._latency()
        check_call(self._world, launch)
        result = self._world.cloud.launch(launch, self._world.now)
        await self._latency()
        return result

    async def instances(self) -> Mapping[InstanceId, Instance]:
        await self._latency()
        return self._world.cloud.instances(self._world.now)

    async def terminate(self, instances: Iterable[InstanceId]) -> TerminateResult:
        await self._latency()
        result = self._world.cloud.terminate(tuple(instances), self._world.now)
        await self._latency()
        return result

    async def console_output(self, instance: InstanceId) -> str:
        return ""


class WorldStore:
    def __init__(self, world: World) -> None:
        self._world = world
        self._latency = Latency(world)
        self._epoch = 0

    async def begin_term(self, holder: str) -> Term:
        self._epoch = self._world.table.begin_term()
        return Term("sim", self._epoch)

    async def confirm_term(self) -> None:
        await self._latency()
        self._world.table.confirm_term(self._epoch)

    async def load(self) -> Mapping[LaunchToken, Launch]:
        return self._world.table.open_launches()

    async def put(self, launch: Launch) -> Launch:
        await self._latency()
        draw = 1.0 if self._world.is_healed else self._world.rng.random()
        if draw < 0.01:
            raise TransientError("the table did not answer, nothing stored")
        stored = self._world.table.put(launch, self._epoch)
        await self._latency()
        if draw < 0.02:
            raise TransientError("the table did not answer, stored all the same")
        return stored

    async def load_offerings(self) -> OfferingMemory:
        return self._world.table.offerings

    async def put_offerings(self, offerings: OfferingMemory) -> OfferingMemory:
        await self._latency()
        draw = 1.0 if self._world.is_healed else self._world.rng.random()
        if draw < 0.01:
            raise TransientError("the table did not answer, nothing stored")
        stored = self._world.table.put_offerings(offerings, self._epoch)
        await self._latency()
        if draw < 0.02:
            raise TransientError("the table did not answer, stored all the same")
        return stored

    async def load_fleet(self) -> FleetRecord:
        await self._latency()
        return self._world.table.fleet

    async def put_fleet(self, record: FleetRecord) -> FleetRecord:
        await self._latency()
        draw = 1.0 if self._world.is_healed else self._world.rng.random()
        if draw < 0.01:
            raise TransientError("the table did not answer, nothing stored")
        stored = self._world.table.put_fleet(record, self._epoch)
        if draw < 0.02:
            raise TransientError("the table did not answer, stored all the same")
        return stored

    async def load_safeguards(self) -> Safeguards:
        return self._world.table.safeguards

    async def put_safeguards(self, safeguards: Safeguards) -> Safeguards:
        await self._latency()
        draw = 1.0 if self._world.is_healed else self._world.rng.random()
        if draw < 0.01:
            raise TransientError("the table did not answer, nothing stored")
        stored = self._world.table.put_safeguards(safeguards, self._epoch)
        if draw < 0.02:
            raise TransientError("the table did not answer, stored all the same")
        return stored

    async def boot_phases(self, instances: Iterable[InstanceId]) -> Mapping[InstanceId, Mapping[str, float]]:
        return {}


class WorldScheduler:
    def __init__(self, world: World) -> None:
        self._world = world
        self._slurm = world.slurm
        self._latency = Latency(world)

    async def view(self) -> SchedulerView:
        await self._latency()
        nodes, jobs = self._slurm.view()
        return SchedulerView(nodes, jobs)

    async def some_nodes(self, names: Sequence[NodeName]) -> Mapping[NodeName, Node]:
        return {name: self._slurm.nodes[name].view() for name in names if name in self._slurm.nodes}

    async def some_jobs(self, ids: Sequence[JobId]) -> Mapping[JobId, Job]:
        return {i: self._slurm.jobs[i].view(self._slurm.now) for i in ids if i in self._slurm.jobs}

    async def reservations(self) -> Mapping[str, Reservation]:
        await self._latency()
        return dict(self._slurm.reservations)

    async def reserve(self, reservation: Reservation) -> None:
        self._world.blocks.check_name(reservation.name)
        self._slurm.reserve(reservation)
        await self._latency()

    async def delete_reservation(self, name: str) -> None:
        self._world.blocks.check_name(name)
        self._slurm.delete_reservation(name)
        await self._latency()

    async def set_down(self, nodes: Iterable[NodeName], reason: str) -> None:
        await self._update(nodes, lambda name: self._slurm.set_down(name, reason))

    async def power_down(self, nodes: Iterable[NodeName]) -> None:
        await self._update(nodes, self._slurm.power_down)

    async def power_up(self, nodes: Iterable[NodeName]) -> None:
        await self._update(nodes, self._slurm.power_up)

    async def return_to_service(self, nodes: Iterable[NodeName]) -> None:
        await self._update(nodes, self._slurm.return_to_service)

    async def hold(self, nodes: Iterable[NodeName], reason: str) -> None:
        await self._update(nodes, lambda name: self._slurm.hold(name, reason))

    async def drain(self, nodes: Iterable[NodeName], reason: str) -> None:
        await self._update(nodes, lambda name: self._slurm.drain_if_up(name, reason))

    async def release(self, nodes: Iterable[NodeName]) -> None:
        await self._update(nodes, self._slurm.release)

    async def assign_addresses(self, addresses: Iterable[tuple[NodeName, str]]) -> None:
        for name, address in addresses:
            self._slurm.assign_address(name, address)

    async def explain_job(self, job: JobId, text: str) -> None:
        await self._latency()
        self._slurm.explain_job(job, text)

    async def lift_requeue_hold(self, job: JobId) -> None:
        await self._latency()
        self._slurm.lift_requeue_hold(job)

    async def cancel_jobs(self, jobs: Iterable[JobId]) -> None:
        await self._latency()
        for job in jobs:
            self._slurm.cancel(job)

    async def partitions(self) -> Mapping[QueueName, PartitionState]:
        await self._latency()
        return dict(self._slurm.partitions)

    async def set_partition_state(self, partition: QueueName, state: PartitionState) -> None:
        await self._latency()
        self._slurm.partitions[partition] = state

    async def _update(self, nodes: Iterable[NodeName], update: Any) -> None:
        names = tuple(nodes)
        for name in names:
            update(name)
        await self._latency()


class Checks:
    """Invariants at the moments that the loop tells about, and how long it has had nothing to do."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.quiet = 0
        self.failed = 0

    def tick_done(self, snapshot: Snapshot, plan: Plan, duration_s: float) -> None:
        check_after_step(self._world)
        for action in plan.actions:
            check_fleet_action(self._world, action, snapshot.fleet)
            if isinstance(action, StartLaunch) and action.launch.version == 0:
                self._world.market.check(action.launch, self._world.mark_seen_after_s)
                self._world.blocks.check_launch(action.launch, self._world)
        self.quiet = 0 if plan.actions else self.quiet + 1

    def tick_failed(self, error: Exception, duration_s: float) -> None:
        self.failed += 1
        check_after_step(self._world)

    def action_applied(self, action: Action, outcome: str) -> None:
        self._world.counts[type(action).__name__] += 1

    def launch_done(self, launch: Launch, result: LaunchResult, duration_s: float) -> None:
        self._world.note(f"CreateFleet {launch.token}: {sorted(launch.instances)}")


class CheckedFleet(WorldFleet):
    async def terminate(self, instances: Iterable[InstanceId]) -> TerminateResult:
        ids = tuple(instances)
        check_termination(self._world, ids, TerminateInstances.__name__)  # type: ignore[arg-type]
        return await super().terminate(ids)


class CheckedScheduler(WorldScheduler):
    async def _update(self, nodes: Iterable[NodeName], update: Any) -> None:
        names = tuple(nodes)
        check_node_update(self._world, names, update)
        await super()._update(names, update)


def run_shell(seed: int, duration_s: float = 1500.0) -> World:
    """One seed of level B.

    Raises:
        AssertionError: an invariant broke, or no fixed point was reached after healing.
    """
    world = World(seed)
    world.mark_seen_after_s = 30.0
    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        runner.run(_story(world, duration_s))
    return world


async def _daemon(world: World, checks: Checks) -> None:
    ledger = Ledger(WorldStore(world))
    await ledger.begin("simulated")
    clock = VirtualClock()
    fleet = GovernedFleet(
        CheckedFleet(world), Buckets(world.limits, clock), clock, page_size=world.rng.choice([2, 500])
    )
    loop = Loop(fleet, CheckedScheduler(world), ledger, clock, checks, fleet)
    loop.subnets = world.subnets
    world.blocks.forget_reading()
    loop.blocks = lambda: world.blocks.reading(world)
    loop.schedules = world.schedules.times
    try:
        await loop.run(lambda: world.market.policy(world.policy), Pace)
    except* FencedError:
        world.note("a former daemon stops: fenced")


async def _story(world: World, duration_s: float) -> None:
    checks = Checks(world)
    daemons: set[asyncio.Task[None]] = {asyncio.create_task(_daemon(world, checks))}
    newest = next(iter(daemons))
    clock = VirtualClock()
    while clock.monotonic() < duration_s:
        await asyncio.sleep(world.rng.choice([0.37, 1.0, 5.0, 13.0]))
        world.pass_to(clock.now())
        world.users()
        draw = world.rng.random()
        if draw < 0.1:
            world.trouble(TROUBLE)
        elif draw < 0.15 or newest.done():
            if world.rng.random() < 0.7 or newest.done():
                world.note("kill -9")
                await _kill(daemons)
            world.note("a daemon starts")
            newest = asyncio.create_task(_daemon(world, checks))
            daemons.add(newest)
        check_after_step(world)
        daemons = {task for task in daemons if not task.done() or task.result() is not None}
        daemons.add(newest)
    await _settle(world, checks, daemons, newest)


async def _kill(daemons: set[asyncio.Task[None]]) -> None:
    for task in daemons:
        task.cancel()
    outcomes = await asyncio.gather(*daemons, return_exceptions=True)
    daemons.clear()
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
            raise outcome


async def _settle(world: World, checks: Checks, daemons: set[asyncio.Task[None]], newest: asyncio.Task[None]) -> None:
    world.end_trouble()
    start_everything(world)
    world.blast.end()
    world.boots.end()
    if newest.done():
        newest = asyncio.create_task(_daemon(world, checks))
        daemons.add(newest)
    try:
        for _ in range(1200):
            await asyncio.sleep(10.0)
            world.blast.confirm(world)
            world.boots.start(world)
            world.pass_to(VirtualClock().now())
            check_after_step(world)
            if newest.done():
                newest.result()
            if checks.quiet >= 10 and not world.unsettled(world.table.open_launches()):
                return
        raise AssertionError(f"no fixed point: {world.unsettled(world.table.open_launches())}")
    finally:
        await _kill(daemons)
