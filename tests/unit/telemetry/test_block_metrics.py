"""Capacity blocks as Prometheus sees them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from clustermgtd.model.capacity_block import BlockPhase, BlockStatus
from clustermgtd.model.ids import CapacityReservationId, QueueName
from clustermgtd.telemetry.metrics import Metrics

QUEUE = QueueName("gpu")


def a_status(id: str, phase: BlockPhase, at: float = 0.0) -> BlockStatus:
    return BlockStatus(CapacityReservationId(id), QUEUE, phase, at, at + 100, at + 200)


def a_world() -> tuple[Metrics, dict[str, float | None]]:
    metrics = Metrics(CollectorRegistry())
    metrics.use_queues([QUEUE])
    return metrics, edges(metrics)


def edges(metrics: Metrics) -> dict[str, float | None]:
    name = "clustermgtd_capacity_block_timestamp_seconds"
    value = metrics.registry.get_sample_value
    return {edge: value(name, {"queue": QUEUE, "edge": edge}) for edge in ("start", "drain", "end")}


def count(metrics: Metrics, phase: BlockPhase) -> float | None:
    return metrics.registry.get_sample_value("clustermgtd_capacity_blocks", {"phase": phase})


def test_the_next_block_of_a_queue_is_shown_and_blocks_are_counted_by_phase() -> None:
    metrics, nothing = a_world()
    assert nothing == {"start": None, "drain": None, "end": None}
    metrics.blocks.show(
        [
            a_status("cr-1", BlockPhase.ENDED, 10),
            a_status("cr-2", BlockPhase.ACTIVE, 1000),
            a_status("cr-3", BlockPhase.WAITING, 5000),
        ]
    )
    assert edges(metrics) == {"start": 5000, "drain": 1100, "end": 1200}
    assert {phase for phase in BlockPhase if count(metrics, phase)} == {
        BlockPhase.ENDED,
        BlockPhase.ACTIVE,
        BlockPhase.WAITING,
    }


def test_a_block_that_serves_two_compute_resources_is_one_and_one_that_is_over_has_no_times() -> None:
    metrics, nothing = a_world()
    metrics.blocks.show([a_status("cr-1", BlockPhase.ENDED, 10)] * 2)
    assert count(metrics, BlockPhase.ENDED) == 1
    assert edges(metrics) == nothing
