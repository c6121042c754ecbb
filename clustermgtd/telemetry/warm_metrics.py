"""Metrics of nodes that schedules want up."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from clustermgtd.model.ids import QueueName
from clustermgtd.model.warm import WarmStatus
from clustermgtd.telemetry import labels
from clustermgtd.telemetry.declarations import Declarations


class WarmMetrics:
    """A part of `Metrics`; `queue_label` is the label value for a queue."""

    def __init__(self, declarations: Declarations, queue_label: Callable[[QueueName], str]) -> None:
        self._queue_label = queue_label
        self._wanted = declarations.gauge(
            "warm_nodes_wanted", "Nodes that active schedules want up, static and busy ones among them.", labels.QUEUE
        )
        self._warm = declarations.gauge("warm_nodes", "Of those, the ones that are up.", labels.QUEUE)
        self._kept = declarations.gauge(
            "warm_nodes_kept", "Idle nodes that stay because of a schedule, however long they idle.", labels.QUEUE
        )
        self._cost = declarations.gauge(
            "warm_nodes_kept_dollars_per_hour",
            "US dollars an hour for the instances of those, as far as prices are known.",
            labels.QUEUE,
        )

    def show(self, statuses: Iterable[WarmStatus]) -> None:
        """All at once: queues that no schedule names have no samples."""
        known = list(statuses)
        for gauge in (self._wanted, self._warm, self._kept, self._cost):
            gauge.clear()
        for queue in sorted({status.key.queue for status in known}):
            of = [status for status in known if status.key.queue == queue]
            label = self._queue_label(queue)
            self._wanted.labels(label).set(sum(status.wanted for status in of))
            self._warm.labels(label).set(sum(status.warm for status in of))
            self._kept.labels(label).set(sum(len(status.kept) for status in of))
            self._cost.labels(label).set(sum(status.cost_per_hour for status in of))
