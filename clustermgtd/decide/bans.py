"""What launches and interruptions teach about offerings: who is banned, how far, for how long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from clustermgtd.decide.falls import standing_falls
from clustermgtd.decide.interruptions import warned
from clustermgtd.model.claim import ClaimState, Launch, LaunchOutcome, Refusal
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import InstanceType, LaunchToken, SubnetId
from clustermgtd.model.instance import Instance
from clustermgtd.model.offering import Market, Offering, Subnet
from clustermgtd.model.offering_memory import Ban, BanScope, OfferingMemory
from clustermgtd.model.policy import BanPolicy, ComputeResourceKey, Policy
from clustermgtd.model.quota import quota_class
from clustermgtd.model.snapshot import Snapshot

TAKEN_BACK = frozenset(
    {
        "Server.SpotInstanceTermination",
        "Server.SpotInstanceShutdown",
        "Server.InsufficientInstanceCapacity",
    }
)
"""EC2's codes for an instance that it ended because somebody else gets the capacity."""


def place_of(key: ComputeResourceKey, tier: int = 0) -> str:
    """How a ban names a compute resource, or one of its further tiers."""
    return f"{key.queue}/{key.name}" + (f"[{tier}]" if tier else "")


def learn(snapshot: Snapshot, launches: Mapping[LaunchToken, Launch], policy: Policy) -> OfferingMemory:
    """The memory with what `launches` (as of now) say that it does not know yet, and without what is past.

    The same value comes back if nothing changed. A refusal while its ban is active changes nothing but its count, so
    that calls that were made before the ban do not lengthen it, and learning twice is learning once.
    """
    memory = snapshot.offerings
    bans = {ban.scope: ban for ban in memory.bans if _is_valid(ban, snapshot.now, policy)}
    fresh = [
        (launch.outcome, launch)
        for launch in launches.values()
        if launch.outcome is not None and launch.token not in memory.learned
    ]
    learned = set(memory.learned)
    for outcome, launch in sorted(fresh, key=lambda item: (item[0].at, item[1].token)):
        _forgive(bans, launch, outcome, snapshot.subnets, policy)
        count = 1 if outcome.obtained else launch.request.minimum
        for refusal in outcome.refusals:
            ban = _ban(refusal, launch, snapshot.subnets, policy, outcome.at)
            _add(bans, replace(ban, count=count), policy.bans)
            learned.add(launch.token)
    for offering, key, tier in _taken_back(snapshot, launches):
        scope = _capacity(offering, key, tier, snapshot.subnets, policy)
        _add(bans, Ban(scope, snapshot.now, 0.0, code="SpotInstanceTermination"), policy.bans)
    for launch, claim, notice in warned(launches, snapshot):
        taken = _offering(snapshot.instances.get(claim.instance), launch)
        if taken is not None:
            key = ComputeResourceKey(launch.request.queue, launch.request.compute_resource)
            scope = _capacity(taken, key, launch.request.tier, snapshot.subnets, policy)
            _add(bans, Ban(scope, min(notice.announced_at, snapshot.now), 0.0, code=notice.kind), policy.bans)
    changed = tuple(bans[scope] for scope in sorted(bans))
    falls = standing_falls(memory.falls, launches, policy, snapshot.now)
    if changed == memory.bans and falls == memory.falls and learned == set(memory.learned):
        return memory
    return replace(memory, bans=changed, falls=falls, learned=tuple(sorted(learned & set(launches))))


def _is_valid(ban: Ban, now: float, policy: Policy) -> bool:
    if now >= ban.until + policy.bans.forget_s:
        return False
    if not ban.configuration:
        return True
    return any(
        place_of(key, tier) == ban.scope.place and compute_resource.configuration == ban.configuration
        for key, compute_resource in policy.compute_resources.items()
        for tier in range(len(compute_resource.tiers))
    )


def _forgive(
    bans: dict[BanScope, Ban],
    launch: Launch,
    outcome: LaunchOutcome,
    subnets: Mapping[SubnetId, Subnet],
    policy: Policy,
) -> None:
    """Drop bans that a success disproves: as many instances as were refused came from there, later."""
    key, tier = ComputeResourceKey(launch.request.queue, launch.request.compute_resource), launch.request.tier
    for offering, count in outcome.obtained:
        for scope, ban in list(bans.items()):
            is_there = covers(ban, offering, key, subnets, _pool(key, tier, policy), tier)
            if is_there and outcome.at > ban.since and count >= ban.count:
                del bans[scope]


