"""Keeps slurmd running: starts it, starts it again when it ends, and says when that does not help."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from typing import Protocol

from clustermgtd.model.node_report import BootPhase, SlurmdTrouble
from clustermgtd.node.report import Reporter
from clustermgtd.node.slurmd import JUST_BOOTED

SETTLED_S = 30.0
"""A slurmd that ran for so long has registered: the node's boot is over."""
_FORGIVEN_S = 600.0
"""After so long the ends before do not count any more."""
_QUIET_FAILURES = 3
"""Ends in a row that are mended without a report."""
_PAUSE_MAX_S = 60.0


class Process(Protocol):
    """A started slurmd."""

    @property
    def pid(self) -> int: ...

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, negative for a signal.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        ...

    def send_signal(self, number: int) -> None: ...


class SlurmdKeeper:
    """One node's slurmd."""

    def __init__(
        self,
        start: Callable[[list[str]], Process],
        reporter: Reporter,
        say: Callable[[str], None],
        monotonic: Callable[[], float],
        runs_jobs: Callable[[], bool],
    ) -> None:
        """`start` raises OSError; `runs_jobs` tells whether steps of an earlier slurmd are there."""
        self._start = start
        self._reporter = reporter
        self._say = say
        self._monotonic = monotonic
        self._runs_jobs = runs_jobs
        self._process: Process | None = None
        self._is_stopping = False
        self.is_settled = False
        """The boot is over."""

    @property
    def pid(self) -> int | None:
        """slurmd's process id; None while it does not run."""
        process = self._process
        return None if process is None else process.pid

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Send slurmd a signal, and start none any more."""
        self._is_stopping = True
        process = self._process
        if process is not None:
            process.send_signal(number)

    def run(self, command: list[str], pause: Callable[[float, str], None]) -> int:
        """Until slurmd ends well or is stopped; returns its exit code.

        `pause` waits between two starts, and raises where there is no more waiting.
        """
        failures = 0
        while True:
            started_at = self._monotonic()
            code = self._run_once(command)
            if code == 0 or self._is_stopping:
                return code
            ran_s = self._monotonic() - started_at
            self.is_settled = self.is_settled or ran_s >= SETTLED_S or self._runs_jobs()
            failures = 1 if ran_s >= _FORGIVEN_S else failures + 1
            why = f"slurmd ended with {code}, for the {failures}. time in a row"
            self._say(why)
            if self.is_settled:
                command = [word for word in command if word != JUST_BOOTED]
                self._report(failures, code)
            pause(min(2.0 ** (failures - 1), _PAUSE_MAX_S), why)

    def _run_once(self, command: list[str]) -> int:
        try:
            self._process = self._start(command)
        except OSError as error:
            self._say(f"cannot start slurmd: {error}")
            return 127
        if self._is_stopping:  # the signal came between the start and the assignment
            self._process.send_signal(signal.SIGTERM)
        self._reporter.note(BootPhase.SLURMD_STARTED)
        try:
            return self._wait(self._process)
        finally:
            self._process = None

    def _wait(self, process: Process) -> int:
        try:
            return process.wait(SETTLED_S)
        except subprocess.TimeoutExpired:
            self.is_settled = True
            if self._reporter.report.slurmd is not None:
                self._say("slurmd runs again")
                self._reporter.update(slurmd=None)
            return process.wait()

    def _report(self, failures: int, code: int) -> None:
        known = self._reporter.report.slurmd
        if failures > _QUIET_FAILURES and (known is None or known.exit_code != code):
            since = known.since if known else self._reporter.now()
            self._reporter.update(slurmd=SlurmdTrouble(since, failures, code))
