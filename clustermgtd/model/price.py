"""What instances cost, as far as it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clustermgtd.model.ids import InstanceType, SubnetId
from clustermgtd.model.offering import Market, Offering


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars for one instance-hour, as of one moment. A price that is missing is not known."""

    on_demand: Mapping[InstanceType, float] = field(default_factory=dict)
    spot: Mapping[tuple[InstanceType, SubnetId], float] = field(default_factory=dict)
    approximate: frozenset[InstanceType] = frozenset()
    """Types whose on-demand price is another Region's: good for an order, not for refusing anything."""

    def of(self, offering: Offering) -> float | None:
        """The offering's price; a capacity block is paid in advance and has none."""
        match offering.market:
            case Market.SPOT:
                return self.spot.get((offering.instance_type, offering.subnet))
            case Market.ON_DEMAND:
                return self.on_demand.get(offering.instance_type)
            case Market.CAPACITY_BLOCK:
                return None
