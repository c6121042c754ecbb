"""What counting and logging cost the event loop."""

from __future__ import annotations

import os
import timeit
from collections.abc import Callable, Iterator

import structlog
from prometheus_client import CollectorRegistry, generate_latest

from clustermgtd.model.action import Reason, TerminateInstances
from clustermgtd.telemetry import labels
from clustermgtd.telemetry.logging import LogFormat, LogLevel, configure
from clustermgtd.telemetry.metrics import Metrics
from tests.benchmarks.row import Row


def measure() -> Iterator[Row]:
    metrics = Metrics(CollectorRegistry())
    action = TerminateInstances((), Reason.ORPHAN)
    yield Row("telemetry/count-an-action", _microseconds(lambda: metrics.action(action, labels.ActionOutcome.OK)), "us")
    call = _microseconds(lambda: metrics.port_call(labels.Port.FLEET, "instances", "ok", 0.1))
    yield Row("telemetry/count-a-port-call", call, "us")
    yield Row("telemetry/scrape", _microseconds(lambda: generate_latest(metrics.registry), 100) / 1000, "ms")
    descriptor = os.open(os.devnull, os.O_WRONLY)
    output = configure(LogLevel.INFO, LogFormat.JSON, descriptor)
    try:
        log = structlog.get_logger("bench")
        dropped = _microseconds(lambda: log.debug("tick", actions=3, nodes=1000))
        yield Row("telemetry/log-below-the-level", dropped, "us")
        line = _microseconds(lambda: log.info("tick", actions=3, nodes=1000, reason="demand"), 5000)
        yield Row("telemetry/log-a-line", line, "us")
    finally:
        output.close()
        os.close(descriptor)
        structlog.reset_defaults()


def _microseconds(call: Callable[[], object], times: int = 20_000) -> float:
    return min(timeit.repeat(call, number=times, repeat=3)) / times * 1e6
