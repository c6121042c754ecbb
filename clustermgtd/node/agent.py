"""The agent's one path: who am I, which node is that, slurmd; then it watches over the node.

The agent stays as slurmd's parent instead of becoming slurmd: it starts a slurmd that ends again, and what it watches
has to outlive slurmd.
"""

from __future__ import annotations

import queue
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from clustermgtd.errors import ClustermgtdError, NotFoundError, PermanentError, TransientError
from clustermgtd.model.node_report import TEXT_MAX, BootPhase
from clustermgtd.node import actions, configuration, programs, shared_storage
from clustermgtd.node.arguments import AgentArguments
from clustermgtd.node.dead_man import Limits
from clustermgtd.node.imds import Identity
from clustermgtd.node.instance_store import instance_store_complaint
from clustermgtd.node.notices import Metadata, Notices
from clustermgtd.node.processes import Processes
from clustermgtd.node.record import Record
from clustermgtd.node.report import Reporter
from clustermgtd.node.slurmd import SlurmdFeatures, command_line
from clustermgtd.node.slurmd_keeper import Process, SlurmdKeeper
from clustermgtd.node.watches import DeadManWatch, HealthWatch, InterruptionWatch, RunProgram

EXIT_GAVE_UP = 70
"""The agent's exit code after it ended its instance (also the code of an instance that ends itself, in the lab)."""
EXIT_STOPPED = 143
"""SIGTERM came before slurmd ran."""
_FIRST_DELAY_S = 0.1
_DELAY_FACTOR = 1.7
_DELAY_MAX_S = 5.0
_POWER_OFF_TIMEOUT_S = 30.0
_SLURMD_END_S = 10.0
"""From SIGTERM to SIGKILL for slurmd when the instance ends itself."""

T = TypeVar("T")


