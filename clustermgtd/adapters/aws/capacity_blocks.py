"""DescribeCapacityReservations behind the port `BlockSource`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import ConfigurationError
from clustermgtd.model.capacity_block import BlockState, CapacityBlock
from clustermgtd.model.ids import CapacityReservationId

CALL_DEADLINE_S = 20.0
BATCH_MAX = 100
_UNKNOWN = frozenset({"InvalidCapacityReservationId.NotFound", "InvalidCapacityReservationId.Malformed"})
_ENDED = frozenset({"expired", "cancelled", "cancelling", "failed", "payment-failed", "unsupported"})


class AwsBlocks:
    """The account's capacity blocks in one Region."""

    def __init__(self, session: AwsSession) -> None:
        self._session = session

    async def blocks(self, ids: Collection[CapacityReservationId]) -> Mapping[CapacityReservationId, CapacityBlock]:
        """One call per 100 and page; one per id if EC2 does not know one of them, which spoils the whole call."""
        wanted = sorted(set(ids))
        found: dict[CapacityReservationId, CapacityBlock] = {}
        for start in range(0, len(wanted), BATCH_MAX):
            batch = wanted[start : start + BATCH_MAX]
            try:
                entries = [entry async for entry in self._entries(batch)]
            except ConfigurationError as error:
                if error.code not in _UNKNOWN:
                    raise
                entries = [entry for id in batch for entry in await self._known(id)]
            found |= {block.id: block for block in map(_block, entries) if block is not None}
        return found

    async def _known(self, id: CapacityReservationId) -> list[Mapping[str, Any]]:
        """The reservation's entry, if there is one."""
        try:
            return [entry async for entry in self._entries([id])]
        except ConfigurationError as error:
            if error.code not in _UNKNOWN:
                raise
            return []

    async def _entries(self, ids: Sequence[CapacityReservationId]) -> AsyncIterator[Mapping[str, Any]]:
        parameters: dict[str, Any] = {"CapacityReservationIds": list(ids)}
        while True:
            reply = await self._session.call("ec2", "describe_capacity_reservations", parameters, CALL_DEADLINE_S)
            for entry in reply.get("CapacityReservations", ()):
                yield entry
            if not reply.get("NextToken"):
                return
            parameters["NextToken"] = reply["NextToken"]


def _block(entry: Mapping[str, Any]) -> CapacityBlock | None:
    """The entry, if it is a capacity block: those have a start and an end."""
    starts_at, ends_at = entry.get("StartDate"), entry.get("EndDate")
    if entry.get("ReservationType") != "capacity-block":
        return None
    if not isinstance(starts_at, datetime) or not isinstance(ends_at, datetime):
        return None
    return CapacityBlock(
        CapacityReservationId(str(entry["CapacityReservationId"])),
        _state(str(entry.get("State", ""))),
        starts_at.timestamp(),
        ends_at.timestamp(),
        int(entry.get("TotalInstanceCount", 0)),
        int(entry.get("AvailableInstanceCount", 0)),
    )


def _state(text: str) -> BlockState:
    """What is not yet usable, whatever EC2 calls it, is scheduled."""
    if text == "active":
        return BlockState.ACTIVE
    return BlockState.ENDED if text in _ENDED else BlockState.SCHEDULED
