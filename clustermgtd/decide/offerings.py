"""What can be asked of EC2 now: a compute resource's offerings without the banned ones, in the order to ask in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from clustermgtd.decide.bans import covers, zone_of
from clustermgtd.decide.sync import is_awaited
from clustermgtd.model.claim import AllocationStrategy, Launch
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import LaunchToken, SubnetId
from clustermgtd.model.offering import Market, Offering, Subnet
from clustermgtd.model.offering_memory import Ban, BanScope, Fall, OfferingMemory
from clustermgtd.model.policy import CapacityTier, ComputeResourceKey, ComputeResourcePolicy
from clustermgtd.model.snapshot import Snapshot

OVERRIDES_MAX = 60
"""Types x zones of one request: more make the body too large for EC2 once templates have several disks."""
NAMED_MAX = 3
"""Bans that a sentence names, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a launch may ask for."""

    offerings: tuple[Offering, ...] = ()
    tier: int = 0
    """Whose offerings they are."""
    is_probe: bool = False
    """All of them were banned lately: the launch is to be small."""
    is_waiting: bool = False
    """Nothing now, but the tier is worth waiting for: a probe is under way, or a ban ends in time."""
    bans: tuple[Ban, ...] = ()
    """Why there is nothing in any tier, if there is nothing to wait for; never empty then. At least one of each tier
    is in front."""
    wait_until: float = float("inf")
    """While it waits: epoch seconds at which the next tier's turn comes."""
    passed: tuple[Ban, ...] = ()
    """Why the higher tiers were passed over, if they were refused; empty if a probe tries one, or if it was the
    first tier's turn anyway."""
    reopens_at: float = float("inf")
    """When the first offering of the tier is not banned any more, if all are."""


