"""Which offerings are worth their price, and in which order they are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from clustermgtd.model.claim import AllocationStrategy
from clustermgtd.model.offering import Market, Offering
from clustermgtd.model.policy import CapacityTier, ComputeResourcePolicy, Policy
from clustermgtd.model.price import Prices


@dataclass(frozen=True, slots=True)
class PriceChoice:
    """Offerings in order of preference, and those that nobody should pay for."""

    accepted: tuple[Offering, ...]
    rejected: tuple[Offering, ...] = ()


def by_price(
    offerings: Sequence[Offering], prices: Prices, strategy: AllocationStrategy, max_price: float | None
) -> PriceChoice:
    """Leave out spot offerings that cost more than `max_price`, or than the same type on demand.

    The rest is sorted by price where the strategy is lowest-price; the others know something better than the price, and
    keep the order. An offering of unknown price stays, behind those of known price.

    None is left out if all would be: EC2 knows the price of this moment, and never charges above the bound that the
    request carries (`max_price`, by default the on-demand price).
    """
    accepted = tuple(offerings)
    for is_worth_it in _bounds(prices, max_price):
        accepted = tuple(o for o in accepted if is_worth_it(o)) or accepted
    rejected = tuple(o for o in offerings if o not in accepted)
    if strategy is AllocationStrategy.LOWEST_PRICE:
        accepted = tuple(sorted(accepted, key=lambda o: _rank(prices.of(o))))
    return PriceChoice(accepted, rejected)


def _bounds(prices: Prices, max_price: float | None) -> tuple[Callable[[Offering], bool], ...]:
    """The site's own bound comes first: where every offering that respects it is dearer than on demand, the site has
    said that it pays so much."""

    def respects_site(offering: Offering) -> bool:
        return max_price is None or _spot_price(offering, prices) <= max_price

    def is_cheaper_than_on_demand(offering: Offering) -> bool:
        if offering.instance_type in prices.approximate:
            return True
        return _spot_price(offering, prices) <= prices.on_demand.get(offering.instance_type, math.inf)

    return respects_site, is_cheaper_than_on_demand


def _spot_price(offering: Offering, prices: Prices) -> float:
    """-infinity for what is not spot, or not known: no bound applies."""
    price = prices.of(offering) if offering.market is Market.SPOT else None
    return -math.inf if price is None else price


def _rank(price: float | None) -> float:
    return math.inf if price is None else price


def priced(policy: Policy, prices: Prices) -> Policy:
    """The policy as decisions shall see it: the prices, and the offerings of every tier chosen by `by_price`."""
    chosen = {
        key: replace(
            resource,
            tiers=tuple(replace(tier, offerings=_choice_in(tier, prices).accepted) for tier in resource.tiers),
        )
        for key, resource in policy.compute_resources.items()
    }
    return replace(policy, compute_resources=chosen, prices=prices)


def choices_of(resource: ComputeResourcePolicy, prices: Prices) -> tuple[PriceChoice, ...]:
    """The choice among one compute resource's offerings, tier by tier."""
    return tuple(_choice_in(tier, prices) for tier in resource.tiers)


def _choice_in(tier: CapacityTier, prices: Prices) -> PriceChoice:
    return by_price(tier.offerings, prices, tier.strategy, tier.max_price)
