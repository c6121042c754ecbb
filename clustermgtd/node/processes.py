"""Which jobs run on this node, and telling those that ask about an interruption; read from /proc, without slurmctld."""

from __future__ import annotations

import os
import re
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PROC = Path("/proc")
SIGNAL_VARIABLE = "CLUSTERMGTD_INTERRUPTION_SIGNAL"
"""A job whose processes have it in their environment gets that signal."""
SIGNALS = {name: signal.Signals[f"SIG{name}"] for name in ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2")}
_STEPD = "slurmstepd"
_TITLE = re.compile(r"slurmstepd: \[(\d+)\.([^\]]*)\]")
_KEEPER = b"infinity"
"""Argument of the slurmstepd that only holds the cgroup of the others, since 22.05 with cgroup v2."""
_EXTERN = "extern"
"""Step of no task of the user."""
_ENVIRONMENT_MAX = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Activity:
    """What Slurm does on this node."""

    jobs: tuple[int, ...] = ()
    """Ids of jobs with a step here, ascending."""
    is_busy: bool = False
    """A job runs, or slurmd has a child of another kind: a prolog or an epilog."""


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    parent: int
    name: str


@dataclass(frozen=True, slots=True)
class _Step:
    pid: int
    job: int | None
    """None while the process has no title yet."""
    name: str


class Processes(Protocol):
    """What is asked of a node's processes. Raises OSError where /proc cannot be read."""

    def activity(self, slurmd: int | None) -> Activity: ...

    def tell_jobs(self, say: Callable[[str], None]) -> int: ...


class NodeProcesses:
    """The processes of this node's Slurm."""

    def __init__(self, below: int | None = None, proc: Path = PROC) -> None:
        """`below`: only descendants of this process are the node's, where several nodes share a machine."""
        self._below = below
        self._proc = proc

    def activity(self, slurmd: int | None) -> Activity:
        """What runs now; `slurmd` is its process id, None if there is none."""
        processes = self._processes()
        steps = list(self._steps(processes))
        jobs = sorted({step.job for step in steps if step.job is not None})
        helpers = slurmd is not None and any(
            process.parent == slurmd and process.name != _STEPD for process in processes.values()
        )
        return Activity(tuple(jobs), bool(steps) or helpers)

    def tell_jobs(self, say: Callable[[str], None]) -> int:
        """Send the signal that each task asks for; returns how many got one.

        A task here is the first process of a batch script or of an srun task, that is, a child of a slurmstepd. The
        environment is the one with which it was started: what a script exports counts for what it starts with srun.
        """
        processes = self._processes()
        children: defaultdict[int, list[int]] = defaultdict(list)
        for process in processes.values():
            children[process.parent].append(process.pid)
        told = 0
        for step in self._steps(processes):
            if step.name != _EXTERN:
                for pid in sorted(children[step.pid]):
                    told += self._tell(pid, step, say)
        return told

    def _tell(self, pid: int, step: _Step, say: Callable[[str], None]) -> bool:
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            return False
        try:
            # the id may have been used again before it was opened
            if self._parent(pid) != step.pid or (wanted := self._wanted_signal(pid)) is None:
                return False
            name = wanted.upper().removeprefix("SIG")
            if name not in SIGNALS:
                say(f"job {step.job}: {SIGNAL_VARIABLE}={wanted[:20]!r} is none of {' '.join(sorted(SIGNALS))}")
                return False
            signal.pidfd_send_signal(handle, SIGNALS[name])
        except OSError as error:
            say(f"job {step.job}, step {step.name}: process {pid} was not told: {error}")
            return False
        finally:
            os.close(handle)
        say(f"job {step.job}, step {step.name}: SIG{name} to process {pid}")
        return True

    def _wanted_signal(self, pid: int) -> str | None:
        with (self._proc / str(pid) / "environ").open("rb") as environ:
            variables = environ.read(_ENVIRONMENT_MAX).split(b"\0")
        prefix = f"{SIGNAL_VARIABLE}=".encode()
        found = next((variable for variable in variables if variable.startswith(prefix)), None)
        return None if found is None else found[len(prefix) :].decode("ascii", "replace")

    def _steps(self, processes: dict[int, _Process]) -> Iterator[_Step]:
        for process in processes.values():
            if process.name != _STEPD:
                continue
            try:
                words = (self._proc / str(process.pid) / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            match = _TITLE.match(words[0].decode("ascii", "replace"))
            if match is not None:
                yield _Step(process.pid, int(match[1]), match[2])
            elif _KEEPER not in words:
                yield _Step(process.pid, None, "")

    def _processes(self) -> dict[int, _Process]:
        found: dict[int, _Process] = {}
        for entry in self._proc.iterdir():
            if entry.name.isdigit() and (process := self._stat(int(entry.name))) is not None:
                found[process.pid] = process
        if self._below is None:
            return found
        return {pid: process for pid, process in found.items() if self._is_below(process, found)}

    def _is_below(self, process: _Process, processes: dict[int, _Process]) -> bool:
        seen: set[int] = set()
        while process.parent != self._below:
            seen.add(process.pid)
            parent = processes.get(process.parent)
            if parent is None or parent.pid in seen:
                return False
            process = parent
        return True

    def _parent(self, pid: int) -> int | None:
        process = self._stat(pid)
        return None if process is None else process.parent

    def _stat(self, pid: int) -> _Process | None:
        """None for a process that is gone, and for a zombie."""
        try:
            text = (self._proc / str(pid) / "stat").read_bytes().decode("utf-8", "replace")
        except OSError:
            return None
        name, _, rest = text.partition("(")[2].rpartition(")")
        fields = rest.split()
        if len(fields) < 2 or fields[0] == "Z":
            return None
        return _Process(pid, int(fields[1]), name)
