"""`clustermgtd lab demo`: three jobs bring nodes up, run, and the nodes go away again.

The outcome of jobs comes from `scontrol show job`, looked at every second: finished jobs stay there for MinJobAge (five
minutes), which is longer than the demo may take, so no accounting database is needed.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clustermgtd.errors import ClustermgtdError, PermanentError, TransientError
from clustermgtd.lab import leftovers, lifecycle
from clustermgtd.lab.client import Job, LabClient, LabStatus
from clustermgtd.lab.cluster_files import Chosen
from clustermgtd.lab.demo_view import DemoView, LiveView, PlainView
from clustermgtd.lab.folder import LabFolder

DEADLINE_S = 240.0
_PERIOD_S = 1.0
_LOOKS_FAILED_MAX = 20
_GOOD = "COMPLETED"
_BAD = frozenset({"FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "OUT_OF_MEMORY", "DEADLINE", "PREEMPTED"})
_EIGHT_NODES = """#!/bin/sh
srun sh -c 'echo "$SLURMD_NODENAME"' | sort -u
test "$(srun sh -c 'echo "$SLURMD_NODENAME"' | sort -u | wc -l)" -eq 8
"""


@dataclass(frozen=True, slots=True)
class Submission:
    """One of the demo's jobs."""

    name: str
    options: tuple[str, ...]
    script: str


SUBMISSIONS = (
    Submission("one-node", ("--partition=ondemand", "--nodes=1"), "#!/bin/sh\nsrun hostname\nsleep 2\n"),
    Submission("eight-nodes", ("--partition=ondemand", "--nodes=8"), _EIGHT_NODES),
    Submission("array", ("--partition=spot", "--array=1-4", "--exclusive"), "#!/bin/sh\nsrun hostname\nsleep 1\n"),
)


class DemoFailed(PermanentError):
    """The demo did not come to its end; the message says why."""


@dataclass
class Demo:
    """One demo in one lab."""

    client: LabClient
    view: DemoView
    jobs: dict[int, str] = field(default_factory=dict)
    """Submitted job -> its name."""
    started_at: float = field(default_factory=time.monotonic)
    _seen: dict[int, Job] = field(default_factory=dict)
    _events: int = 0
    _looks_failed: int = 0

    def play(self) -> LabStatus:
        """Submit, watch, wait until all is gone; returns the last look.

        Raises:
            DemoFailed: a job did not complete, something is left, or time is up.
        """
        for submission in SUBMISSIONS:
            self.jobs[self._submit(submission)] = submission.name
        status = self._watch(self._jobs_are_over, "the jobs are not over")
        self.view.note(
            f"all jobs are over after {time.monotonic() - self.started_at:.0f} s; waiting for the nodes to go"
        )
        return self._watch(is_empty, "the nodes are not gone", first=status)

    def completed(self) -> int:
        """Submitted jobs whose every task COMPLETED."""
        return sum(all(job.state == _GOOD for job in tasks) for tasks in self._tasks().values() if tasks)

    def _submit(self, submission: Submission) -> int:
        log = str(self.client.folder.path / "jobs" / f"{submission.name}-%A-%a.out")
        command = ["sbatch", "--parsable", f"--job-name={submission.name}", f"--output={log}", *submission.options]
        job = int(self.client.run(command, stdin=submission.script).split(";")[0])
        self.view.note(f"submitted job {job}: {submission.name} ({' '.join(submission.options)})")
        return job

    def _watch(self, is_done: Callable[[LabStatus], bool], what: str, first: LabStatus | None = None) -> LabStatus:
        status = first
        while status is None or not is_done(status):
            if time.monotonic() - self.started_at > DEADLINE_S:
                raise DemoFailed(f"{what} after {DEADLINE_S:.0f} s: {_summary(status)}")
            time.sleep(_PERIOD_S)
            status = self._look() or status
        return status

    def _look(self) -> LabStatus | None:
        try:
            status = self.client.status()
        except (TransientError, PermanentError) as error:
            self._looks_failed += 1
            if self._looks_failed > _LOOKS_FAILED_MAX:
                raise DemoFailed(f"the lab does not answer any more: {error}") from error
            return None
        if status.site["pids"]["daemon"] is None:
            raise DemoFailed(f"the daemon ended with {status.site['daemon_exit_code']}")
        self._seen.update({job.id: job for job in status.jobs if job.array in self.jobs})
        for job in self._seen.values():
            if job.state in _BAD:
                raise DemoFailed(f"job {job.id} ({job.name}) is {job.state} ({job.reason})")
        events = [event for event in status.site["events"] if event["number"] >= self._events]
        self._events = status.site["event_count"]
        self.view.show(status, tuple(self._seen.values()), events)
        return status

    def _tasks(self) -> dict[int, list[Job]]:
        return {job: [seen for seen in self._seen.values() if seen.array == job] for job in self.jobs}

    def _jobs_are_over(self, _status: LabStatus) -> bool:
        return self.completed() == len(self.jobs)


def run(folder: LabFolder, *, plain: bool) -> int:
    """The whole demo with a lab of its own in `folder`; returns the exit code and leaves nothing running."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    view: DemoView = PlainView() if plain or not sys.stdout.isatty() else LiveView()
    try:
        with view:
            line = _play(folder, view)
    except ClustermgtdError as error:
        print(f"demo: failed: {error}\ndemo: logs are in {folder.path}: {', '.join(_logs(folder))}", file=sys.stderr)
        return 1
    print(line, flush=True)
    return 0


def _play(folder: LabFolder, view: DemoView) -> str:
    lifecycle.up(folder, Chosen(), view.note, is_mine=True)
    try:
        (folder.path / "jobs").mkdir()
        demo = Demo(LabClient(folder), view)
        last = demo.play()
    finally:
        lifecycle.down(folder)
    processes = leftovers.belonging_to(folder.path)
    if processes:
        raise DemoFailed(f"{len(processes)} processes are left: {[process.pid for process in processes]}")
    trouble = _complaints(folder)
    if trouble:
        raise DemoFailed(trouble)
    return (
        f"demo: {demo.completed()} jobs {_GOOD}, {last.site['launched']} instances launched, "
        f"{last.site['terminated']} terminated, {last.live_instances} left, {last.site['open_claims']} claims open"
    )


def is_empty(status: LabStatus) -> bool:
    """No instance in any state but terminated, no open claim, no process tree, every node powered down and usable."""
    site = status.site
    return (
        site["launched"] == site["terminated"]
        and site["open_claims"] == 0
        and not site["instance_pids"]
        and set(status.nodes) == {"idle~"}
    )


def _complaints(folder: LabFolder) -> str:
    """What makes a run a failed one even if every job completed."""
    if "getaddrinfo() failed" in folder.slurmctld_log.read_text(errors="replace"):
        return f"slurmctld had to resolve a name that does not resolve: {folder.slurmctld_log}"
    return ""


def _summary(status: LabStatus | None) -> str:
    if status is None:
        return "nothing was seen"
    jobs = ", ".join(f"{job.id} {job.state} ({job.reason})" for job in status.jobs)
    return (
        f"nodes {dict(status.nodes)}, instances {status.site['instances']}, "
        f"{status.site['open_claims']} claims open, jobs {jobs or 'none'}"
    )


def _logs(folder: LabFolder) -> Sequence[str]:
    candidates: list[Path] = [folder.daemon_log, folder.supervisor_log, folder.slurmctld_log]
    return [str(path.relative_to(folder.path)) for path in candidates if path.exists()] or ["none"]


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
