"""Capacity blocks: how many are in which phase, and when the next one of a queue starts and ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from clustermgtd.model.capacity_block import BlockPhase, BlockStatus
from clustermgtd.model.ids import QueueName
from clustermgtd.telemetry import labels
from clustermgtd.telemetry.declarations import Declarations

_OVER = frozenset({BlockPhase.ENDED, BlockPhase.NONE, BlockPhase.UNREAD})


class BlockMetrics:
    """Gauges of the capacity blocks that cluster.yaml names."""

    def __init__(self, declarations: Declarations, queue_label: Callable[[QueueName], str]) -> None:
        self._queue_label = queue_label
        self._blocks = declarations.gauge(
            "capacity_blocks", "Capacity blocks that cluster.yaml names, by phase.", labels.BLOCK_PHASE
        )
        self._edges = declarations.gauge(
            "capacity_block_timestamp_seconds",
            "Unix time at which the queue's next capacity block starts, is drained, or ends.",
            labels.QUEUE,
            labels.BLOCK_EDGE,
        )
        self.show(())

    def show(self, statuses: Iterable[BlockStatus]) -> None:
        """All at once: a queue whose blocks are over disappears."""
        known = list(statuses)
        counts = Counter({status.id: status.phase for status in known}.values())
        for phase in BlockPhase:
            self._blocks.labels(phase).set(counts[phase])
        self._edges.clear()
        for queue in sorted({status.queue for status in known}):
            live = [status for status in known if status.queue == queue and status.phase not in _OVER]
            if not live:
                continue
            unstarted = [status for status in live if status.phase in (BlockPhase.WAITING, BlockPhase.STARTING)]
            if unstarted:
                self._set(queue, labels.BlockEdge.START, min(status.starts_at for status in unstarted))
            self._set(queue, labels.BlockEdge.DRAIN, min(status.drains_at for status in live))
            self._set(queue, labels.BlockEdge.END, min(status.ends_at for status in live))

    def _set(self, queue: QueueName, edge: labels.BlockEdge, at: float) -> None:
        self._edges.labels(self._queue_label(queue), edge).set(at)
