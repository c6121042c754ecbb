"""CreateFleet, type instant: which pools, how many in each, and why not more.

Planning changes nothing; `FleetPlan` is applied by the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from clustermgtd.lab.ec2.catalog import type_spec
from clustermgtd.lab.ec2.placement import PlacementGroups, elsewhere
from clustermgtd.lab.ec2.records import (
    CAPACITY_BLOCK,
    ON_DEMAND,
    SPOT,
    Ec2Error,
    FleetError,
    FleetOverride,
    FleetRequest,
    LaunchData,
    MarketOptions,
    Pool,
    TemplateRef,
)
from clustermgtd.lab.ec2.refusals import no_addresses, over_quota, price_too_low, unsupported
from clustermgtd.lab.ec2.reservations import Reservations, Reserved, exceeded
from clustermgtd.lab.ec2.scenario import Scenario
from clustermgtd.lab.ec2.supply import Capacity, Network, shortage_message

TOTAL_MAX = 10_000
MIN_TARGET_MAX = 1_000
STRATEGIES = {
    ON_DEMAND: ("lowest-price", "prioritized"),
    SPOT: (
        "lowest-price",
        "diversified",
        "capacity-optimized",
        "capacity-optimized-prioritized",
        "price-capacity-optimized",
    ),
}
_NO_PRIORITY = math.inf

ResolveTemplate = Callable[[TemplateRef | None], tuple[str, int, LaunchData]]
CheckLaunch = Callable[[LaunchData], None]


@dataclass(frozen=True, slots=True)
class Supply:
    """What there is to plan with."""

    scenario: Scenario
    capacity: Capacity
    network: Network
    groups: PlacementGroups
    reservations: Reservations
    launch_tokens: float
    """Instances that the resource bucket lets through now; may be infinite."""
    now: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pool that the fleet may use, or the reason why it may not."""

    index: int
    pool: Pool
    data: LaunchData
    refusal: Ec2Error | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """What one pool gives."""

    candidate: Candidate
    count: int


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """What one market of a fleet gives, and what fell short."""

    market: str
    shares: tuple[Share, ...] = ()
    errors: tuple[FleetError, ...] = ()
    units: float = 0.0
    """Target capacity fulfilled."""


def check_request(request: FleetRequest) -> None:
    """Raises: Ec2Error for a request that EC2 refuses whatever the capacity is."""
    if not 1 <= request.total <= TOTAL_MAX:
        raise Ec2Error(
            "InvalidParameterValue", f"TotalTargetCapacity must be between 1 and {TOTAL_MAX}, not {request.total}"
        )
    if request.on_demand_total + request.spot_total > request.total:
        raise Ec2Error(
            "InvalidParameterCombination", "OnDemand and Spot target capacity exceed the total target capacity"
        )
    if len(request.client_token) > 64 or not request.client_token.isascii():
        raise Ec2Error("InvalidParameterValue", "ClientToken must be at most 64 ASCII characters")
    if any(override.weight <= 0 for config in request.configs for override in config.overrides):
        raise Ec2Error("InvalidParameterValue", "WeightedCapacity must be greater than 0")
    for market, options in ((ON_DEMAND, request.on_demand), (SPOT, request.spot)):
        _check_options(market, options, request.total)


def _check_options(market: str, options: MarketOptions, total: int) -> None:
    if options.strategy not in STRATEGIES[market]:
        raise Ec2Error("InvalidParameterValue", f"Allocation strategy '{options.strategy}' is not valid for {market}")
    if options.min_target == 0:
        return
    if not 0 < options.min_target <= MIN_TARGET_MAX:
        raise Ec2Error("InvalidParameterValue", f"MinTargetCapacity must be between 1 and {MIN_TARGET_MAX}")
    if options.min_target > total:
        raise Ec2Error("InvalidParameterCombination", "MinTargetCapacity exceeds the target capacity")
    if not (options.single_instance_type or options.single_zone):
        raise Ec2Error(
            "InvalidParameterCombination", "MinTargetCapacity requires SingleInstanceType or SingleAvailabilityZone"
        )


def expand(
    request: FleetRequest, network: Network, resolve: ResolveTemplate, check: CheckLaunch
) -> tuple[Candidate, ...]:
    """Every override as a candidate, in the caller's order.

    Raises:
        Ec2Error: a template or an instance type does not exist, or two overrides name the same pool.
    """
    candidates: list[Candidate] = []
    for config in request.configs:
        template_id, version, base = resolve(config.template)
        for override in config.overrides or (FleetOverride(),):
            data = _merge(base, override)
            if type_spec(data.instance_type) is None:
                raise Ec2Error("InvalidFleetConfig", f"The instance type '{data.instance_type}' does not exist.")
            pool = Pool(override, data.instance_type, data.zone, data.subnet, template_id, version)
            candidates.append(_placed(Candidate(len(candidates), pool, data), network, check))
    named = [(c.pool.instance_type, c.pool.zone) for c in candidates if c.refusal is None]
    if len(set(named)) < len(named):
        raise Ec2Error("InvalidFleetConfig", "The fleet configuration contains duplicate instance pools.")
    if not candidates:
        raise Ec2Error("MissingParameter", "The request must contain the parameter LaunchTemplateConfigs")
    return tuple(candidates)


