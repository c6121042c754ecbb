"""Counts what comes in from Slurm's hooks, and who waits at the start gate.

`intake` and `reconcile` are not imported here (layers): the classes fit their Protocols by shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import structlog

from clustermgtd.model.ids import JobId, NodeName
from clustermgtd.telemetry.labels import GateReason, HookKind, HookRejection, HookSource
from clustermgtd.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


class IntakeMetrics:
    """An `intake.observer.IntakeObserver` that counts, and writes a line for what was refused."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def accepted(self, kind: str, source: StrEnum) -> None:
        """A request was taken."""
        self._metrics.hook_request(HookKind(kind), HookSource(source))

    def rejected(self, reason: StrEnum, source: StrEnum, detail: str) -> None:
        """A request was not taken."""
        self._metrics.hook_rejected(HookRejection(reason))
        log.warning("hook_request_rejected", reason=reason, source=source, detail=detail)


class Answer(Protocol):
    """Why a job was let go."""

    @property
    def reason(self) -> str: ...


class Gate(Protocol):
    """Where jobs wait for their nodes."""

    async def wait(self, job_id: JobId, nodes: Sequence[NodeName]) -> Answer: ...


class CountedGate:
    """A gate that counts who waits, and counts and writes why each was let go."""

    def __init__(self, gate: Gate, metrics: Metrics) -> None:
        self._gate = gate
        self._metrics = metrics
        self._waiting = 0

    async def wait(self, job_id: JobId, nodes: Sequence[NodeName]) -> Answer:
        """As the gate inside. A wait that is cancelled (the prolog went away) has no answer to count."""
        self._change(1)
        try:
            answer = await self._gate.wait(job_id, nodes)
        finally:
            self._change(-1)
        self._metrics.gate_answer(GateReason(answer.reason))
        log.info("start_gate_opened", job_id=job_id, reason=answer.reason)
        return answer

    def _change(self, by: int) -> None:
        self._waiting += by
        self._metrics.gate_waiting(self._waiting)
