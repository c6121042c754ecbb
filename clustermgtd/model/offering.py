"""What can be asked of EC2: a type in a subnet in a market."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from clustermgtd.model.ids import InstanceType, SubnetId


class Market(StrEnum):
    ON_DEMAND = "on-demand"
    SPOT = "spot"
    CAPACITY_BLOCK = "capacity-block"


@dataclass(frozen=True, slots=True, order=True)
class Offering:
    """One override of a fleet."""

    instance_type: InstanceType
    subnet: SubnetId
    market: Market = Market.ON_DEMAND


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet at the time of a reading that may be some minutes old."""

    id: SubnetId
    zone: str
    free_addresses: int
    read_at: float = 0.0
    """Epoch seconds."""
