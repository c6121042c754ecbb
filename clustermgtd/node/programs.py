"""Runs a site's program with a deadline, in a process group that does not outlive it."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from clustermgtd.model.node_report import TEXT_MAX

LINES_LOGGED_MAX = 200
LINES_KEPT = 20
_LINE_MAX = 1000
_READ_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended."""

    exit_code: int | None
    """Negative for a signal; None: it was killed at its deadline, or could not be started."""
    seconds: float
    output: str
    """Its last lines, standard output and error together."""
    was_killed: bool = False
    """At its deadline."""


def run(
    command: Sequence[str], environment: Mapping[str, str], deadline_s: float, say: Callable[[str], None]
) -> Outcome:
    """Run a program to its end, or to `deadline_s`; each line that it writes goes to `say`, up to `LINES_LOGGED_MAX`.

    The program leads a process group (and session) of its own. What is left of the group when it has ended, or when
    the deadline is over, gets SIGKILL.
    """
    started_at = time.monotonic()
    lines = _Lines(say)
    try:
        process = subprocess.Popen(
            list(command),
            env=dict(environment),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        lines.add(f"{command[0]} cannot be started: {error}\n".encode())
        return Outcome(None, 0.0, lines.last)
    assert process.stdout is not None
    with process.stdout:
        try:
            has_ended = _read_until_end(process.pid, process.stdout, started_at + deadline_s, lines)
        finally:
            # before the leader is waited for: until then nobody else can get its group's id
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
    lines.end()
    seconds = time.monotonic() - started_at
    return Outcome(code if has_ended else None, seconds, lines.last, was_killed=not has_ended)


def _read_until_end(pid: int, output: IO[bytes], deadline: float, lines: _Lines) -> bool:
    """Until the program has ended (True) or the deadline is over (False)."""
    os.set_blocking(output.fileno(), False)
    leader = os.pidfd_open(pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(leader, selectors.EVENT_READ)
            selector.register(output, selectors.EVENT_READ)
            while (left_s := deadline - time.monotonic()) > 0:
                ready = {key.fd for key, _ in selector.select(left_s)}
                if output.fileno() in ready and not _drain(output, lines):
                    selector.unregister(output)
                if leader in ready:
                    _drain(output, lines)
                    return True
            _drain(output, lines)
            return False
    finally:
        os.close(leader)


def _drain(output: IO[bytes], lines: _Lines) -> bool:
    """Take what is there, a bounded amount; False at the end of the output."""
    try:
        part = os.read(output.fileno(), _READ_BYTES)
    except BlockingIOError:
        return True
    lines.add(part)
    return bool(part)


class _Lines:
    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._rest = b""
        self._count = 0
        self._last: deque[str] = deque(maxlen=LINES_KEPT)

    @property
    def last(self) -> str:
        return "\n".join(self._last)[-TEXT_MAX:]

    def add(self, part: bytes) -> None:
        *whole, rest = (self._rest + part).split(b"\n")
        for line in whole:
            self._one(line)
        self._rest = rest[-_LINE_MAX:]

    def end(self) -> None:
        if self._rest:
            self._one(self._rest)
            self._rest = b""

    def _one(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()[:_LINE_MAX]
        self._last.append(text)
        self._count += 1
        if self._count <= LINES_LOGGED_MAX:
            self._say(text)
        elif self._count == LINES_LOGGED_MAX + 1:
            self._say("further lines are not shown")
