"""Hooks and waiting jobs become numbers, in the words that intake and the gate use."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import pytest
import structlog
from prometheus_client import CollectorRegistry

from clustermgtd.intake.hooks import JobGate
from clustermgtd.intake.observer import IntakeObserver, Rejection, Source
from clustermgtd.model.ids import JobId, NodeName
from clustermgtd.reconcile import start_gate
from clustermgtd.telemetry import labels
from clustermgtd.telemetry.intake_metrics import CountedGate, IntakeMetrics
from clustermgtd.telemetry.metrics import Metrics
from resume_suspend import protocol
from tests.fakes.clock import FakeClock


@dataclass(frozen=True)
class LetGo:
    reason: start_gate.GateReason


class SlowGate:
    """Lets everybody go after a minute."""

    def __init__(self, clock: FakeClock, reason: start_gate.GateReason = start_gate.GateReason.READY) -> None:
        self._clock = clock
        self._reason = reason

    async def wait(self, job_id: JobId, nodes: Sequence[NodeName]) -> LetGo:
        await self._clock.sleep(60)
        return LetGo(self._reason)


def value(metrics: Metrics, name: str, **of: str) -> float | None:
    return metrics.registry.get_sample_value(f"clustermgtd_{name}", of)


def test_the_words_are_the_same_on_both_sides() -> None:
    assert [*labels.HookRejection] == [*Rejection]
    assert [*labels.HookSource] == [*Source]
    assert [*labels.GateReason] == [*start_gate.GateReason]


def test_every_kind_of_hook_is_counted() -> None:
    metrics = Metrics(CollectorRegistry())
    observer: IntakeObserver = IntakeMetrics(metrics)
    for kind in labels.HookKind:
        observer.accepted(kind.value, Source.SPOOL)
        assert value(metrics, "hook_requests_total", kind=kind, source="spool") == 1
    assert len(get_args(protocol.Hook)) == len(labels.HookKind) - 1, "the gate is no hook that may be spooled"


@pytest.mark.parametrize("reason", list(Rejection))
def test_what_was_refused_is_counted_and_written_with_its_detail(reason: Rejection) -> None:
    metrics = Metrics(CollectorRegistry())
    with structlog.testing.capture_logs() as lines:
        IntakeMetrics(metrics).rejected(reason, Source.SOCKET, "line 1 is no JSON")
    assert value(metrics, "hook_requests_rejected_total", reason=reason) == 1
    assert [(line["event"], line["reason"], line["detail"]) for line in lines] == [
        ("hook_request_rejected", reason, "line 1 is no JSON")
    ]


def test_who_waits_is_shown_until_let_go() -> None:
    async def story() -> Metrics:
        clock = FakeClock()
        metrics = Metrics(CollectorRegistry())
        gate: JobGate = CountedGate(SlowGate(clock), metrics)
        async with asyncio.TaskGroup() as group:
            for job_id in (1, 2):
                group.create_task(gate.wait(JobId(job_id), [NodeName("n1")]))
            await clock.advance(1)
            assert value(metrics, "start_gate_waiting") == 2
            await clock.advance(60)
        return metrics

    metrics = asyncio.run(story())
    assert value(metrics, "start_gate_waiting") == 0
    assert value(metrics, "start_gate_answers_total", reason="ready") == 2


def test_a_prolog_that_went_away_waits_no_more_and_got_no_answer() -> None:
    async def story() -> Metrics:
        clock = FakeClock()
        metrics = Metrics(CollectorRegistry())
        task = asyncio.create_task(CountedGate(SlowGate(clock), metrics).wait(JobId(1), []))
        await clock.advance(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return metrics

    metrics = asyncio.run(story())
    assert value(metrics, "start_gate_waiting") == 0
    assert all(value(metrics, "start_gate_answers_total", reason=reason) == 0 for reason in labels.GateReason)