def covers(
    ban: Ban, offering: Offering, key: ComputeResourceKey, subnets: Mapping[SubnetId, Subnet], pool: str, tier: int = 0
) -> bool:
    """The ban speaks of this offering when it is asked for in this tier of this compute resource."""
    scope = ban.scope
    if scope.kind is FailureKind.BOOTSTRAP:
        return scope.place == place_of(key)
    return (
        scope.market in ("", offering.market)
        and scope.instance_type in ("", offering.instance_type, _quota_class(offering.instance_type))
        and scope.place in ("", offering.subnet, place_of(key, tier), zone_of(offering.subnet, subnets))
        and (scope.pool == pool or scope.kind is not FailureKind.CAPACITY)
    )


def _ban(refusal: Refusal, launch: Launch, subnets: Mapping[SubnetId, Subnet], policy: Policy, at: float) -> Ban:
    """How far a refusal reaches, as a ban that has no end yet."""
    offering = refusal.offering
    key = ComputeResourceKey(launch.request.queue, launch.request.compute_resource)
    configuration = ""
    match refusal.kind:
        case FailureKind.QUOTA:
            scope = BanScope(refusal.kind, offering.market, _quota_class(offering.instance_type))
        case FailureKind.SUBNET_ADDRESSES:
            scope = BanScope(refusal.kind, place=offering.subnet)
        case FailureKind.UNSUPPORTED:
            scope = BanScope(refusal.kind, "", offering.instance_type, zone_of(offering.subnet, subnets))
        case FailureKind.CONFIGURATION if launch.outcome is not None and launch.outcome.obtained:
            # the other offerings work: it is about this type in this subnet
            scope = BanScope(refusal.kind, offering.market, offering.instance_type, offering.subnet)
        case FailureKind.CONFIGURATION:
            scope = BanScope(refusal.kind, place=place_of(key, launch.request.tier))
            compute_resource = policy.compute_resources.get(key)
            configuration = compute_resource.configuration if compute_resource else ""
        case _:
            scope = _capacity(offering, key, launch.request.tier, subnets, policy)
    return Ban(scope, at, 0.0, code=refusal.code, configuration=configuration)


def _capacity(
    offering: Offering, key: ComputeResourceKey, tier: int, subnets: Mapping[SubnetId, Subnet], policy: Policy
) -> BanScope:
    zone = zone_of(offering.subnet, subnets)
    return BanScope(FailureKind.CAPACITY, offering.market, offering.instance_type, zone, _pool(key, tier, policy))


def _add(bans: dict[BanScope, Ban], new: Ban, durations: BanPolicy) -> None:
    """One more refusal: a first ban, or a longer one if the former had ended."""
    old = bans.get(new.scope)
    if old is not None and new.since < old.until:
        bans[new.scope] = replace(old, count=min(old.count, new.count))
        return
    level = 0 if old is None else old.level + 1
    match new.scope.kind:
        case FailureKind.UNSUPPORTED:
            duration = durations.unsupported_s
        case FailureKind.CONFIGURATION:
            duration = durations.configuration_s
        case _:
            duration = durations.steps_s[min(level, len(durations.steps_s) - 1)]
    bans[new.scope] = replace(new, level=level, until=new.since + duration)


def _taken_back(
    snapshot: Snapshot, launches: Mapping[LaunchToken, Launch]
) -> Iterator[tuple[Offering, ComputeResourceKey, int]]:
    """Offerings of instances that EC2 took back, of claims that this decision loses, with the tiers they came from."""
    for token, launch in launches.items():
        before = snapshot.launches.get(token)
        if launch is before or before is None:
            continue
        for claim, old in zip(launch.claims, before.claims, strict=True):
            instance = snapshot.instances.get(claim.instance)
            if claim.state is old.state or claim.state is not ClaimState.LOST or instance is None:
                continue
            offering = _offering(instance, launch)
            if instance.state_reason in TAKEN_BACK and offering is not None:
                key = ComputeResourceKey(launch.request.queue, launch.request.compute_resource)
                yield offering, key, launch.request.tier


def _offering(instance: Instance | None, launch: Launch) -> Offering | None:
    """What an instance was got as; None if EC2 does not say yet."""
    if instance is None or not instance.instance_type or not instance.subnet:
        return None
    market = Market.SPOT if instance.is_spot else launch.request.market
    return Offering(instance.instance_type, instance.subnet, market)


def _pool(key: ComputeResourceKey, tier: int, policy: Policy) -> str:
    """Empty too if the configuration has no such tier any more."""
    compute_resource = policy.compute_resources.get(key)
    return compute_resource.tiers[tier].pool if compute_resource and tier < len(compute_resource.tiers) else ""


def _quota_class(instance_type: InstanceType) -> str:
    """The types that share a quota; one of a family that is not known is alone."""
    return quota_class(instance_type) or instance_type


def zone_of(subnet: SubnetId, subnets: Mapping[SubnetId, Subnet]) -> str:
    """The subnet's zone, or the subnet itself where that is not known."""
    known = subnets.get(subnet)
    return known.zone if known else subnet
