"""Prices."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from clustermgtd.model.ids import InstanceType, SubnetId


class PriceSource(Protocol):
    """What instances cost in this Region, in US dollars per hour. Slow; read in the background, seldom.

    Spot prices are what EC2 last published for a pool; they may have moved since by a few per cent.
    """

    async def on_demand(self, instance_types: Collection[InstanceType]) -> Mapping[InstanceType, float]:
        """Linux, shared tenancy. Types without a price are left out.

        Raises:
            ClustermgtdError: the price list could not be read whole.
        """
        ...

    async def spot(
        self, instance_types: Collection[InstanceType], subnets: Collection[SubnetId]
    ) -> Mapping[tuple[InstanceType, SubnetId], float]:
        """Linux. Pools that EC2 does not offer, and subnets that do not exist, are left out.

        Raises:
            ClustermgtdError: the history could not be read whole.
        """
        ...
