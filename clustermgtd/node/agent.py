"""The agent's one path: who am I, which node is that, slurmd.

The agent stays as slurmd's parent instead of becoming slurmd: whoever will watch the instance's metadata for a spot
notice has to outlive slurmd's start, and a slurmd that ends during the boot can be started again here.
"""

from __future__ import annotations

import queue
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from clustermgtd.errors import ClustermgtdError, NotFoundError, TransientError
from clustermgtd.node.arguments import AgentArguments
from clustermgtd.node.boot_report import BootPhase, BootReport
from clustermgtd.node.imds import Identity
from clustermgtd.node.instance_store import instance_store_complaint
from clustermgtd.node.record import Record
from clustermgtd.node.slurmd import SlurmdFeatures, command_line

EXIT_GAVE_UP = 70
"""The agent's exit code after it gave up (also the code of an instance that ends itself, in the lab)."""
EXIT_STOPPED = 143
"""SIGTERM came before slurmd ran."""
_FIRST_DELAY_S = 0.1
_DELAY_FACTOR = 1.7
_DELAY_MAX_S = 5.0
_POWER_OFF_TIMEOUT_S = 30.0

T = TypeVar("T")


class Process(Protocol):
    """A started slurmd."""

    def wait(self) -> int:
        """Its exit code, negative for a signal."""
        ...

    def send_signal(self, number: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the agent touches, so that a test can be the instance."""

    identity: Callable[[], Identity]
    """Raises TransientError or NotFoundError while the metadata service does not know."""
    open_record: Callable[[str], Record]
    """The record, given a region."""
    probe_slurmd: Callable[[str], SlurmdFeatures]
    start: Callable[[list[str]], Process]
    """Raises OSError."""
    run: Callable[[list[str]], None]
    """Run the power-off command; raises OSError or subprocess.SubprocessError."""
    store_complaint: Callable[[str], str] = instance_store_complaint
    """What is wrong with the instance store that belongs at a folder; empty for nothing."""
    monotonic: Callable[[], float] = time.monotonic


class _GaveUp(Exception):
    pass


class _Stopped(Exception):
    pass


class Agent:
    """One boot of one instance."""

    def __init__(self, arguments: AgentArguments, surroundings: Surroundings) -> None:
        self._arguments = arguments
        self._surroundings = surroundings
        self._is_stopping = False
        self._stops: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._slurmd: Process | None = None
        self._deadline = surroundings.monotonic() + arguments.give_up_s
        self._report = BootReport(self._log)

    def stop(self) -> None:
        """End slurmd (SIGTERM) and then the agent; safe in a signal handler (`SimpleQueue.put` is re-entrant)."""
        self._is_stopping = True
        self._stops.put(None)
        if self._slurmd is not None:
            self._slurmd.send_signal(signal.SIGTERM)

    def run(self) -> int:
        """Until slurmd has ended for good.

        Returns:
            slurmd's exit code (128 + signal where one ended it), EXIT_GAVE_UP or EXIT_STOPPED.
        """
        self._report.note(BootPhase.AGENT_STARTED)
        try:
            return self._boot()
        except _Stopped:
            return EXIT_STOPPED
        except _GaveUp as reason:
            self._give_up(str(reason))
            return EXIT_GAVE_UP
        finally:
            self._report.close()

    def _boot(self) -> int:
        identity = self._until_known(self._surroundings.identity)
        self._report.note(BootPhase.IDENTITY_KNOWN)
        record = self._until_known(lambda: self._surroundings.open_record(self._arguments.region or identity.region))
        self._report.store_in(record, identity)
        node = self._until_known(lambda: record.node_name(identity))
        self._report.note(BootPhase.NODE_KNOWN, node)
        self._log(f"{identity.instance_id} ({identity.instance_type}) is node {node}")
        if complaint := self._surroundings.store_complaint(self._arguments.ephemeral_dir):
            self._log(complaint)
        features = self._until_known(lambda: self._surroundings.probe_slurmd(self._arguments.slurmd))
        return self._serve(command_line(self._arguments, features, identity, node))

    def _serve(self, command: list[str]) -> int:
        """Run slurmd; one that fails while the boot may still succeed is started again."""
        failures = 0
        while True:
            code = self._run_slurmd(command)
            if code == 0 or self._is_stopping or self._surroundings.monotonic() >= self._deadline:
                return code if code >= 0 else 128 - code
            failures += 1
            why = f"slurmd ended with {code}, for the {failures}. time"
            self._log(why)
            self._pause(min(failures, 10), why)

    def _run_slurmd(self, command: list[str]) -> int:
        try:
            self._slurmd = self._surroundings.start(command)
        except OSError as error:
            self._log(f"cannot start slurmd: {error}")
            return 127
        if self._is_stopping:  # the signal came between the start and the assignment
            self._slurmd.send_signal(signal.SIGTERM)
        self._report.note(BootPhase.SLURMD_STARTED)
        try:
            return self._slurmd.wait()
        finally:
            self._slurmd = None

    def _until_known(self, question: Callable[[], T]) -> T:
        """Ask with growing pauses until there is an answer, the deadline passes or the agent is stopped."""
        delay_s = _FIRST_DELAY_S
        said = ""
        while True:
            try:
                return question()
            except (NotFoundError, TransientError) as error:
                why = str(error)
            except ClustermgtdError as error:
                raise _GaveUp(str(error)) from error
            if why != said:
                self._log(f"waiting: {why}")
                said = why
            self._pause(delay_s * random.uniform(0.5, 1.0), why)  # noqa: S311 -- spreads load, hides nothing
            delay_s = min(delay_s * _DELAY_FACTOR, _DELAY_MAX_S)

    def _pause(self, seconds: float, why: str) -> None:
        left_s = self._deadline - self._surroundings.monotonic()
        if left_s <= 0:
            raise _GaveUp(why)
        try:
            self._stops.get(timeout=min(seconds, left_s))
        except queue.Empty:
            return
        raise _Stopped

    def _give_up(self, reason: str) -> None:
        message = f"giving up after {self._arguments.give_up_s:g} s, this instance ends itself: {reason}"
        self._log(message)
        if self._arguments.console:
            try:
                with Path(self._arguments.console).open("a", encoding="utf-8") as console:
                    console.write(f"clustermgtd node agent: {message}\n")
            except OSError as error:
                self._log(f"cannot write {self._arguments.console}: {error}")
        if self._arguments.power_off_command:
            try:
                self._surroundings.run(shlex.split(self._arguments.power_off_command))
            except (OSError, subprocess.SubprocessError, ValueError) as error:
                self._log(f"{self._arguments.power_off_command!r} failed: {error}")

    def _log(self, text: str) -> None:
        print(f"clustermgtd node agent: {text}", file=sys.stderr, flush=True)


def run_power_off(command: list[str]) -> None:
    """Run a command that ends the machine, for half a minute at most."""
    subprocess.run(command, check=True, timeout=_POWER_OFF_TIMEOUT_S)
