"""`decide`: from one snapshot to one plan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Protocol

from clustermgtd.decide.bans import learn
from clustermgtd.decide.capacity import launches as new_launches
from clustermgtd.decide.demand import static_power_up, unclaimed_demand
from clustermgtd.decide.exits import exits
from clustermgtd.decide.explanations import explanations
from clustermgtd.decide.falls import with_falls
from clustermgtd.decide.fleet_status import fleet_step, nodes_of, stop_nodes
from clustermgtd.decide.foreign_drains import foreign_drains
from clustermgtd.decide.gangs import asked_again, kept_gangs
from clustermgtd.decide.garbage_collection import orphans
from clustermgtd.decide.health import illness
from clustermgtd.decide.holds import holds
from clustermgtd.decide.idle import idling
from clustermgtd.decide.interruptions import interruptions
from clustermgtd.decide.liveness import NodeUpdate, end_unwanted, help_nodes, still_ending
from clustermgtd.decide.maintenance import maintenance
from clustermgtd.decide.offerings import Availability
from clustermgtd.decide.ordinary import is_at_rest, unusual_nodes
from clustermgtd.decide.outcome import settled
from clustermgtd.decide.protection import protection
from clustermgtd.decide.requeue import freed, freed_at, lifts, overtaken
from clustermgtd.decide.reservations import Blocks
from clustermgtd.decide.sync import is_awaited, sync
from clustermgtd.decide.termination_guard import TerminationGuard
from clustermgtd.decide.tiers import asked_elsewhere, wanted_since
from clustermgtd.decide.unseen import unseen
from clustermgtd.decide.waiting import withdrawals
from clustermgtd.decide.warm import warmth
from clustermgtd.model.action import (
    Action,
    AssignAddresses,
    Reason,
    RecordLaunch,
    RecordOfferings,
    SetNodesDown,
    StartLaunch,
    TerminateInstances,
)
from clustermgtd.model.claim import ClaimState, Launch
from clustermgtd.model.ids import InstanceId, LaunchToken, NodeName
from clustermgtd.model.node import PARKED_ADDRESS
from clustermgtd.model.policy import Policy
from clustermgtd.model.snapshot import Memory, Plan, Snapshot


def decide(snapshot: Snapshot, policy: Policy) -> Plan:
    """What to do now, in the order of doing.

    Records come before the effects that they announce, so that a crash between any two actions leaves an intent
    that the next observation completes. An unchanged world in a settled state gives an empty plan.
    """
    drains = foreign_drains(snapshot, policy)
    snapshot = drains.snapshot
    not_shown = unseen(snapshot)
    guard = TerminationGuard(snapshot, policy)
    believed = guard.missing(not_shown.missing_since)
    launches: dict[LaunchToken, Launch] = {}
    ending: dict[InstanceId, Reason] = {}
    for token, stored in sorted(snapshot.launches.items()):
        if token in snapshot.in_flight or is_at_rest(stored, snapshot):
            launches[token] = stored
            continue
        observed = sync(settled(stored, snapshot, policy), snapshot, policy, believed)
        launch, reasons = end_unwanted(observed, snapshot, policy)
        launches[token] = launch
        ending |= reasons
        for instance, reason in still_ending(launch, snapshot, policy).items():
            ending.setdefault(instance, reason)

    boots = protection(launches, snapshot, policy)
    explained = explanations(boots, snapshot, policy)
    fleet = fleet_step(snapshot, policy, boots.queues)
    launchable = fleet.launchable(policy)
    lift, waiting = lifts(snapshot)
    offerings = learn(snapshot, launches, policy)
    availability = boots.shape(Availability.of(offerings, launches, snapshot), policy)
    hold, release, held = holds(snapshot, policy, availability)
    since = wanted_since(snapshot, policy)
    gangs = kept_gangs(launches, snapshot, launchable, availability, since)
    elsewhere = asked_elsewhere(launches, snapshot, launchable, availability, since)
    spared = gangs.waiting | gangs.given_up | elsewhere.waiting | fleet.stopped_nodes(policy)
    ill = illness(launches, snapshot, policy)
    unusual = unusual_nodes(launches, snapshot, policy)
    helped = help_nodes(unusual, snapshot, spared)
    node_help = guard.nodes(update for action in helped if (update := _without(action, ill.kept)) is not None)
    leaving = guard.nodes(interruptions(launches, snapshot, policy, ill.idle | _nodes_in(node_help)))
    events = maintenance(launches, snapshot, policy, ill.idle | _nodes_in([*node_help, *leaving]))
    leaving += events.actions
    leaving += guard.nodes(ill.leave(snapshot, _nodes_in([*node_help, *leaving])))
    blocks = Blocks.of(snapshot, policy, events.kept)
    handled = nodes_of([*gangs.released, *blocks.power_down, *leaving, *node_help])
    cancelled, stops = stop_nodes(fleet, snapshot, policy, handled=handled)
    going = handled | _nodes_in(leaving)
    warm = warmth(launches, snapshot, launchable, availability, _nodes_in(hold), going)
    idle = idling(snapshot, policy, handled | spared | ill.kept | ill.spared | warm.kept)
    power_up = blocks.power_up(static_power_up(launches, snapshot, launchable, availability))
    warm_up = blocks.power_up(warm.power_up)
    unclaimed = {*unclaimed_demand(launches, snapshot, launchable), *elsewhere.again} - elsewhere.blocked
    wanted = gangs.wanted(unclaimed)
    outside = blocks.refusals(wanted, snapshot)
    shaped = new_launches(blocks.launchable(wanted), snapshot, policy, availability, gangs, since)
    again = shaped.nodes & (gangs.again | elsewhere.again)
    if again:
        launches = asked_again(launches, again, snapshot.now)
        unusual = unusual_nodes(launches, snapshot, policy)
    falls = with_falls(offerings.falls, shaped.falls, policy)
    if (held, gangs.short, falls) != (offerings.held, offerings.short, offerings.falls):
        offerings = replace(offerings, held=held, short=gangs.short, falls=falls)
    garbage, sightings = orphans(launches, snapshot, policy)
    node_actions = [
        *hold,
        *gangs.released,
        *blocks.power_down,
        *outside,
        *shaped.refused,
        *leaving,
        *node_help,
        *stops,
        *idle.power_down,
        *([release] if release else []),
        *([power_up] if power_up else []),
        *([warm_up] if warm_up else []),
    ]
    hidden = not_shown.hidden_for(policy.missing_grace_s, snapshot.now)
    way_out = exits(unusual, snapshot, policy, ill.kept | ill.spared | _nodes_in(node_actions), hidden)
    exits_now = guard.nodes(way_out.actions)
    for instance in guard.orphans(garbage):
        ending[instance] = Reason.ORPHAN

    actions: list[Action] = [
        *([RecordOfferings(offerings)] if offerings is not snapshot.offerings else []),
        *fleet.record_action(snapshot),
        *guard.record_action(boots.boots, explained.told),
        *(RecordLaunch(launch) for token, launch in launches.items() if launch is not snapshot.launches[launch.token]),
        *_terminations(ending, policy),
        *withdrawals(snapshot, fleet.stopped, boots.closed),
        *fleet.partitions,
        *drains.actions,
        *hold,
        *gangs.released,
        *events.reservations,
        *blocks.reservations,
        *blocks.power_down,
        *outside,
        *shaped.refused,
        *leaving,
        *node_help,
        *cancelled,
        *stops,
        *idle.power_down,
        *exits_now,
        *([release] if release else []),
        *lift,
        *explained.actions,
        *(
            StartLaunch(launch, Reason.REPLY_LOST)
            for launch in launches.values()
            if launch.request.queue not in fleet.stopped and _is_due(launch, snapshot, policy)
        ),
        *shaped.starts,
        *_addresses(launches, snapshot, policy),
        *([power_up] if power_up else []),
        *([warm_up] if warm_up else []),
    ]
    freed_now = freed([action for action in actions if isinstance(action, SetNodesDown)], snapshot)
    freed_jobs = waiting | overtaken(hold, snapshot) | freed_now
    memory = Memory(
        is_new=False,
        orphans=sightings,
        missing_since=not_shown.missing_since,
        hidden_since=not_shown.hidden_since,
        terminate_called_at=_still_called(snapshot, ending),
        power_up_asked_at={
            **{n: at for n, at in snapshot.memory.power_up_asked_at.items() if n in launchable.nodes},
            **dict.fromkeys(power_up.nodes if power_up else (), snapshot.now),
            **dict.fromkeys(warm_up.nodes if warm_up else (), snapshot.now),
        },
        silent_since=way_out.silent_since,
        freed_jobs=freed_jobs,
        freed_at=freed_at(freed_jobs, freed_now, snapshot),
        ill_since=ill.ill_since,
        kept_since=ill.kept_since,
        unexplained_since=events.unexplained_since,
        drained_by_others=drains.known,
        wanted_since=since,
    )
    return Plan(
        tuple(actions),
        memory,
        snapshot.next_launch + len(shaped.starts),
        offerings,
        left_alone=way_out.left_alone,
        gangs=gangs.held,
        blocks=blocks.statuses,
        fleet=fleet.record,
        wake_at=min(shaped.wake_at, events.wake_at, ill.wake_at, idle.wake_at, warm.wake_at),
        safeguards=guard.outcome(boots.boots, explained.told),
        warm=warm.statuses,
        failed=tuple(failed for _, failed in sorted(ill.failed.items())),
    )


class _OfNodes(Protocol):
    @property
    def nodes(self) -> tuple[NodeName, ...]: ...


def _nodes_in(actions: Iterable[_OfNodes]) -> set[NodeName]:
    """Every node that is named."""
    return {name for action in actions for name in action.nodes}


def _without(update: NodeUpdate, kept: Collection[NodeName]) -> NodeUpdate | None:
    """Not for these nodes, if it is for any others."""
    if not kept:
        return update
    nodes = tuple(name for name in update.nodes if name not in kept)
    return replace(update, nodes=nodes) if nodes else None


def _is_due(launch: Launch, snapshot: Snapshot, policy: Policy) -> bool:
    """A launch of unknown outcome that is still wanted, is not being called, was last called long enough ago, and was
    not refused then."""
    return (
        launch.token not in snapshot.in_flight
        and not launch.is_refused
        and snapshot.now - launch.last_attempt_at >= policy.replay_interval_s
        and is_awaited(launch, snapshot)
    )


def _terminations(ending: dict[InstanceId, Reason], policy: Policy) -> list[TerminateInstances]:
    by_reason: dict[Reason, list[InstanceId]] = defaultdict(list)
    for instance, reason in sorted(ending.items()):
        by_reason[reason].append(instance)
    size = policy.terminate_batch_max
    return [
        TerminateInstances(tuple(instances[start : start + size]), reason)
        for reason, instances in sorted(by_reason.items())
        for start in range(0, len(instances), size)
    ]


def _still_called(snapshot: Snapshot, ending: dict[InstanceId, Reason]) -> dict[InstanceId, float]:
    """When termination was last asked for, for instances that EC2 still shows live or that are asked for now."""
    kept = {
        instance: at
        for instance, at in snapshot.memory.terminate_called_at.items()
        if (seen := snapshot.instances.get(instance)) is None or seen.is_live
    }
    recent = {i: at for i, at in kept.items() if snapshot.now - at < 3600.0}
    return recent | dict.fromkeys(ending, snapshot.now)


def _addresses(launches: dict[LaunchToken, Launch], snapshot: Snapshot, policy: Policy) -> list[AssignAddresses]:
    """Addresses for nodes that power up: the instance's where slurmd's registration does not tell Slurm, and one that
    refuses connections for those whose address is a name that nothing resolves."""
    wanted: dict[NodeName, str] = {}
    if not policy.names_resolve:
        for name in policy.nodes:
            node = snapshot.nodes.get(name)
            if node is not None and node.is_powering_up and node.address == name:
                wanted[name] = PARKED_ADDRESS
    if policy.assigns_addresses:
        for launch in launches.values():
            for claim in launch.claims:
                node = snapshot.nodes.get(claim.node)
                instance = snapshot.instances.get(claim.instance)
                if claim.state is not ClaimState.LAUNCHED or node is None or instance is None:
                    continue
                if node.is_powering_up and instance.private_address not in ("", node.address):
                    wanted[claim.node] = instance.private_address
    return [AssignAddresses(tuple(sorted(wanted.items())))] if wanted else []
