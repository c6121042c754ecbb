"""Child processes that cannot outlive their lab: they die with it, and a later process can find what did not.

A record holds process id, start time and boot id, so that a recycled id is never mistaken for ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_END_DEADLINE_S = 10.0
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One process, for as long as the machine is up."""

    name: str
    pid: int
    started_at: int
    """Clock ticks since boot, from `/proc/<pid>/stat`."""
    boot_id: str


class Processes:
    """The record file of one folder; written whole, so that a crash leaves the old or the new one."""

    def __init__(self, state_file: Path) -> None:
        self._state_file = state_file

    def remember(self, name: str, pid: int) -> None:
        """Write down a process that was just started; one that has ended already is left out."""
        started_at = start_time(pid)
        if started_at is not None:
            self._write([*self.running(), ProcessRecord(name, pid, started_at, _boot_id())])

    def forget(self, pid: int) -> None:
        """Drop a process that was seen to end."""
        self._write([record for record in self.running() if record.pid != pid])

    def running(self) -> list[ProcessRecord]:
        """Recorded processes that run now."""
        return [record for record in self._read() if is_running(record)]

    def end_leftovers(self) -> list[ProcessRecord]:
        """End every recorded process with SIGKILL and empty the record; returns those that ran."""
        leftovers = self.running()
        for record in leftovers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(record.pid, signal.SIGKILL)
        deadline = time.monotonic() + _END_DEADLINE_S
        while any(is_running(record) for record in leftovers) and time.monotonic() < deadline:
            time.sleep(0.01)
        self._write([])
        return leftovers

    def _read(self) -> list[ProcessRecord]:
        try:
            return [ProcessRecord(**record) for record in json.loads(self._state_file.read_text())]
        except (FileNotFoundError, ValueError, TypeError):
            return []

    def _write(self, records: list[ProcessRecord]) -> None:
        temporary = self._state_file.with_name(f"{self._state_file.name}.{os.getpid()}")
        temporary.write_text(json.dumps([asdict(record) for record in records], indent=1) + "\n")
        temporary.replace(self._state_file)


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if there is none, or only its zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def is_running(record: ProcessRecord) -> bool:
    return record.boot_id == _boot_id() and start_time(record.pid) == record.started_at


def die_with_parent() -> Callable[[], None]:
    """A `preexec_fn` after which the kernel kills the child when the thread that started it ends."""
    parent = os.getpid()

    def ask_kernel() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask_kernel


async def end_process(process: asyncio.subprocess.Process, patience_s: float) -> None:
    """SIGTERM, then SIGKILL after `patience_s` (at once if 0); returns when it has been waited for."""
    if process.returncode is None and patience_s > 0:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await process.wait()
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await process.wait()


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