@dataclass(frozen=True, slots=True)
class Availability:
    """Bans and free addresses at one moment of a decision; launches made in it are counted by `after`."""

    now: float
    bans: tuple[Ban, ...] = ()
    subnets: Mapping[SubnetId, Subnet] = field(default_factory=dict)
    probed: frozenset[BanScope] = frozenset()
    """Ended bans that a launch under way tries."""
    zone: str = ""
    """Nothing outside of it is asked for; empty is anywhere."""
    falls: tuple[Fall, ...] = ()

    @classmethod
    def of(cls, memory: OfferingMemory, launches: Mapping[LaunchToken, Launch], snapshot: Snapshot) -> Availability:
        """As the memory and the launches under way make it."""
        availability = cls(snapshot.now, memory.bans, snapshot.subnets, falls=memory.falls)
        for launch in launches.values():
            if not launch.is_unresolved or launch.token in snapshot.in_flight or is_awaited(launch, snapshot):
                availability = availability.after(launch)
        return availability

    def after(self, launch: Launch) -> Availability:
        """The same with a launch: an unanswered one tries ended bans, and addresses go that a reading did not see."""
        used: dict[SubnetId, int] = {}
        probed: set[BanScope] = set()
        offerings = launch.request.offerings
        if launch.is_unresolved:
            subnets = {offering.subnet for offering in offerings}
            used = dict.fromkeys(subnets, -(-launch.request.count // len(subnets)))
            key, tier = ComputeResourceKey(launch.request.queue, launch.request.compute_resource), launch.request.tier
            probed = {
                ban.scope
                for ban in self.bans
                if not ban.is_active(self.now)
                and any(covers(ban, o, key, self.subnets, ban.scope.pool, tier) for o in offerings)
            }
        elif launch.outcome is not None:
            for offering, count in launch.outcome.obtained:
                known = self.subnets.get(offering.subnet)
                if known is not None and launch.outcome.at > known.read_at:
                    used[offering.subnet] = used.get(offering.subnet, 0) + count
        if not used and not probed:
            return self
        fewer = {
            id: replace(known, free_addresses=max(0, known.free_addresses - used[id]))
            for id in used
            if (known := self.subnets.get(id)) is not None
        }
        return replace(self, subnets={**self.subnets, **fewer}, probed=self.probed | probed)

    def within(self, zone: str, compute_resource: ComputeResourcePolicy) -> Availability:
        """Only what the zone has, unless the compute resource has nothing there at all."""
        is_there = any(zone_of(offering.subnet, self.subnets) == zone for offering in compute_resource.offerings)
        return replace(self, zone=zone) if is_there else self

    def choose(self, compute_resource: ComputeResourcePolicy, minimum: int = 1, since: float = float("-inf")) -> Choice:
        """What to ask for if fewer than `minimum` instances at once are of no use. The demand began at `since`, epoch
        seconds; by default it has waited for every tier already.

        The first tier that has something is asked. One that has nothing is waited for until its deadline, unless
        nothing can change before it: every offering is banned for longer. The deadlines of tiers add up, so that a
        demand waits no longer in all than the sum of their waits. A compute resource that fell begins in a lower tier.

        An ended ban is tried by one launch at a time. As long as others can be had the launch need not be small: EC2
        takes what is refused from them.
        """
        first, last = self._fallen_to(compute_resource, minimum), len(compute_resource.tiers) - 1
        choices = {first: self._choose_in(first, compute_resource, minimum)}
        if not choices[first].offerings:
            # rather than wait for the tier that it fell to, or go on: what it fell from may have something again
            higher = [self._choose_in(number, compute_resource, minimum) for number in range(first)]
            for choice in higher:
                if choice.offerings:
                    return choice
            choices |= {choice.tier: choice for choice in higher}
        deadline = since
        for number in range(first, last + 1):
            choice = choices[number] if number == first else self._choose_in(number, compute_resource, minimum)
            if choice.offerings:
                is_first_choice = number == first or any(passed.is_waiting for passed in choices.values())
                return choice if is_first_choice else replace(choice, passed=_heads_first(choices.values()))
            choices[number] = choice
            deadline += compute_resource.tiers[number].max_wait_s
            if self.now < deadline and (choice.is_waiting or choice.reopens_at < deadline):
                return replace(choice, is_waiting=True, bans=(), wait_until=deadline)
        probed = next((replace(choice, bans=()) for choice in choices.values() if choice.is_waiting), None)
        return probed or Choice(tier=last, bans=_heads_first(choices.values()))

    def room(self, compute_resource: ComputeResourcePolicy) -> float:
        """Addresses for so many instances of one launch: a launch uses one subnet of a zone."""
        subnets = {offering.subnet for offering in compute_resource.offerings}
        return max(self._free(s) for s in subnets if not self.zone or zone_of(s, self.subnets) == self.zone)

    def _fallen_to(self, compute_resource: ComputeResourcePolicy, minimum: int) -> int:
        """The tier in which demands of that size begin."""
        key = compute_resource.key
        return max(
            (
                fall.tier
                for fall in self.falls
                if (fall.queue, fall.compute_resource) == (key.queue, key.name)
                and fall.is_active(self.now)
                and minimum >= fall.count
                and fall.tier < len(compute_resource.tiers)
            ),
            default=0,
        )

    def _choose_in(self, number: int, compute_resource: ComputeResourcePolicy, minimum: int) -> Choice:
        """The choice within one tier."""
        tier = compute_resource.tiers[number]
        free: list[Offering] = []
        recovering: list[Offering] = []
        refusing: set[Ban] = set()
        reopens_at = float("inf")
        is_waiting = False
        for offering in tier.offerings:
            if self.zone and zone_of(offering.subnet, self.subnets) != self.zone:
                continue
            bans = [b for b in self._bans_on(offering, number, compute_resource) if minimum >= b.count]
            active = [ban for ban in bans if ban.is_active(self.now)]
            if active:
                refusing.update(active)
                reopens_at = min(reopens_at, max(ban.until for ban in active))
            elif not bans:
                free.append(offering)
            elif all(ban.scope not in self.probed for ban in bans):
                recovering.append(offering)
            else:
                is_waiting = True
        if free or recovering:
            ordered = [o for o in tier.offerings if o in free or o in recovering]
            return Choice(self._in_order(ordered, tier), number, is_probe=not free)
        bans_in_order = tuple(sorted(refusing, key=lambda ban: (ban.until, ban.scope)))
        return Choice(tier=number, is_waiting=is_waiting, bans=bans_in_order, reopens_at=reopens_at)

    def limit(self, compute_resource: ComputeResourcePolicy) -> float:
        """The largest number of instances at once that is not banned: 0 is none at all, infinity is no ban."""
        return max(
            min(
                (
                    float(b.count - 1)
                    for b in self._bans_on(offering, number, compute_resource)
                    if b.is_active(self.now)
                ),
                default=float("inf"),
            )
            for number, offering in _numbered(compute_resource)
        )

    def refusals(self, compute_resource: ComputeResourcePolicy) -> tuple[Ban, ...]:
        """Active bans on its offerings, those that end first in front."""
        found = {
            ban
            for number, offering in _numbered(compute_resource)
            for ban in self._bans_on(offering, number, compute_resource)
            if ban.is_active(self.now)
        }
        return tuple(sorted(found, key=lambda ban: (ban.until, ban.scope)))

    def _bans_on(self, offering: Offering, number: int, compute_resource: ComputeResourcePolicy) -> list[Ban]:
        pool = compute_resource.tiers[number].pool
        return [b for b in self.bans if covers(b, offering, compute_resource.key, self.subnets, pool, number)]

    def _in_order(self, offerings: list[Offering], tier: CapacityTier) -> tuple[Offering, ...]:
        """One subnet per zone, because EC2 refuses two: the one with most free addresses. Types stay in their order,
        each first where most addresses are free; spot at the lowest price stays in the order of prices.

        Full subnets are asked only if there are no others, because a reading may be old.
        """
        rooms = [o for o in offerings if self._free(o.subnet) > 0] or offerings
        by_room = sorted(rooms, key=lambda o: -self._free(o.subnet))
        chosen: dict[tuple[str, str], Offering] = {}
        for offering in by_room:
            zone = self.subnets[offering.subnet].zone if offering.subnet in self.subnets else offering.subnet
            chosen.setdefault((offering.instance_type, zone), offering)
        if tier.market is Market.SPOT and tier.strategy is AllocationStrategy.LOWEST_PRICE:
            ordered = [offering for offering in offerings if offering in chosen.values()]
        else:
            ranks = {t: rank for rank, t in enumerate(dict.fromkeys(o.instance_type for o in tier.offerings))}
            ordered = sorted(chosen.values(), key=lambda o: ranks[o.instance_type])
        return tuple(ordered[:OVERRIDES_MAX])

    def _free(self, subnet: SubnetId) -> float:
        """Free addresses; infinite if they are not known."""
        known = self.subnets.get(subnet)
        return float("inf") if known is None else known.free_addresses


def _numbered(compute_resource: ComputeResourcePolicy) -> Iterator[tuple[int, Offering]]:
    return ((number, offering) for number, tier in enumerate(compute_resource.tiers) for offering in tier.offerings)


def _heads_first(refused: Iterable[Choice]) -> tuple[Ban, ...]:
    """The bans of several tiers, each once: the first one of every tier, then the others."""
    by_tier = [choice.bans for choice in refused]
    heads = [bans[0] for bans in by_tier if bans]
    return tuple(dict.fromkeys([*heads, *(ban for bans in by_tier for ban in bans)]))


def sentence(bans: Iterable[Ban], named_max: int = NAMED_MAX) -> str:
    """The bans for people: EC2's code, what it is about, and when it is asked again."""
    listed = list(bans)
    parts = [f"(Code:{ban.code}) {_subject(ban)} until {_clock_time(ban.until)}" for ban in listed[:named_max]]
    more = len(listed) - len(parts)
    return "; ".join([*parts, *([f"and {more} more"] if more > 0 else [])])


def _subject(ban: Ban) -> str:
    scope = ban.scope
    match scope.kind:
        case FailureKind.QUOTA:
            return f"the account's quota for {scope.instance_type} {scope.market} instances is used up"
        case FailureKind.SUBNET_ADDRESSES:
            return f"{scope.place} has no free address"
        case FailureKind.UNSUPPORTED:
            return f"{scope.instance_type} is not offered in {scope.place}"
        case FailureKind.BOOTSTRAP:
            return f"instances of {scope.place} start and do not become nodes; nothing is launched"
        case FailureKind.CONFIGURATION:
            return f"EC2 refuses the configuration of {' in '.join(w for w in (scope.instance_type, scope.place) if w)}"
        case _:
            size = f"{ban.count} at once of " if ban.count > 1 else ""
            return f"no capacity for {size}{scope.market} {scope.instance_type} in {scope.pool or scope.place}"


def _clock_time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
