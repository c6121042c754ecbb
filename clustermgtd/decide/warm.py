"""Nodes that are up by schedule: powered up when they are too few, and kept from idling away.

Level-triggered: who is kept follows from the schedules, the clock and Slurm's nodes alone, so that nothing has to be
taken back when a window ends, whichever daemon was there when it began.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from clustermgtd.decide.demand import claimed, is_free_and_powered_down
from clustermgtd.decide.offerings import Availability
from clustermgtd.model.action import PowerUpNodes, Reason
from clustermgtd.model.claim import Launch
from clustermgtd.model.ids import LaunchToken, NodeName
from clustermgtd.model.job import Job
from clustermgtd.model.node import Node, NodeFlag
from clustermgtd.model.offering import Offering
from clustermgtd.model.policy import ComputeResourceKey, PlacedNode, Policy
from clustermgtd.model.schedule import ScheduleName, ScheduleTime, WarmNodes
from clustermgtd.model.snapshot import Snapshot
from clustermgtd.model.warm import WarmStatus


@dataclass(frozen=True, slots=True)
class Warmth:
    """What follows from schedules, in one decision."""

    statuses: tuple[WarmStatus, ...] = ()
    power_up: PowerUpNodes | None = None
    kept: frozenset[NodeName] = frozenset()
    wake_at: float = float("inf")
    """Epoch seconds at which a window begins or ends."""


@dataclass(slots=True)
class _Nodes:
    """Those of one compute resource, in the order of their numbers."""

    busy: int = 0
    """Up, and static or held by a job."""
    idle: list[NodeName] = field(default_factory=list)
    coming: int = 0
    away: list[NodeName] = field(default_factory=list)


def warmth(
    launches: Mapping[LaunchToken, Launch],
    snapshot: Snapshot,
    policy: Policy,
    availability: Availability,
    taken: Collection[NodeName] = (),
    leaving: Collection[NodeName] = (),
) -> Warmth:
    """Nodes to power up, and idle ones to keep.

    No more are powered up than EC2 may have. One that did not come is asked for again no sooner than
    `policy.static_retry_s` after the last time, whichever node stands in for it. Nodes in `taken` are not powered up,
    and those that are `leaving` by the same plan are of no use any more.
    """
    if not policy.warm:
        return Warmth()
    statuses = warm_statuses(policy.warm, policy.nodes, snapshot, leaving)
    nodes = _sorted_out(policy.nodes, policy.warm, snapshot, leaving)
    unavailable = {*claimed(launches), *taken}
    due: list[NodeName] = []
    for status in statuses:
        of = nodes[status.key]
        tried = {name for name in of.away if _was_tried(name, snapshot, policy)}
        lacking = status.wanted - status.up - of.coming - len(tried)
        most = min(float(lacking), availability.limit(policy.compute_resources[status.key]))
        could = [
            name
            for name in of.away
            if not policy.nodes[name].is_static
            and name not in tried
            and name not in unavailable
            and is_free_and_powered_down(snapshot.nodes[name])
        ]
        due += could[: max(0, int(most))]
    return Warmth(
        tuple(replace(status, cost_per_hour=_cost(status.kept, launches, snapshot, policy)) for status in statuses),
        PowerUpNodes(tuple(sorted(due)), Reason.WARM) if due else None,
        frozenset(name for status in statuses for name in status.kept),
        min((time.changes_at(snapshot.now) for time in snapshot.schedules.values()), default=float("inf")),
    )


def warm_statuses(
    warm: Mapping[ComputeResourceKey, tuple[WarmNodes, ...]],
    placed: Mapping[NodeName, PlacedNode],
    snapshot: Snapshot,
    leaving: Collection[NodeName] = (),
) -> tuple[WarmStatus, ...]:
    """What schedules want of each compute resource that any names, and what is there; without costs.

    Static and busy nodes count first. Of the idle ones as many are kept as are still wanted, those with the smallest
    numbers, because Slurm gives these to the next jobs. Nodes that power up count only when they are there: an idle
    one is not let go for one that may not come.
    """
    nodes = _sorted_out(placed, warm, snapshot, leaving)
    present = {place.key for place in placed.values()}
    statuses: list[WarmStatus] = []
    for key in sorted(warm, key=lambda key: (key.queue, key.name)):
        of, status = nodes[key], WarmStatus(key)
        active = [one for one in warm[key] if _time(one.schedule, snapshot).is_active(snapshot.now)]
        if active and key in present:
            most = max(active, key=lambda one: (one.minimum, _time(one.schedule, snapshot).ends_at, one.schedule))
            kept = tuple(of.idle[: max(0, most.minimum - of.busy)])
            status = replace(
                status,
                schedule=most.schedule,
                until=_time(most.schedule, snapshot).ends_at,
                wanted=most.minimum,
                kept=kept,
            )
        statuses.append(replace(status, up=of.busy + len(of.idle)))
    return tuple(statuses)


def _time(schedule: ScheduleName, snapshot: Snapshot) -> ScheduleTime:
    return snapshot.schedules.get(schedule, ScheduleTime())


def _sorted_out(
    placed: Mapping[NodeName, PlacedNode],
    keys: Iterable[ComputeResourceKey],
    snapshot: Snapshot,
    leaving: Collection[NodeName],
) -> dict[ComputeResourceKey, _Nodes]:
    found = {key: _Nodes() for key in keys}
    held = _held(snapshot.jobs.values())
    ours: dict[ComputeResourceKey, list[NodeName]] = defaultdict(list)
    for name, place in placed.items():
        if place.key in found and name in snapshot.nodes:
            ours[place.key].append(name)
    for key, names in ours.items():
        of = found[key]
        for name in sorted(names, key=lambda name: (len(name), name)):
            node, is_static = snapshot.nodes[name], placed[name].is_static
            if _is_of_use(node) and name not in leaving:
                if is_static or node.is_running_job or name in held:
                    of.busy += 1
                else:
                    of.idle.append(name)
            elif _is_coming(node):
                of.coming += 1
            else:
                of.away.append(name)
    return found


def _held(jobs: Iterable[Job]) -> set[NodeName]:
    """Also by jobs that are suspended: Slurm shows their nodes as idle."""
    return {name for job in jobs for name in job.nodes}


def _is_of_use(node: Node) -> bool:
    return node.is_up and not node.is_power_down_pending and not node.flags & {NodeFlag.DRAIN, NodeFlag.FAIL}


def _is_coming(node: Node) -> bool:
    """It powers up, or will with the next pass of slurmctld's power saving."""
    is_asked = NodeFlag.POWER_UP in node.flags or (node.is_powered_down and node.is_running_job)
    return node.is_powering_up or (is_asked and not node.is_down)


def _was_tried(name: NodeName, snapshot: Snapshot, policy: Policy) -> bool:
    return snapshot.now - snapshot.memory.power_up_asked_at.get(name, float("-inf")) < policy.static_retry_s


def _cost(
    kept: Collection[NodeName], launches: Mapping[LaunchToken, Launch], snapshot: Snapshot, policy: Policy
) -> float:
    """US dollars an hour, of the instances whose price is known."""
    total = 0.0
    for launch in launches.values() if kept else ():
        for claim in launch.claims:
            instance = snapshot.instances.get(claim.instance) if claim.node in kept and claim.is_open else None
            if instance is not None:
                offering = Offering(instance.instance_type, instance.subnet, launch.request.market)
                total += policy.prices.of(offering) or 0.0
    return total
