"""Prices that move, the policy that they make, and what no launch may then ask for."""

from __future__ import annotations

import random
from dataclasses import replace

from clustermgtd.decide.price_order import priced
from clustermgtd.model.claim import AllocationStrategy, Launch
from clustermgtd.model.ids import InstanceType, SubnetId
from clustermgtd.model.offering import Market, Offering
from clustermgtd.model.policy import Policy
from clustermgtd.model.price import Prices

TYPES = (InstanceType("c5.large"), InstanceType("m5.large"))


class PriceMarket:
    """Some prices are known, some spot prices are above the on-demand price, and everything changes now and then."""

    def __init__(self, rng: random.Random, subnets: list[SubnetId], now: float) -> None:
        self._rng = rng
        self._subnets = subnets
        self._changes: list[tuple[float, Prices]] = []
        self.is_ignored = False
        """Plant a mistake: decide without looking at prices."""
        self._made: tuple[Policy, Prices, Policy] | None = None
        """The policy and the prices of the last question, and its answer."""
        self.move(now)

    @property
    def prices(self) -> Prices:
        return self._changes[-1][1]

    def move(self, now: float) -> None:
        """New prices from now on."""
        rng = self._rng
        on_demand = {name: rng.choice([0.08, 0.1]) for name in TYPES if rng.random() < 0.8}
        spot = {
            (name, subnet): rng.choice([0.03, 0.05, 0.09, 0.2])
            for name in TYPES
            for subnet in self._subnets
            if rng.random() < 0.8
        }
        approximate = frozenset(name for name in TYPES if rng.random() < 0.1)
        self._changes.append((now, Prices(on_demand, spot, approximate)))

    def forget(self, now: float) -> None:
        """No price is known from now on, so that none keeps the daemon from an offering that others find roomy."""
        self._changes.append((now, Prices({}, {}, frozenset())))

    def policy(self, policy: Policy) -> Policy:
        """What decisions see."""
        if self.is_ignored:
            return policy
        if self._made is None or self._made[0] is not policy or self._made[1] is not self.prices:
            self._made = (policy, self.prices, priced(policy, self.prices))
        return self._made[2]

    def check(self, launch: Launch, window_s: float) -> None:
        """A new launch asks for nothing that costs too much while something else does not, cheapest first.

        It holds under the prices of one moment in the `window_s` seconds before the launch was made.
        """
        faults = [fault for prices in self._in_effect(launch.created_at, window_s) if (fault := _fault(launch, prices))]
        assert len(faults) < len(self._in_effect(launch.created_at, window_s)), f"{launch.token}: {faults}"

    def _in_effect(self, at: float, window_s: float) -> list[Prices]:
        ends = [*(since for since, _ in self._changes[1:]), float("inf")]
        return [
            prices
            for (since, prices), end in zip(self._changes, ends, strict=True)
            if since <= at and end > at - window_s
        ]


def _fault(launch: Launch, prices: Prices) -> str:
    request = launch.request
    is_dear = {o: _is_dear(o, prices) for o in request.offerings}
    if any(is_dear.values()) and not all(is_dear.values()):
        return f"{[o for o, dear in is_dear.items() if dear]} cost more than on demand"
    known = [price for o in request.offerings if (price := prices.of(o)) is not None]
    if request.strategy is AllocationStrategy.LOWEST_PRICE and known != sorted(known):
        return f"{request.offerings} are not in order of price: {known}"
    return ""


def _is_dear(offering: Offering, prices: Prices) -> bool:
    on_demand = prices.of(replace(offering, market=Market.ON_DEMAND))
    spot = prices.of(offering) if offering.market is Market.SPOT else None
    is_comparable = on_demand is not None and offering.instance_type not in prices.approximate
    return spot is not None and is_comparable and on_demand is not None and spot > on_demand
