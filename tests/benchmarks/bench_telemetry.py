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


def measure() -> Iterator[tuple[str, float, str]]:
    metrics = Metrics(CollectorRegistry())
    action = TerminateInstances((), Reason.ORPHAN)
    yield "count an action", _microseconds(lambda: metrics.action(action, labels.ActionOutcome.OK)), "us"
    yield (
        "count a port call",
        _microseconds(lambda: metrics.port_call(labels.Port.FLEET, "instances", "ok", 0.1)),
        "us",
    )
    yield "one scrape", _microseconds(lambda: generate_latest(metrics.registry), 100) / 1000, "ms"
    descriptor = os.open(os.devnull, os.O_WRONLY)
    output = configure(LogLevel.INFO, LogFormat.JSON, descriptor)
    try:
        log = structlog.get_logger("bench")
        yield "an event below the level", _microseconds(lambda: log.debug("tick", actions=3, nodes=1000)), "us"
        line = _microseconds(lambda: log.info("tick", actions=3, nodes=1000, reason="demand"), 5000)
        yield "a line", line, "us"
    finally:
        output.close()
        os.close(descriptor)
        structlog.reset_defaults()


def _microseconds(call: Callable[[], object], times: int = 20_000) -> float:
    return min(timeit.repeat(call, number=times, repeat=3)) / times * 1e6
