"""Ports with a counter around them behave as without, and every call is seen."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from prometheus_client import CollectorRegistry

from clustermgtd.errors import ThrottledError
from clustermgtd.ports.claim_store import ClaimStore
from clustermgtd.ports.fleet import Fleet
from clustermgtd.ports.scheduler import Scheduler
from clustermgtd.telemetry.instrument import InstrumentedClaimStore, InstrumentedFleet, InstrumentedScheduler
from clustermgtd.telemetry.metrics import Metrics
from tests.fakes.clock import FakeClock

PORTS = [
    (Fleet, InstrumentedFleet, "fleet"),
    (Scheduler, InstrumentedScheduler, "scheduler"),
    (ClaimStore, InstrumentedClaimStore, "claim-store"),
]


class SlowPort:
    """Any port: each method takes two seconds, then answers with its name and arguments, or raises."""

    def __init__(self, clock: FakeClock, error: BaseException | None = None) -> None:
        self._clock = clock
        self._error = error

    def __getattr__(self, name: str) -> object:
        async def method(*arguments: object) -> object:
            await self._clock.sleep(2.0)
            if self._error:
                raise self._error
            return name, arguments

        return method


def methods(protocol: type) -> dict[str, inspect.Signature]:
    functions = inspect.getmembers(protocol, inspect.isfunction)
    return {name: inspect.signature(function) for name, function in functions if not name.startswith("_")}


@pytest.mark.parametrize(("protocol", "proxy", "port"), PORTS)
def test_a_proxy_has_exactly_its_protocols_methods(protocol: type, proxy: type, port: str) -> None:
    assert methods(proxy) == methods(protocol)


@pytest.mark.parametrize(("protocol", "proxy", "port"), PORTS)
def test_every_call_is_passed_on_and_counted_under_its_own_name(protocol: type, proxy: type, port: str) -> None:
    clock = FakeClock(is_automatic=True)
    metrics = Metrics(CollectorRegistry())
    counting = proxy(SlowPort(clock), metrics, clock)
    for name, signature in methods(protocol).items():
        arguments = tuple(f"{name}-{p}" for p in signature.parameters if p != "self")
        answer = asyncio.run(getattr(counting, name)(*arguments))
        assert answer == (None if signature.return_annotation == "None" else (name, arguments))
        of = {"port": port, "method": name, "outcome": "ok"}
        assert metrics.registry.get_sample_value("clustermgtd_port_call_duration_seconds_sum", of) == 2.0
        assert metrics.registry.get_sample_value("clustermgtd_port_call_duration_seconds_count", of) == 1


def test_an_error_passes_through_and_gives_the_outcome() -> None:
    clock = FakeClock(is_automatic=True)
    metrics = Metrics(CollectorRegistry())
    error = ThrottledError("slow down", code="RequestLimitExceeded")
    fleet = InstrumentedFleet(SlowPort(clock, error), metrics, clock)  # type: ignore[arg-type]
    with pytest.raises(ThrottledError) as raised:
        asyncio.run(fleet.instances())
    assert raised.value is error
    of = {"port": "fleet", "method": "instances", "outcome": "ThrottledError"}
    assert metrics.registry.get_sample_value("clustermgtd_port_call_duration_seconds_count", of) == 1


def test_a_cancelled_call_stays_cancelled_and_is_counted() -> None:
    async def story() -> Metrics:
        clock = FakeClock()
        metrics = Metrics(CollectorRegistry())
        fleet = InstrumentedFleet(SlowPort(clock), metrics, clock)  # type: ignore[arg-type]
        task = asyncio.create_task(fleet.console_output("i-1"))  # type: ignore[arg-type]
        await clock.advance(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return metrics

    of = {"port": "fleet", "method": "console_output", "outcome": "cancelled"}
    registry = asyncio.run(story()).registry
    assert registry.get_sample_value("clustermgtd_port_call_duration_seconds_sum", of) == 1.0
