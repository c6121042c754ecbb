"""The newest prices, and the policy as they shape it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import structlog

from clustermgtd.decide.price_order import choices_of, priced
from clustermgtd.model.ids import InstanceType, QueueName, SubnetId
from clustermgtd.model.offering import Market, Offering
from clustermgtd.model.policy import ComputeResourceKey, Policy
from clustermgtd.model.price import Prices
from clustermgtd.ports.prices import PriceSource

log = structlog.get_logger(__name__)


class PriceList(Protocol):
    """Prices that are there from the start."""

    @property
    def is_local(self) -> bool:
        """They are this Region's; otherwise they are approximate."""
        ...

    def price(self, instance_type: InstanceType) -> float | None:
        """US dollars per hour on demand; None if it is not known."""
        ...


class PriceBook:
    """Built-in prices, replaced by those that AWS gave.

    `report` is told, for every queue, how many offerings are left out, whenever that may have changed.
    """

    def __init__(
        self, source: PriceSource, built_in: PriceList, report: Callable[[Mapping[QueueName, int]], None]
    ) -> None:
        self._source = source
        self._built_in = built_in
        self._report = report
        self._listed: Mapping[InstanceType, float] = {}
        self._spot: Mapping[tuple[InstanceType, SubnetId], float] = {}
        self._rejected: Mapping[ComputeResourceKey, tuple[Offering, ...]] = {}
        self._made: tuple[Policy, Policy] | None = None
        """The policy that came in last, and what prices made of it."""

    def policy(self, policy: Policy) -> Policy:
        """The policy with its offerings in order and without those that cost too much. Cheap while nothing changes."""
        if self._made is None or self._made[0] is not policy:
            prices = self.prices(policy)
            self._note_rejected(policy, prices)
            self._made = (policy, priced(policy, prices))
        return self._made[1]

    def prices(self, policy: Policy) -> Prices:
        """All that is known about the policy's instance types."""
        return known_prices(instance_types(policy), self._built_in, self._listed, self._spot)

    async def read_on_demand(self, policy: Policy) -> None:
        """Take over the price list.

        Raises:
            ClustermgtdError: it could not be read; what was known before stays.
        """
        self._listed = await self._source.on_demand(instance_types(policy))
        self._made = None

    async def read_spot(self, policy: Policy) -> None:
        """Take over the present spot prices, if the policy has spot offerings.

        Raises:
            ClustermgtdError: they could not be read; what was known before stays.
        """
        spot = [o for r in policy.compute_resources.values() for o in r.offerings if o.market is Market.SPOT]
        if spot:
            self._spot = await self._source.spot({o.instance_type for o in spot}, {o.subnet for o in spot})
            self._made = None

    def _note_rejected(self, policy: Policy, prices: Prices) -> None:
        """Log what has changed, and report the numbers."""
        rejected = {
            key: tuple(offering for choice in choices_of(resource, prices) for offering in choice.rejected)
            for key, resource in policy.compute_resources.items()
        }
        for key, offerings in rejected.items():
            if offerings != self._rejected.get(key, ()):
                log.info(
                    "offerings_rejected",
                    queue=key.queue,
                    compute_resource=key.name,
                    offerings=[f"{o.instance_type} {o.market} {o.subnet} {prices.of(o)}" for o in offerings],
                )
        self._rejected = rejected
        counts: dict[QueueName, int] = {}
        for key, offerings in rejected.items():
            counts[key.queue] = counts.get(key.queue, 0) + len(offerings)
        self._report(counts)


def known_prices(
    types: Iterable[InstanceType],
    built_in: PriceList,
    listed: Mapping[InstanceType, float],
    spot: Mapping[tuple[InstanceType, SubnetId], float],
) -> Prices:
    """What AWS said (`listed`, `spot`), and built-in prices for the types of which it said nothing."""
    own = {name: price for name in types if (price := built_in.price(name)) is not None}
    approximate = frozenset() if built_in.is_local else frozenset(own.keys() - listed.keys())
    return Prices({**own, **listed}, spot, approximate)


def instance_types(policy: Policy) -> frozenset[InstanceType]:
    """Every type that may be launched."""
    return frozenset(o.instance_type for r in policy.compute_resources.values() for o in r.offerings)
