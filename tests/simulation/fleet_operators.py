"""Operators who stop and start the simulated cluster and close partitions, and what the daemon may make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clustermgtd.model.action import Action, OpenPartitions, PowerUpNodes, StartLaunch
from clustermgtd.model.claim import Launch
from clustermgtd.model.fleet_status import (
    CLUSTER,
    STOPS,
    FleetRecord,
    FleetRequestError,
    FleetStatus,
    ScopeStatus,
    StopOptions,
    requested,
)
from clustermgtd.model.ids import QueueName
from clustermgtd.model.partition import PartitionState

if TYPE_CHECKING:
    from tests.simulation.world import World

AT_ONCE = StopOptions()
FLEET_TROUBLE = ("fleet-stop", "fleet-start", "partition-closed")


def fleet_trouble(world: World, kind: str) -> None:
    """An operator does something, sensible or not."""
    rng = world.rng
    scope = QueueName(rng.choice([CLUSTER, "od", "spot"]))
    partitions = world.slurm.partitions
    if kind == "fleet-stop":
        _ask(world, scope, FleetStatus.STOP_REQUESTED, StopOptions(rng.random() < 0.4, rng.random() < 0.3))
    elif kind == "fleet-start":
        _ask(world, scope, FleetStatus.START_REQUESTED)
    elif partitions.get(scope) is PartitionState.UP and scope not in world.table.fleet.closed:
        partitions[scope] = rng.choice([PartitionState.INACTIVE, PartitionState.DOWN])
        world.closed_by_operator.add(scope)


def _ask(world: World, scope: QueueName, status: FleetStatus, options: StopOptions = AT_ONCE) -> None:
    record = world.table.fleet
    options = options if status is FleetStatus.STOP_REQUESTED else record.scope(scope).options
    try:
        record = requested(record, ScopeStatus(scope, status, world.now, options))
    except FleetRequestError as error:
        world.note(f"refused: {error}")
        return
    world.note(f"{status} {scope or 'cluster'} {options}")
    world.counts[status] += 1
    world.table.ask_fleet(record)


def stop_everything(world: World) -> None:
    """The last stop before healing ends."""
    if world.table.fleet.scope().status not in STOPS:
        _ask(world, CLUSTER, FleetStatus.STOP_REQUESTED, StopOptions(when_idle=world.rng.random() < 0.5))


def start_everything(world: World) -> None:
    """Whatever was stopped is started, and operators open what they closed."""
    for scope in (CLUSTER, QueueName("od"), QueueName("spot")):
        if world.table.fleet.scope(scope).status not in (
            FleetStatus.RUNNING,
            FleetStatus.START_REQUESTED,
            FleetStatus.STARTING,
        ):
            _ask(world, scope, FleetStatus.START_REQUESTED)
    for partition in world.closed_by_operator:
        world.slurm.partitions[partition] = PartitionState.UP
    world.closed_by_operator.clear()


def check_fleet_action(world: World, action: Action, seen: FleetRecord) -> None:
    """What is stopped in the record that the decision saw is not launched; nobody else's partition is opened."""
    match action:
        case StartLaunch(launch):
            assert not seen.is_stopped(launch.request.queue), f"{launch.request.queue} is stopped: {action}"
        case PowerUpNodes(nodes):
            for name in nodes:
                assert not seen.is_stopped(world.slurm.nodes[name].queue), f"{name} is in a stopped queue"
        case OpenPartitions(partitions):
            for partition in partitions:
                assert partition not in world.closed_by_operator, f"{partition} was closed by an operator"


def check_call(world: World, launch: Launch) -> None:
    """No CreateFleet call is made for what is STOPPED, not even one that waited for its turn."""
    record = world.table.fleet
    status = {record.scope().status, record.scope(launch.request.queue).status}
    assert FleetStatus.STOPPED not in status, f"{launch.token} is called for while {launch.request.queue} is STOPPED"


def check_stopped(world: World) -> None:
    """STOPPED means that nothing is paid for, as far as claims say, but for nodes with an operator's mark."""
    record = world.table.fleet
    for launch in world.table.items.values():
        queue = launch.request.queue
        if FleetStatus.STOPPED not in (record.scope().status, record.scope(queue).status):
            continue
        for claim in launch.claims:
            is_held = claim.holds_instance and claim.node not in world.foreign
            assert not is_held, f"{queue} is STOPPED and {claim.node} is {claim.state}"


def unsettled_fleet(world: World) -> list[str]:
    """What keeps the cluster from running."""
    record = world.table.fleet
    return [
        *(f"{s.queue or 'cluster'} is {s.status}" for s in record.scopes if s.status is not FleetStatus.RUNNING),
        *(f"{p} is {state}" for p, state in world.slurm.partitions.items() if state is not PartitionState.UP),
        *([f"{record.closed} count as closed"] if record.closed else []),
    ]
