"""The newest reading of the capacity blocks that cluster.yaml names."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from clustermgtd.model.capacity_block import BlockReading, BlockState, CapacityBlock
from clustermgtd.model.policy import Policy
from clustermgtd.ports.capacity_blocks import BlockSource
from clustermgtd.ports.clock import Clock

log = structlog.get_logger(__name__)

LATE_S = 15.0
"""Between two readings while a block is late."""
_AFTER_START_S = 1.0
"""EC2 makes a block active at its start; asking in the very second may be too early."""


class BlockBook:
    """Nothing is known until the first reading; where no block is configured there is nothing to read."""

    def __init__(
        self, source: BlockSource, clock: Clock, period_s: float, on_read: Callable[[], None] = lambda: None
    ) -> None:
        """`on_read` is called after each reading that says something: a decision may wait for it."""
        self._source = source
        self._clock = clock
        self._period_s = period_s
        self._on_read = on_read
        self._reading = BlockReading()

    def reading(self) -> BlockReading:
        """As read last."""
        return self._reading

    async def read(self, policy: Policy) -> None:
        """Read them anew.

        Raises:
            ClustermgtdError: they could not be read; what was known before stays.
        """
        before, read_at = self._reading, self._clock.now()
        ids = frozenset(policy.blocks.of.values())
        blocks = await self._source.blocks(ids) if ids else {}
        self._reading = BlockReading(blocks, ids, read_at)
        for id in sorted(ids):
            known, block = before.blocks.get(id), blocks.get(id)
            if block is None and (known is not None or id not in before.asked):
                log.warning("capacity_block_unknown", capacity_reservation=id)
            elif block is not None and (known is None or _facts(known) != _facts(block)):
                log.info("capacity_block_read", capacity_reservation=id, **_facts(block))
        if ids:
            self._on_read()

    def pause_s(self) -> float:
        """Until the next reading is due: sooner where a block is about to start, or is late."""
        now = self._clock.now()
        awaited = [block for block in self._reading.blocks.values() if block.state is BlockState.SCHEDULED]
        starts = [block.starts_at + _AFTER_START_S - now for block in awaited if block.starts_at > now]
        late = [LATE_S for block in awaited if block.starts_at <= now < block.ends_at]
        return min([self._period_s, *starts, *late])


def _facts(block: CapacityBlock) -> dict[str, object]:
    return {
        "state": block.state,
        "starts_at": block.starts_at,
        "ends_at": block.ends_at,
        "instances": block.total,
    }
