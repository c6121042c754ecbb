"""Capacity blocks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from clustermgtd.model.capacity_block import CapacityBlock
from clustermgtd.model.ids import CapacityReservationId


class BlockSource(Protocol):
    """What EC2 knows about capacity reservations. A state follows its start and end within some seconds."""

    async def blocks(self, ids: Collection[CapacityReservationId]) -> Mapping[CapacityReservationId, CapacityBlock]:
        """Those of `ids` that exist and are capacity blocks.

        Raises:
            ClustermgtdError: they could not be read whole.
        """
        ...
