"""Which processes belong to a lab, also after the lab itself was killed, and ending them.

A process belongs to a lab if the lab's marker is in its environment, or if it descends from one that has it. Nothing is
ever found by name. The marker is put on what a lab starts, never on the shells of its users.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from clustermgtd.errors import PermanentError

LAB_MARKER = "CLUSTERMGTD_LAB_PROCESS"
"""Environment variable; the value is the lab's folder."""
INSTANCE_MARKER = "CLUSTERMGTD_LAB_INSTANCE"
"""Environment variable; the value is the instance's id, unique within the lab."""
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process for ever: ids are used again, an id with its start time is not."""

    pid: int
    started_ticks: int
    """Clock ticks after the machine's boot."""


@dataclass(frozen=True, slots=True)
class _Entry:
    identity: ProcessIdentity
    parent: int
    is_zombie: bool


def identify(pid: int) -> ProcessIdentity | None:
    """The process that has this id now; None if there is none, or only a zombie."""
    entry = _read_stat(pid)
    return entry.identity if entry is not None and not entry.is_zombie else None


def is_alive(process: ProcessIdentity) -> bool:
    """That very process still runs."""
    return identify(process.pid) == process


def belonging_to(folder: Path, instance: str = "") -> list[ProcessIdentity]:
    """Everything of the lab in `folder` (of one instance in it, if named), zombies and this process's line left out."""
    entries = {entry.identity.pid: entry for entry in _all_processes()}
    wanted = [f"{LAB_MARKER}={folder}".encode()]
    if instance:
        wanted.append(f"{INSTANCE_MARKER}={instance}".encode())
    found = [pid for pid in entries if _environment_holds(pid, wanted)]
    seen = set(found)
    for ancestor in found:  # grows while it is walked
        children = [pid for pid, entry in entries.items() if entry.parent == ancestor and pid not in seen]
        seen.update(children)
        found.extend(children)
    own_line = _line_of(os.getpid(), entries)
    return [entries[pid].identity for pid in sorted(found) if pid not in own_line and not entries[pid].is_zombie]


def end_all(folder: Path, *, instance: str = "", spare: Collection[int] = (), deadline_s: float = 10.0) -> int:
    """SIGKILL what belongs to a lab until nothing is left; returns how many processes that were.

    Raises:
        PermanentError: something is still there at the deadline (uninterruptible, or another user's).
    """
    give_up_at = time.monotonic() + deadline_s
    ended: set[ProcessIdentity] = set()
    while True:
        left = [process for process in belonging_to(folder, instance) if process.pid not in spare]
        if not left:
            return len(ended)
        if time.monotonic() > give_up_at:
            raise PermanentError(f"{folder}: {len(left)} processes do not end: {sorted(p.pid for p in left)}")
        _kill(left)
        ended.update(left)
        time.sleep(_POLL_S)


def end(process: ProcessIdentity, *, patience_s: float) -> bool:
    """SIGTERM, and SIGKILL after `patience_s`; True if it went by itself."""
    if not is_alive(process):
        return True
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    give_up_at = time.monotonic() + patience_s
    while is_alive(process):
        if time.monotonic() > give_up_at:
            _kill([process])
            return False
        time.sleep(_POLL_S)
    return True


def _kill(processes: Iterable[ProcessIdentity]) -> None:
    for process in processes:
        if is_alive(process):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, signal.SIGKILL)


def _all_processes() -> list[_Entry]:
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 -- names, not paths
    return [entry for entry in map(_read_stat, pids) if entry is not None]


def _read_stat(pid: int) -> _Entry | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(b")")[2].split()
    return _Entry(ProcessIdentity(pid, int(fields[19])), int(fields[1]), fields[0] in (b"Z", b"X"))


def _environment_holds(pid: int, wanted: list[bytes]) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # ended, a kernel thread, or another user's
        return False
    return all(entry in environment for entry in wanted)


def _line_of(pid: int, entries: dict[int, _Entry]) -> set[int]:
    """The process and its ancestors."""
    line = set()
    while pid in entries:
        line.add(pid)
        pid = entries[pid].parent
    return line