def _merge(base: LaunchData, override: FleetOverride) -> LaunchData:
    return replace(
        base,
        instance_type=override.instance_type or base.instance_type,
        subnet=override.subnet or ("" if override.zone else base.subnet),
        zone=override.zone or ("" if override.subnet else base.zone),
        image_id=override.image_id or base.image_id,
        max_price=override.max_price if override.max_price is not None else base.max_price,
    )


def _placed(candidate: Candidate, network: Network, check: CheckLaunch) -> Candidate:
    """The candidate with its subnet and zone, or with the reason why it cannot be launched."""
    try:
        check(candidate.data)
        subnet = network.choose(candidate.data.subnet, candidate.data.zone)
    except Ec2Error as error:
        return replace(candidate, refusal=error)
    return replace(
        candidate,
        pool=replace(candidate.pool, subnet=subnet.id, zone=subnet.spec.zone),
        data=replace(candidate.data, subnet=subnet.id, zone=subnet.spec.zone),
    )


class _Ledger:
    """What is left for one plan, as its shares are set aside."""

    def __init__(self, market: str, supply: Supply) -> None:
        self.market = market
        self._supply = supply
        self._addresses: dict[str, int] = {}
        self._taken: dict[int, int] = {}
        """By candidate."""
        self._group_zones: dict[str, str] = {}
        self._group_members: dict[str, int] = {}
        self._vcpus = 0
        self._launches = 0

    def reserved(self, candidate: Candidate) -> int:
        """How many more the candidate can give out of reservations."""
        try:
            ids = self._reservations(candidate).ids
        except Ec2Error:
            return 0
        return max(0, sum(map(self._supply.reservations.available, ids)) - self._taken.get(candidate.index, 0))

    def most(self, candidate: Candidate) -> tuple[float, Ec2Error]:
        """How many more the candidate can give, and the error that says why not more."""
        return min(self._limits(candidate), key=lambda limit: limit[0])

    def set_aside(self, candidate: Candidate, count: int) -> None:
        spec = type_spec(candidate.pool.instance_type)
        assert spec is not None
        self._addresses[candidate.pool.subnet] = self._addresses.get(candidate.pool.subnet, 0) + count
        self._vcpus += max(0, count - self.reserved(candidate)) * spec.vcpus
        self._taken[candidate.index] = self._taken.get(candidate.index, 0) + count
        self._launches += count
        if group := candidate.data.placement_group:
            self._group_zones[group] = candidate.pool.zone
            self._group_members[group] = self._group_members.get(group, 0) + count

    def _limits(self, candidate: Candidate) -> Iterator[tuple[float, Ec2Error]]:
        if candidate.refusal is not None:
            yield 0, candidate.refusal
            return
        pool, market, supply = candidate.pool, self.market, self._supply
        capacity, scenario = supply.capacity, supply.scenario
        if not capacity.offers(pool.instance_type, pool.zone):
            yield 0, unsupported(pool.instance_type, pool.zone)
        if market == SPOT:
            offered = candidate.data.max_price
            if offered is None:
                offered = scenario.on_demand_price(pool.instance_type, pool.zone)
            price = scenario.spot_price(pool.instance_type, pool.zone)
            if offered < price:
                yield 0, price_too_low(offered, price)
        yield from self._group_limits(candidate)
        yield self._room(candidate)
        addresses = supply.network.subnet(pool.subnet).free - self._addresses.get(pool.subnet, 0)
        yield addresses, no_addresses(pool.subnet)
        quota = capacity.quota_free(pool.instance_type, market, self._vcpus)
        yield quota + self.reserved(candidate), over_quota(market)
        yield supply.launch_tokens - self._launches, Ec2Error("RequestLimitExceeded", "Request limit exceeded.", 503)

    def _group_limits(self, candidate: Candidate) -> Iterator[tuple[float, Ec2Error]]:
        group, zone = candidate.data.placement_group, candidate.pool.zone
        if not group:
            return
        room, why = self._supply.groups.room(group, zone)
        yield room - self._group_members.get(group, 0), why
        if self._group_zones.get(group, zone) != zone:
            yield 0, elsewhere(group, self._group_zones[group])

    def _room(self, candidate: Candidate) -> tuple[float, Ec2Error]:
        """What reservations and the pool have left together."""
        try:
            target = self._reservations(candidate)
        except Ec2Error as error:
            return 0, error
        if target.is_only:
            return self.reserved(candidate), exceeded(candidate.data.capacity_reservation)
        pool = (candidate.pool.instance_type, candidate.pool.zone, self.market)
        beyond = max(0, self._taken.get(candidate.index, 0) - sum(map(self._supply.reservations.available, target.ids)))
        free = self._supply.capacity.free(pool) - beyond + self.reserved(candidate)
        return free, Ec2Error("InsufficientInstanceCapacity", shortage_message(*pool))

    def _reservations(self, candidate: Candidate) -> Reserved:
        return self._supply.reservations.for_launch(candidate.data, self.market, self._supply.now)