class InstanceMetadata(Metadata, Protocol):
    """The metadata service, as far as the agent asks it."""

    def identity(self) -> Identity:
        """Who this instance is.

        Raises:
            TransientError, NotFoundError: the service does not know (yet).
        """
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the agent touches, so that a test can be the instance."""

    metadata: InstanceMetadata
    open_record: Callable[[str], Record]
    """The record, given a region."""
    probe_slurmd: Callable[[str], SlurmdFeatures]
    start: Callable[[list[str]], Process]
    """Raises OSError."""
    run: Callable[[list[str]], None]
    """Run the power-off command; raises OSError or subprocess.SubprocessError."""
    processes: Processes
    run_program: RunProgram = programs.run
    configure: Callable[[str, str], None] = configuration.configure
    """Make this instance a node of the cluster, given variables and the instance's id; raises PermanentError."""
    store_complaint: Callable[[str], str] = instance_store_complaint
    """What is wrong with the instance store that belongs at a folder; empty for nothing."""
    storage_mounted_at: Callable[[], float | None] = shared_storage.mounted_at
    """When shared storage was there, epoch seconds; None for none; raises TransientError while some is missing."""
    run_actions: Callable[[], None] = actions.run_actions
    """The site's own programs of this boot; raises PermanentError if one fails."""
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
        self._stops: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._why_end = ""
        self._deadline = surroundings.monotonic() + arguments.give_up_s
        self._reporter = Reporter(self._log)
        self._keeper = SlurmdKeeper(
            surroundings.start, self._reporter, self._log, surroundings.monotonic, self._has_jobs
        )

    def stop(self) -> None:
        """End slurmd (SIGTERM) and then the agent; safe in a signal handler (`SimpleQueue.put` is re-entrant)."""
        self._stops.put(None)
        self._keeper.stop()

    def end(self, why: str) -> None:
        """End slurmd, then this instance."""
        self._why_end = why
        self.stop()
        killer = threading.Timer(_SLURMD_END_S, self._keeper.stop, [signal.SIGKILL])
        killer.daemon = True
        killer.start()

    def run(self) -> int:
        """Until slurmd has ended for good.

        Returns:
            slurmd's exit code (128 + signal where one ended it), EXIT_GAVE_UP or EXIT_STOPPED.
        """
        self._reporter.note(BootPhase.AGENT_STARTED)
        code = EXIT_STOPPED
        why = ""
        try:
            code = self._boot()
        except _Stopped:
            pass
        except _GaveUp as reason:
            why = str(reason)
        finally:
            self._closing.set()
            why = self._why_end or why
            self._reporter.update(ended=why[:TEXT_MAX])
            self._reporter.close()
        if why:
            self._end_instance(f"this instance ends itself: {why}")
            return EXIT_GAVE_UP
        return code

    def _boot(self) -> int:
        identity = self._until_known(self._surroundings.metadata.identity)
        self._reporter.note(BootPhase.IDENTITY_KNOWN)
        record = self._until_known(lambda: self._surroundings.open_record(self._arguments.region or identity.region))
        self._reporter.store_in(record, identity)
        node = self._until_known(lambda: record.node_name(identity))
        self._reporter.note(BootPhase.NODE_KNOWN, node)
        self._log(f"{identity.instance_id} ({identity.instance_type}) is node {node}")
        if digest := self._arguments.variables:
            variables = self._until_known(lambda: record.variables(digest))
            self._until_known(lambda: self._surroundings.configure(variables, identity.instance_id))
            self._reporter.note(configuration.PHASE)
        if complaint := self._surroundings.store_complaint(self._arguments.ephemeral_dir):
            self._log(complaint)
        self._wait_for_storage()
        self._until_known(self._surroundings.run_actions)
        features = self._until_known(lambda: self._surroundings.probe_slurmd(self._arguments.slurmd))
        self._watch(record)
        code = self._keeper.run(command_line(self._arguments, features, identity, node), self._pause)
        return code if code >= 0 else 128 - code

    def _wait_for_storage(self) -> None:
        around = self._surroundings
        deadline = around.monotonic() + shared_storage.GIVE_UP_S

        def mounted_in_time() -> float | None:
            try:
                return around.storage_mounted_at()
            except TransientError as error:
                if around.monotonic() < deadline:
                    raise
                raise PermanentError(f"not mounted after {shared_storage.GIVE_UP_S:g} s: {error}") from error

        mounted_at = self._until_known(mounted_in_time)
        if mounted_at is not None:
            self._reporter.note(shared_storage.PHASE, at=mounted_at)

    def _watch(self, record: Record) -> None:
        """Start the threads. They are daemons: nothing waits for them when the agent ends."""
        arguments, around = self._arguments, self._surroundings
        interruptions = InterruptionWatch(
            arguments,
            Notices(around.metadata, self._reporter.report.instance, self._log),
            self._reporter,
            around.processes,
            around.run_program,
            self._log,
        )
        watches: list[Callable[[threading.Event], None]] = [interruptions.run]
        if arguments.dead_man_idle_s > 0:
            limits = Limits(arguments.dead_man_idle_s, arguments.dead_man_job_s, arguments.dead_man_unreadable_s)
            watches.append(
                DeadManWatch(
                    limits,
                    record,
                    lambda: around.processes.activity(self._keeper.pid),
                    self.end,
                    self._log,
                    around.monotonic,
                ).run
            )
        if arguments.health_check:
            watches.append(HealthWatch(arguments, self._reporter, around.run_program, self._log).run)
        for watch in watches:
            threading.Thread(target=watch, args=(self._closing,), daemon=True).start()

    def _has_jobs(self) -> bool:
        try:
            return bool(self._surroundings.processes.activity(None).jobs)
        except OSError as error:
            self._log(f"jobs cannot be found, so one is assumed: {error}")
            return True

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
                raise _GaveUp(f"giving up: {error}") from error
            if why != said:
                self._log(f"waiting: {why}")
                said = why
            self._pause(delay_s * random.uniform(0.5, 1.0), why)  # noqa: S311 -- spreads load, hides nothing
            delay_s = min(delay_s * _DELAY_FACTOR, _DELAY_MAX_S)

    def _pause(self, seconds: float, why: str) -> None:
        """Wait; before the boot is over only as long as that may still succeed."""
        if not self._keeper.is_settled:
            left_s = self._deadline - self._surroundings.monotonic()
            if left_s <= 0:
                raise _GaveUp(f"giving up after {self._arguments.give_up_s:g} s: {why}")
            seconds = min(seconds, left_s)
        try:
            self._stops.get(timeout=seconds)
        except queue.Empty:
            return
        raise _Stopped

    def _end_instance(self, message: str) -> None:
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
