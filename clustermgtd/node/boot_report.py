"""Boot phases: noted at once, stored by a thread of their own, so that nothing waits for the table."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import StrEnum

from clustermgtd.errors import TransientError
from clustermgtd.node.imds import Identity
from clustermgtd.node.record import Record

_RETRY_S = 2.0
_ATTEMPTS = 5


class BootPhase(StrEnum):
    """How far a boot has come; each is the moment at which the step was done."""

    AGENT_STARTED = "agent-started"
    IDENTITY_KNOWN = "identity-known"
    """The metadata service answered."""
    NODE_KNOWN = "node-known"
    """The launch's record names the node."""
    SLURMD_STARTED = "slurmd-started"
    """The process exists; that slurmd has registered is what Slurm shows."""


class BootReport:
    """The phases of one boot. Storing is best effort: five attempts, newest state only, never waited for."""

    def __init__(self, log: Callable[[str], None], now: Callable[[], float] = time.time) -> None:
        self._log = log
        self._now = now
        self._changed = threading.Condition()
        self._phases: dict[str, float] = {}
        self._node = ""
        self._generation = 0
        self._stored = 0
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def note(self, phase: BootPhase, node: str = "") -> None:
        """Remember that `phase` is done now."""
        with self._changed:
            self._phases[phase] = self._now()
            self._node = node or self._node
            self._generation += 1
            self._changed.notify_all()

    def store_in(self, record: Record, identity: Identity) -> None:
        """Begin to store what is noted, and whatever will be."""
        self._thread = threading.Thread(target=self._run, args=(record, identity), name="boot-report", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Store what is still unstored, within `timeout_s`, and end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self, record: Record, identity: Identity) -> None:
        failures = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._generation > self._stored or self._is_closed)
                if self._generation == self._stored:
                    return
                generation, phases, node = self._generation, dict(self._phases), self._node
            try:
                record.report_boot(identity, node, phases)
                self._stored = generation
                failures = 0
            except TransientError as error:
                failures += 1
                if failures >= _ATTEMPTS or self._is_closed:
                    self._log(f"boot report not stored: {error}")
                    self._stored = generation
                    failures = 0
                else:
                    with self._changed:
                        self._changed.wait_for(lambda: self._is_closed, _RETRY_S)
