"""What the agent watches beside slurmd: EC2's announcements, the head node, the node's health. Each has a thread."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from clustermgtd.errors import ClustermgtdError, TransientError
from clustermgtd.model.node_report import HealthTrouble, HookState
from clustermgtd.model.notice import Notice
from clustermgtd.node.arguments import AgentArguments
from clustermgtd.node.dead_man import DeadManSwitch, Limits
from clustermgtd.node.notices import Notices, hook_seconds
from clustermgtd.node.processes import Activity, Processes
from clustermgtd.node.programs import Outcome
from clustermgtd.node.record import Record
from clustermgtd.node.report import Reporter

_ATTEMPTS = 3
_ATTEMPT_PAUSE_S = 2.0
_LOOKS_IDLE = 2
"""Looks in a row at which no job ran: a node is not ended in the moment between two jobs."""

Say = Callable[[str], None]


class RunProgram(Protocol):
    """`programs.run`."""

    def __call__(
        self, command: Sequence[str], environment: Mapping[str, str], deadline_s: float, say: Say
    ) -> Outcome: ...


class InterruptionWatch:
    """Tells the daemon what EC2 announces; at a spot warning also the jobs that ask for it, and the site's hook."""

    def __init__(
        self,
        arguments: AgentArguments,
        notices: Notices,
        reporter: Reporter,
        processes: Processes,
        run_program: RunProgram,
        say: Say,
    ) -> None:
        self._arguments = arguments
        self._notices = notices
        self._reporter = reporter
        self._processes = processes
        self._run_program = run_program
        self._say = say
        self._is_warned = False
        self._has_failed = False

    def run(self, stop: threading.Event) -> None:
        """Look until stopped."""
        while not stop.wait(self._arguments.metadata_period_s):
            self.look()

    def look(self) -> None:
        """One look. A metadata service that does not answer is said once."""
        try:
            look = self._notices.look()
        except TransientError as error:
            if not self._has_failed:
                self._say(f"announcements of EC2 cannot be read: {error}")
            self._has_failed = True
            return
        if self._has_failed:
            self._say("announcements of EC2 can be read again")
        self._has_failed = False
        for notice in look.notices:
            if notice not in self._reporter.report.notices:
                self._say(f"EC2 announces: {_text(notice)}")
        self._reporter.update(notices=look.notices)
        warning = self._reporter.report.spot_interruption
        if warning is not None and not self._is_warned:
            self._is_warned = True
            self._act_on(warning, look.at)

    def _act_on(self, warning: Notice, now: float) -> None:
        try:
            jobs = self._processes.activity(None).jobs
            self._processes.tell_jobs(self._say)
        except OSError as error:
            self._say(f"jobs cannot be found: {error}")
            jobs = ()
        if self._arguments.interruption_hook:
            seconds = hook_seconds(warning, now, self._arguments.interruption_hook_s)
            self._reporter.update(hook=HookState.RUNNING)
            threading.Thread(target=self._run_hook, args=(warning, jobs, seconds), name="hook", daemon=True).start()

    def _run_hook(self, warning: Notice, jobs: Sequence[int], seconds: float) -> None:
        report = self._reporter.report
        environment = {
            **os.environ,
            "CLUSTERMGTD_EVENT": str(warning.kind),
            "CLUSTERMGTD_ACTION": str(warning.action),
            "CLUSTERMGTD_ENDS_AT": "" if warning.effective_at is None else f"{warning.effective_at:.0f}",
            "CLUSTERMGTD_SECONDS": f"{seconds:.0f}",
            "CLUSTERMGTD_NODE": report.node or "",
            "CLUSTERMGTD_INSTANCE_ID": report.instance,
            "CLUSTERMGTD_JOB_IDS": " ".join(map(str, jobs)),
        }
        hook = self._arguments.interruption_hook
        self._say(f"{hook} runs, for {seconds:.0f} s at most")
        command = [hook, str(warning.kind), str(warning.action), f"{seconds:.0f}"]
        outcome = self._run_program(command, environment, seconds, lambda line: self._say(f"hook: {line}"))
        if outcome.was_killed:
            state, said = HookState.KILLED, "was killed at its deadline"
        else:
            state = HookState.DONE if outcome.exit_code == 0 else HookState.FAILED
            said = f"ended with {outcome.exit_code}"
        self._say(f"{hook} {said} after {outcome.seconds:.1f} s")
        self._reporter.update(hook=state)


