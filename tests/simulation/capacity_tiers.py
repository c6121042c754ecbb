"""Compute resources with several capacity tiers, and what must hold for whoever asks in them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from clustermgtd.decide.bans import covers, zone_of
from clustermgtd.decide.falls import DOUBLINGS_MAX
from clustermgtd.model.action import Reason, SetNodesDown, StartLaunch
from clustermgtd.model.claim import ClaimState, Launch, NodeClaim
from clustermgtd.model.failure import REMEMBERED
from clustermgtd.model.ids import InstanceType, JobId, NodeName, SubnetId
from clustermgtd.model.job import Job
from clustermgtd.model.offering import Market, Offering, Subnet
from clustermgtd.model.offering_memory import Ban
from clustermgtd.model.policy import CapacityTier, ComputeResourceKey, ComputeResourcePolicy, Policy, ScalingStrategy
from clustermgtd.model.snapshot import Plan, Snapshot
from tests.simulation.bad_boots import is_protected
from tests.simulation.shortages import NEIGHBOUR, OTHER_ZONE, ROOMY

if TYPE_CHECKING:
    from tests.simulation.world import World

LATE_TICKS_MAX = 4
"""Ticks between two calls in which a node is not asked for although it is time: a launch that tries an ended ban is
small, and the rest of its nodes is asked for in the next tick."""


def capacity_tiers(rng: random.Random, first: CapacityTier) -> tuple[CapacityTier, ...]:
    """One to three tiers that begin with the given one: another market, other types, other zones, some waited for."""
    tiers = [replace(first, max_wait_s=rng.choice([0.0, 0.0, 20.0, 90.0, 400.0]))]
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        market = rng.choice([Market.ON_DEMAND, Market.SPOT])
        types = rng.choice([("c5.large",), ("m5.large",), ("c5.large", "m5.large")])
        subnets = rng.choice([[ROOMY], [OTHER_ZONE], [NEIGHBOUR, OTHER_ZONE]])
        offerings = tuple(Offering(InstanceType(t), s, market) for t in types for s in subnets)
        wait = rng.choice([0.0, 0.0, 20.0, 90.0])
        tiers.append(replace(first, offerings=offerings, market=market, max_wait_s=wait))
    return tuple(tiers)


def only_first_tiers(policy: Policy) -> Policy:
    """A mistake to plant: nobody knows of the others."""
    firsts = {key: replace(r, tiers=r.tiers[:1]) for key, r in policy.compute_resources.items()}
    return replace(policy, compute_resources=firsts)


def last_tiers_first(policy: Policy) -> Policy:
    """A mistake to plant: the order is forgotten."""
    turned = {key: replace(r, tiers=r.tiers[::-1]) for key, r in policy.compute_resources.items()}
    return replace(policy, compute_resources=turned)


def without_deadlines(policy: Policy) -> Policy:
    """A mistake to plant: the first tier is waited for as long as it takes."""
    patient = {
        key: replace(r, tiers=(replace(r.tiers[0], max_wait_s=1e9), *r.tiers[1:]))
        for key, r in policy.compute_resources.items()
    }
    return replace(policy, compute_resources=patient)


def check_tier(world: World, action: StartLaunch, policy: Policy, subnets: Mapping[SubnetId, Subnet]) -> None:
    """A launch asks for what its tier has, and each higher tier is refused for its size, being tried, or fallen from.

    A compute resource that fell asks in the higher tiers only if the lower ones have nothing.
    """
    launch = action.launch
    request = launch.request
    if action.reason is Reason.REPLY_LOST:
        return
    compute_resource = policy.compute_resources[ComputeResourceKey(request.queue, request.compute_resource)]
    tier = compute_resource.tiers[request.tier]
    assert set(request.offerings) <= set(tier.offerings), f"{launch.token} is not of tier {request.tier}"
    assert request.market is tier.market
    size = _needed(launch)
    fallen = _fallen(world, compute_resource, size)
    world.counts[f"tier {request.tier}"] += 1
    if any(gang.is_kept for gang in launch.gangs):
        compute_resource = _in_zone(compute_resource, request.offerings[0], subnets)
    for number in range(request.tier):
        if number < fallen or _is_refused(world, compute_resource, number, size, subnets, launch.token):
            continue
        raise AssertionError(f"{launch.token} asks for {size} at once in tier {request.tier}, tier {number} has some")


def check_given_up(world: World, action: SetNodesDown, policy: Policy, subnets: Mapping[SubnetId, Subnet]) -> None:
    """Nodes are given back for want of capacity only when every tier of their compute resource has refused."""
    if action.reason not in (Reason.NO_CAPACITY, Reason.LAUNCH_FAILED):
        return
    for name in action.nodes:
        compute_resource = policy.compute_resources[policy.nodes[name].key]
        is_stopped = world.table.fleet.is_stopped(compute_resource.key.queue)
        if len(compute_resource.tiers) == 1 or is_stopped or is_protected(world, name):
            continue
        if not _is_remembered(world, name):
            continue
        size = max(1, sum(policy.nodes[node].key == compute_resource.key for node in _job_nodes(world, name)))
        scopes = [compute_resource]
        job = world.jobs_seen.get(name)
        if job is not None and policy.gangs.keeps(len(job.nodes)):  # it may be bound to a zone
            scopes += [_in_zone(compute_resource, offering, subnets) for offering in compute_resource.offerings]
        is_refused = any(
            all(_is_refused(world, scope, number, size, subnets) for number in range(len(scope.tiers)))
            for scope in scopes
        )
        assert is_refused, f"{name} is given up for {action.reason} though some tier has some for {size}"


def check_waits(world: World, snapshot: Snapshot, plan: Plan, policy: Policy) -> None:
    """No demand waits for a tier for longer than allowed while a lower one has something that was never refused."""
    backed = {c.node for launch in world.table.open_launches().values() for c in launch.claims if _is_served(c)}
    helped = {node for action in plan.actions if isinstance(action, SetNodesDown) for node in action.nodes}
    launched = [action.launch for action in plan.actions if isinstance(action, StartLaunch)]
    asked = [{claim.node for claim in launch.claims} for launch in launched]
    helped = helped.union(*asked)  # the records of launches may have been lost
    late: dict[tuple[NodeName, JobId, int], int] = {}
    for name, placed in policy.nodes.items():
        node, compute_resource = snapshot.nodes[name], policy.compute_resources[placed.key]
        job = next((job for job in snapshot.jobs.values() if name in job.nodes and job.is_configuring), None)
        if not node.is_powering_up or node.is_down or job is None or node.is_marked_by_others:
            continue  # Slurm's ResumeTimeout ends the wait for a node that an operator marked
        if policy.gangs.keeps(len(job.nodes)) or world.table.fleet.is_stopped(placed.key.queue):
            continue  # the former have bounds of their own, the latter are not to run
        if is_protected(world, name):
            continue  # a try is under way, whatever the tiers have
        if compute_resource.tiers[0].market is Market.CAPACITY_BLOCK:
            continue  # asked for once EC2 was seen to say that the block has begun
        key = (name, job.id, job.restarts)
        late[key] = 0 if any(name in names for names in asked) else world.late.get(key, 0)
        is_blocked = any(node in backed for node in job.nodes if policy.nodes[node].key == placed.key)
        is_asked = name in backed | helped or is_blocked
        if not is_asked and _is_late(world, job, compute_resource, snapshot):
            late[key] += 1
            assert late[key] <= LATE_TICKS_MAX, f"{name} of job {job.id} waits since {job.started_at}, now {world.now}"
    world.late = late


def check_falls(world: World) -> None:
    """Every fall ends, within the longest time that the policy has."""
    longest = world.policy.tier_return_s * 2**DOUBLINGS_MAX
    for fall in world.table.offerings.falls:
        assert fall.until - fall.since <= longest, fall
        assert fall.since <= world.now, fall
        assert fall.tier > 0, fall


def _in_zone(
    compute_resource: ComputeResourcePolicy, offering: Offering, subnets: Mapping[SubnetId, Subnet]
) -> ComputeResourcePolicy:
    """What a job that keeps what arrived may ask for: offerings in its own zone, which need not be in every tier."""
    zone = zone_of(offering.subnet, subnets)
    tiers = (
        replace(tier, offerings=tuple(o for o in tier.offerings if zone_of(o.subnet, subnets) == zone))
        for tier in compute_resource.tiers
    )
    return replace(compute_resource, tiers=tuple(tiers))


def _needed(launch: Launch) -> int:
    sizes = [1 if gang.takes_part else len(gang.nodes) for gang in launch.gangs]
    of_gangs = {node for gang in launch.gangs for node in gang.nodes}
    has_others = any(claim.node not in of_gangs for claim in launch.claims)
    return 1 if has_others else min(sizes)


def _fallen(world: World, compute_resource: ComputeResourcePolicy, size: int) -> int:
    key = compute_resource.key
    return max(
        (
            fall.tier
            for fall in world.table.offerings.falls
            if (fall.queue, fall.compute_resource) == (key.queue, key.name)
            and fall.is_active(world.now)
            and fall.count <= size
        ),
        default=0,
    )


def _is_refused(
    world: World,
    compute_resource: ComputeResourcePolicy,
    number: int,
    size: int,
    subnets: Mapping[SubnetId, Subnet],
    but: str = "",
) -> bool:
    """Each offering of a tier is banned, or was and is being tried by another launch, perhaps of the same plan."""
    tried = {offering for launch in world.planned if launch.token != but for offering in launch.request.offerings}
    for offering in compute_resource.tiers[number].offerings:
        bans = [ban for ban in _bans(world, offering, compute_resource, number, subnets) if ban.count <= size]
        if not any(ban.is_active(world.now) for ban in bans) and not (bans and _is_tried(bans, tried, subnets)):
            return False
    return True


def _bans(
    world: World,
    offering: Offering,
    compute_resource: ComputeResourcePolicy,
    number: int,
    subnets: Mapping[SubnetId, Subnet],
) -> list[Ban]:
    bans = world.table.offerings.bans
    return [ban for ban in bans if covers(ban, offering, compute_resource.key, subnets, "", number)]


def _is_tried(bans: Iterable[Ban], tried: set[Offering], subnets: Mapping[SubnetId, Subnet]) -> bool:
    """Some launch under way asks for something that one of the bans speaks of."""
    return any(
        (
            ban.scope.market in ("", offering.market)
            and ban.scope.place
            in ("", offering.subnet, subnets[offering.subnet].zone if offering.subnet in subnets else "")
        )
        or "/" in ban.scope.place
        for ban in bans
        for offering in tried
    )


def _is_remembered(world: World, name: NodeName) -> bool:
    """What EC2 refused the node with says something about the next request, and what it says is known. Jobs that keep
    what arrived have bounds of their own."""
    job = world.jobs_seen.get(name)
    if job is not None and world.policy.gangs.keeps(len(job.nodes)):
        return False
    for launch in world.table.open_launches().values():
        if any(gang.is_kept and name in gang.nodes for gang in launch.gangs):
            return False
        for claim in launch.claims:
            if claim.node == name and claim.is_open and claim.failure is not None:
                return claim.failure in REMEMBERED and launch.outcome is not None and bool(launch.outcome.refusals)
    return True


def _job_nodes(world: World, name: NodeName) -> Sequence[NodeName]:
    job = world.jobs_seen.get(name)
    return [name] if job is None or world.policy.scaling is ScalingStrategy.BEST_EFFORT else job.nodes


def _is_served(claim: NodeClaim) -> bool:
    """It has an instance, or is asked for, or will be because EC2 only asked to come back."""
    return claim.is_open and not (claim.state is ClaimState.LAUNCH_FAILED and claim.failure in REMEMBERED)


def _is_late(world: World, job: Job, compute_resource: ComputeResourcePolicy, snapshot: Snapshot) -> bool:
    """Some tier whose turn it is has an offering without any ban."""
    turn_at = job.started_at
    for number, tier in enumerate(compute_resource.tiers):
        is_free = any(
            not _bans(world, offering, compute_resource, number, snapshot.subnets) for offering in tier.offerings
        )
        if is_free and world.now >= turn_at:
            return True
        turn_at += tier.max_wait_s
    return False