def plan(request: FleetRequest, candidates: Sequence[Candidate], market: str, target: int, supply: Supply) -> FleetPlan:
    """How `target` units of one market are met; below the minimum target, with nothing."""
    options = {SPOT: request.spot, CAPACITY_BLOCK: MarketOptions()}.get(market, request.on_demand)
    ranked = _rank(candidates, options.strategy, market, target, supply)
    best = FleetPlan(market)
    for group in _groups(ranked, options):
        ledger = _Ledger(market, supply)
        filled = _fill(group, target, _spread(options, market, len(group)), ledger, options)
        if filled.units > best.units or not best.errors:
            best = filled
        if filled.units >= target:
            break
    return best if best.units >= options.min_target else _refused(best, options.min_target)


def most(data: LaunchData, supply: Supply) -> tuple[float, Ec2Error]:
    """How many instances can be had in the pool that `data` names, and the error that says why not more."""
    pool = Pool(FleetOverride(), data.instance_type, data.zone, data.subnet)
    return _Ledger(data.market, supply).most(Candidate(0, pool, data))


def _rank(candidates: Sequence[Candidate], strategy: str, market: str, target: int, supply: Supply) -> list[Candidate]:
    scenario, capacity = supply.scenario, supply.capacity

    def price(c: Candidate) -> float:
        ask = scenario.spot_price if market == SPOT else scenario.on_demand_price
        return ask(c.pool.instance_type, c.pool.zone) / c.pool.override.weight

    def free(c: Candidate) -> float:
        return capacity.free((c.pool.instance_type, c.pool.zone, market))

    def priority(c: Candidate) -> float:
        return c.pool.override.priority if c.pool.override.priority is not None else _NO_PRIORITY

    orders: dict[str, Callable[[Candidate], tuple[float, ...]]] = {
        "lowest-price": lambda c: (price(c),),
        "diversified": lambda c: (price(c),),
        "prioritized": lambda c: (priority(c),),
        "capacity-optimized": lambda c: (-free(c),),
        "capacity-optimized-prioritized": lambda c: (-min(free(c), target), priority(c), -free(c)),
        "price-capacity-optimized": lambda c: (-min(free(c), target), price(c)),
    }
    order = orders[strategy]
    return sorted(candidates, key=lambda c: (*order(c), c.index))


def _groups(ranked: Sequence[Candidate], options: MarketOptions) -> list[list[Candidate]]:
    """Sets of pools that may be used together, the one with the best pool first."""
    groups: dict[tuple[str, str], list[Candidate]] = {}
    for c in ranked:
        key = (
            c.pool.instance_type if options.single_instance_type else "",
            c.pool.zone if options.single_zone else "",
        )
        groups.setdefault(key, []).append(c)
    return list(groups.values())


def _spread(options: MarketOptions, market: str, pools: int) -> int:
    """Over how many pools the target is spread evenly."""
    if market == ON_DEMAND:
        return 1
    if options.strategy == "diversified":
        return pools
    return min(pools, options.pools_to_use) if options.strategy == "lowest-price" else 1


def _fill(group: Sequence[Candidate], target: int, spread: int, ledger: _Ledger, options: MarketOptions) -> FleetPlan:
    market = ledger.market
    counts = dict.fromkeys((c.index for c in group), 0)
    errors: dict[int, FleetError] = {}
    missing = float(target)
    if market == ON_DEMAND and options.reservations_first:
        for candidate in group:
            wanted = math.ceil(missing / candidate.pool.override.weight)
            count = int(max(0, min(wanted, ledger.reserved(candidate), ledger.most(candidate)[0])))
            if count:
                ledger.set_aside(candidate, count)
            counts[candidate.index] += count
            missing -= count * candidate.pool.override.weight
    rounds = [(c, spread - i) for i, c in enumerate(group[:spread])] + [(c, 1) for c in group]
    for candidate, pools_left in rounds:
        if missing <= 0:
            break
        if candidate.index in errors:
            continue
        wanted = math.ceil(missing / pools_left / candidate.pool.override.weight)
        most, why = ledger.most(candidate)
        count = int(max(0, min(wanted, most)))
        if count < wanted:
            errors[candidate.index] = FleetError(why.code, why.message, market, candidate.pool, candidate.index)
        if count:
            ledger.set_aside(candidate, count)
        counts[candidate.index] += count
        missing -= count * candidate.pool.override.weight
    shares = tuple(Share(c, counts[c.index]) for c in group if counts[c.index])
    return FleetPlan(market, shares, tuple(errors[i] for i in sorted(errors)), target - missing)


def _refused(short: FleetPlan, minimum: int) -> FleetPlan:
    """Nothing is launched below the minimum; pools that had something say so too."""
    named = {e.override_index for e in short.errors}
    message = f"Unable to fulfill the minimum target capacity of {minimum}."
    more = tuple(
        FleetError("UnfulfillableCapacity", message, short.market, s.candidate.pool, s.candidate.index)
        for s in short.shares
        if s.candidate.index not in named
    )
    return FleetPlan(short.market, (), (*short.errors, *more))