class DeadManWatch:
    """Ends the instance when nobody manages it any more."""

    def __init__(
        self,
        limits: Limits,
        record: Record,
        activity: Callable[[], Activity],
        end: Callable[[str], None],
        say: Say,
        monotonic: Callable[[], float],
    ) -> None:
        self._limits = limits
        self._record = record
        self._activity = activity
        self._end = end
        self._say = say
        self._monotonic = monotonic
        self._switch = DeadManSwitch(limits, monotonic())
        self._trouble = ""
        self._idle_looks = 0

    def run(self, stop: threading.Event) -> None:
        """Look until stopped, or until the instance is to end. Reads of many nodes are spread over time."""
        pause_s = random.uniform(0.0, self._limits.period_s)  # noqa: S311 -- spreads load
        while not stop.wait(pause_s):
            if self.look(stop):
                return
            pause_s = self._limits.period_s * random.uniform(0.5, 1.5)  # noqa: S311 -- spreads load

    def look(self, stop: threading.Event) -> bool:
        """Read the heartbeat; True if the instance ends."""
        trouble = self._read(stop)
        now = self._monotonic()
        if not self._switch.is_armed:
            trouble = trouble or "there is no heartbeat in the table, so the dead-man switch is not armed"
        elif not trouble and self._switch.silent_s(now) > self._limits.idle_s / 2:
            trouble = "the head node is silent"
        if trouble != self._trouble:
            self._say(trouble or "the head node lives")
            self._trouble = trouble
        if not self._switch.why_end(now, is_busy=False):
            self._idle_looks = 0
            return False
        is_busy = self._is_busy()
        self._idle_looks = 0 if is_busy else self._idle_looks + 1
        why = self._switch.why_end(now, is_busy)
        if not why or (not is_busy and self._idle_looks < _LOOKS_IDLE):
            return False
        self._end(why)
        return True

    def _read(self, stop: threading.Event) -> str:
        """Why the heartbeat cannot be read; empty if it was."""
        trouble = ""
        for _ in range(_ATTEMPTS):
            try:
                self._switch.read(self._record.heartbeat(), self._monotonic())
            except ClustermgtdError as error:
                trouble = f"the heartbeat cannot be read: {error}"
                if stop.wait(min(_ATTEMPT_PAUSE_S, self._limits.period_s)):
                    break
            else:
                return ""
        self._switch.failed()
        return trouble

    def _is_busy(self) -> bool:
        try:
            return self._activity().is_busy
        except OSError as error:
            self._say(f"jobs cannot be found, so one is assumed: {error}")
            return True


class HealthWatch:
    """Runs the site's health check, and reports when its answer changes."""

    def __init__(
        self,
        arguments: AgentArguments,
        reporter: Reporter,
        run_program: RunProgram,
        say: Say,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._arguments = arguments
        self._reporter = reporter
        self._run_program = run_program
        self._say = say
        self._now = now

    def run(self, stop: threading.Event) -> None:
        """Check until stopped."""
        while True:
            self.check()
            if stop.wait(self._arguments.health_interval_s):
                return

    def check(self) -> None:
        """One check."""
        report = self._reporter.report
        environment = {
            **os.environ,
            "CLUSTERMGTD_NODE": report.node or "",
            "CLUSTERMGTD_INSTANCE_ID": report.instance,
        }
        program = self._arguments.health_check
        outcome = self._run_program([program], environment, self._arguments.health_deadline_s, lambda _: None)
        if outcome.exit_code == 0:
            if report.health is not None:
                self._say(f"{program} succeeds again")
            self._reporter.update(health=None)
            return
        if report.health is not None and report.health.exit_code == outcome.exit_code:
            return
        said = "was killed at its deadline" if outcome.was_killed else f"ended with {outcome.exit_code}"
        self._say(f"{program} {said}: {outcome.output}")
        since = self._now() if report.health is None else report.health.since
        self._reporter.update(health=HealthTrouble(since, outcome.exit_code, outcome.output))


def _text(notice: Notice) -> str:
    """For people."""
    words = [notice.kind, notice.action, notice.detail, "is over" if notice.is_over else ""]
    if notice.effective_at is not None:
        words.append(time.strftime("at %Y-%m-%dT%H:%M:%SZ", time.gmtime(notice.effective_at)))
    return " ".join(word for word in words if word)
