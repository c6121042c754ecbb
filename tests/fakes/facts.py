"""Slow facts behind the ports `PriceSource`, `QuotaSource` and `BlockSource`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from clustermgtd.model.capacity_block import CapacityBlock
from clustermgtd.model.ids import CapacityReservationId, InstanceType, SubnetId
from clustermgtd.model.quota import QuotaKey, Quotas
from tests.fakes.faults import Faults


@dataclass
class FakePriceSource:
    """Prices as a test has them."""

    listed: dict[InstanceType, float] = field(default_factory=dict)
    pools: dict[tuple[InstanceType, SubnetId], float] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    """By method: `on_demand`, `spot`."""
    asked: list[Collection[InstanceType]] = field(default_factory=list)
    """The types of every call for spot prices."""

    async def on_demand(self, instance_types: Collection[InstanceType]) -> Mapping[InstanceType, float]:
        with self.faults.around("on_demand"):
            return {name: price for name, price in self.listed.items() if name in instance_types}

    async def spot(
        self, instance_types: Collection[InstanceType], subnets: Collection[SubnetId]
    ) -> Mapping[tuple[InstanceType, SubnetId], float]:
        self.asked.append(instance_types)
        with self.faults.around("spot"):
            return {
                (name, subnet): price
                for (name, subnet), price in self.pools.items()
                if name in instance_types and subnet in subnets
            }


@dataclass
class FakeQuotaSource:
    """Quotas as a test has them."""

    limits: dict[QuotaKey, float] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    """By method: `quotas`."""

    async def quotas(self, keys: Collection[QuotaKey]) -> Quotas:
        with self.faults.around("quotas"):
            return {key: limit for key, limit in self.limits.items() if key in keys}


@dataclass
class FakeBlockSource:
    """Capacity blocks as a test has them."""

    known: dict[CapacityReservationId, CapacityBlock] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    """By method: `blocks`."""
    asked: list[Collection[CapacityReservationId]] = field(default_factory=list)

    async def blocks(self, ids: Collection[CapacityReservationId]) -> Mapping[CapacityReservationId, CapacityBlock]:
        self.asked.append(ids)
        with self.faults.around("blocks"):
            return {id: block for id, block in self.known.items() if id in ids}
