"""Metrics of what operators stopped and what the daemon holds back on its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from clustermgtd.model.fleet_status import FleetStatus
from clustermgtd.model.ids import QueueName
from clustermgtd.model.safeguards import Safeguards
from clustermgtd.model.snapshot import Plan, Snapshot
from clustermgtd.telemetry import labels
from clustermgtd.telemetry.declarations import Declarations


class FleetMetrics:
    """Set after each round."""

    def __init__(self, declarations: Declarations, queue_label: Callable[[QueueName], str]) -> None:
        self._queue_label = queue_label
        self._protected = declarations.gauge(
            "compute_resources_protected",
            "Compute resources that are not launched because their nodes do not come up.",
            labels.QUEUE,
        )
        self._failures = declarations.gauge(
            "bootstrap_failures",
            "Instances in a row that did not become nodes, of the queue's worst compute resource.",
            labels.QUEUE,
        )
        self._statuses = declarations.gauge(
            "queues", "Queues by whether they run, as operators and the daemon made it.", labels.FLEET_STATUS
        )
        self._held_back = declarations.gauge(
            "terminations_held_back",
            "Involuntary terminations that wait for an operator's word, because they are over a limit.",
            labels.INVOLUNTARY_REASON,
        )
        self._involuntary = declarations.counter(
            "involuntary_terminations_total",
            "Terminations that were concluded from what is not seen, or from symptoms.",
            labels.INVOLUNTARY_REASON,
        )
        self._set_statuses({})
        self._set_held_back(Safeguards())
        for reason in labels.INVOLUNTARY_REASON.values:
            self._involuntary.labels(reason)

    def tick_done(self, snapshot: Snapshot, plan: Plan) -> None:
        """A snapshot was taken and its plan applied."""
        self._set_statuses(Counter(plan.fleet.effective(queue) for queue in _queues(snapshot)))

        self._set_held_back(plan.safeguards)
        protected = Counter(r.queue for r in plan.safeguards.boots if r.is_protected)
        worst: dict[QueueName, int] = {}
        for record in plan.safeguards.boots:
            worst[record.queue] = max(record.failures, worst.get(record.queue, 0))
        for queue in _queues(snapshot):
            self._protected.labels(self._queue_label(queue)).set(protected[queue])
            self._failures.labels(self._queue_label(queue)).set(worst.get(queue, 0))
        for terminated in plan.safeguards.terminated:
            if terminated.at == snapshot.now:
                self._involuntary.labels(terminated.reason).inc(terminated.count)

    def _set_held_back(self, safeguards: Safeguards) -> None:
        counts: Counter[str] = Counter()
        for held in safeguards.held_back:
            counts[held.reason] += held.count
        for reason in labels.INVOLUNTARY_REASON.values:
            self._held_back.labels(reason).set(counts[reason])

    def _set_statuses(self, counts: Mapping[FleetStatus, int]) -> None:
        for status in FleetStatus:
            self._statuses.labels(status).set(counts.get(status, 0))


def _queues(snapshot: Snapshot) -> set[QueueName]:
    """Partitions of Slurm's."""
    return {queue for node in snapshot.nodes.values() for queue in node.partitions}
