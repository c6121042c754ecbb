"""What the agent reports: noted at once, stored by a thread of its own, so that nothing waits for the table."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from clustermgtd.errors import TransientError
from clustermgtd.model.ids import InstanceId, NodeName
from clustermgtd.model.node_report import NodeReport
from clustermgtd.node.imds import Identity
from clustermgtd.node.record import Record

_FIRST_RETRY_S = 1.0
_RETRY_FACTOR = 2.0
_RETRY_MAX_S = 60.0


class Reporter:
    """The report of one instance. The newest state is stored until that succeeds; states in between may be skipped."""

    def __init__(self, log: Callable[[str], None], now: Callable[[], float] = time.time) -> None:
        self._log = log
        self.now = now
        self._changed = threading.Condition()
        # a later agent of the same instance must not announce a sequence that is being acknowledged right now
        self._report = NodeReport(InstanceId(""), sequence=int(now() * 1000))
        self._is_stored = True
        self._is_closed = False
        self._thread: threading.Thread | None = None

    @property
    def report(self) -> NodeReport:
        """As it is now."""
        return self._report

    def note(self, phase: str, node: str = "", at: float | None = None) -> None:
        """Remember that `phase`, a BootPhase or another step, is done now or was at `at`, the first time that it is."""
        with self._changed:
            at = self._report.phases.get(phase, self.now() if at is None else at)
            self._put(phases={**self._report.phases, phase: at}, node=NodeName(node) if node else self._report.node)

    def update(self, **changes: Any) -> None:
        """Change fields of the report; nothing happens if they are so already."""
        with self._changed:
            if any(getattr(self._report, name) != value for name, value in changes.items()):
                self._put(**changes)

    def store_in(self, record: Record, identity: Identity) -> None:
        """Begin to store what is noted, and whatever will be."""
        with self._changed:
            self._report = replace(self._report, instance=InstanceId(identity.instance_id))
        self._thread = threading.Thread(target=self._run, args=(record,), name="report", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Store what is still unstored, with one more attempt and within `timeout_s`, and end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _put(self, **changes: Any) -> None:
        self._report = replace(self._report, sequence=self._report.sequence + 1, at=self.now(), **changes)
        self._is_stored = False
        self._changed.notify_all()

    def _run(self, record: Record) -> None:
        retry_s = _FIRST_RETRY_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._is_stored or self._is_closed)
                if self._is_stored:
                    return
                report, is_last = self._report, self._is_closed
            try:
                record.report(report)
            except TransientError as error:
                if retry_s == _FIRST_RETRY_S or is_last:
                    self._log(f"report not stored: {error}")
                if is_last:
                    return
                with self._changed:
                    self._changed.wait_for(lambda: self._is_closed, retry_s * random.uniform(0.5, 1.0))  # noqa: S311 -- spreads load
                retry_s = min(retry_s * _RETRY_FACTOR, _RETRY_MAX_S)
            else:
                retry_s = _FIRST_RETRY_S
                with self._changed:
                    self._is_stored = self._report.sequence == report.sequence
