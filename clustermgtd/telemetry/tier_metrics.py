"""Metrics of capacity tiers: in which one launches ask, and which compute resources begin in a lower one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from clustermgtd.model.ids import QueueName
from clustermgtd.telemetry import labels
from clustermgtd.telemetry.declarations import Declarations


class TierMetrics:
    """A part of `Metrics`; `queue_label` is the label value for a queue."""

    def __init__(self, declarations: Declarations, queue_label: Callable[[QueueName], str]) -> None:
        self._queue_label = queue_label
        self._launches = declarations.counter(
            "launches_by_tier_total",
            "Launches that were decided on, by the capacity tier that they ask in; 0 is the first.",
            labels.QUEUE,
            labels.TIER,
        )
        self._fallen = declarations.gauge(
            "compute_resources_fallen",
            "Compute resources that begin in a lower capacity tier because the higher ones were refused, by that tier.",
            labels.QUEUE,
            labels.TIER,
        )

    def launch_decided(self, queue: QueueName, tier: int) -> None:
        self._launches.labels(self._queue_label(queue), str(tier)).inc()

    def fallen(self, counts: Mapping[tuple[QueueName, int], int]) -> None:
        """All at once, by queue and tier: what is left out disappears."""
        self._fallen.clear()
        for (queue, tier), count in counts.items():
            self._fallen.labels(self._queue_label(queue), str(tier)).set(count)
