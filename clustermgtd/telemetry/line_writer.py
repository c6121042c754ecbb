"""Writes lines to a descriptor from a thread of its own, so that a reader that stands still never stops the daemon."""

from __future__ import annotations

import os
import queue
import threading

LINES_MAX = 10_000
_CLOSE_TIMEOUT_S = 2.0


class LineWriter:
    """A bounded queue of lines in front of a file descriptor.

    When the queue is full a line is dropped and counted; a line that says how many were lost follows as soon as there
    is room. Lines keep their order. The descriptor is not closed.
    """

    def __init__(self, descriptor: int, lines_max: int = LINES_MAX) -> None:
        self._descriptor = descriptor
        self._lines: queue.Queue[bytes | None] = queue.Queue(lines_max)
        self._dropped = 0
        self._lock = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that were lost and not reported yet."""
        return self._dropped

    def write(self, line: str) -> None:
        """Queue one line (without its newline); returns at once, from any thread."""
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        with self._lock:
            try:
                self._lines.put_nowait(data)
            except queue.Full:
                self._dropped += 1

    def close(self, timeout_s: float = _CLOSE_TIMEOUT_S) -> None:
        """Write what is queued, for at most `timeout_s`, and end the thread. A second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._lines.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            self._write_all(line)
            self._report_dropped()

    def _report_dropped(self) -> None:
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            self._write_all(b'{"event": "log_lines_dropped", "level": "warning", "lines": %d}\n' % dropped)

    def _write_all(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            with self._lock:
                self._dropped += 1
