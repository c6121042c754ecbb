"""Process 1 of a lab instance: starts the instance's first program and takes everything down with it.

Run as a script with the standard library alone, because there is one per instance:
`python -I -S machine.py PARENT-PID PROGRAM [ARGUMENT ...]`.

Every process that the instance ever starts stays below this one, however often it forks or changes its session: this
process is a child subreaper. It ends, and with it all of them, when the first program ends (the instance has powered
itself off; the exit code is the program's), on SIGTERM (the machine is taken away; exit code 0) and when the lab dies.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_END_DEADLINE_S = 5.0


class _TakenAway(BaseException):
    pass


def main(argv: list[str]) -> int:
    """The life of one machine."""
    parent, command = int(argv[1]), argv[2:]
    signal.signal(signal.SIGTERM, _on_sigterm)
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_CHILD_SUBREAPER, 1), (_PR_SET_PDEATHSIG, signal.SIGTERM)):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl({option})")
    if os.getppid() != parent:
        return 1
    try:
        first = os.posix_spawnp(command[0], command, os.environ, setsigmask=())
        return _wait_for(first)
    except _TakenAway:
        return 0
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end_descendants()


def _on_sigterm(_number: int, _frame: object) -> None:
    raise _TakenAway


def _wait_for(first: int) -> int:
    """Collect whatever ends, until the first program does."""
    while True:
        pid, status = os.wait()
        if pid == first:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _end_descendants() -> None:
    """SIGKILL, again and again, because one of them may just have forked; the dead are collected."""
    give_up_at = time.monotonic() + _END_DEADLINE_S
    while time.monotonic() < give_up_at:
        for pid in _descendants():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def _descendants() -> list[int]:
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 -- pathlib costs more to import than all of this
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as stat:  # noqa: PTH123 -- as above
                    parents[int(entry)] = int(stat.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError):
                continue
    found = [os.getpid()]
    for ancestor in found:
        found.extend(pid for pid, parent in parents.items() if parent == ancestor)
    return found[1:]


if __name__ == "__main__":
    sys.exit(main(sys.argv))
