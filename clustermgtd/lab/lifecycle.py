"""Bringing a lab up and taking it down, from outside."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable

from clustermgtd.errors import ConfigurationError, PermanentError
from clustermgtd.lab import leftovers
from clustermgtd.lab.cluster_files import Chosen
from clustermgtd.lab.environment import process_environment
from clustermgtd.lab.folder import LabFolder, LabPhase, LabState, last_lines

UP_DEADLINE_S = 180.0
DOWN_DEADLINE_S = 60.0
_POLL_S = 0.1
_KEPT_FILES = ("clustermgtd-lab", "lock")


def up(folder: LabFolder, chosen: Chosen, progress: Callable[[str], None], *, is_mine: bool = False) -> LabState:
    """Start a lab and wait until all of it answers; what an earlier one left there is ended and removed first.

    A lab outlives this process unless `is_mine`: then it ends with it, even after `kill -9`.

    Interrupted (KeyboardInterrupt) or failed, it leaves nothing running.

    Raises:
        ConfigurationError: a lab runs there already, or it did not come up; why is in the message.
    """
    folder.make()
    state = folder.read_state()
    if state is not None and state.is_orphaned:
        progress(f"ending the lab of process {state.owner_pid}, which is gone")
        down(folder)
    elif state is not None and state.is_running:
        raise ConfigurationError(f"a lab runs in {folder.path} already, as process {state.pid}")
    ended = leftovers.end_all(folder.path)
    if ended:
        progress(f"ended {ended} processes that an earlier lab left behind")
    _clear(folder)
    supervisor = _Supervisor(folder, chosen, is_mine)
    try:
        return _until_ready(folder, supervisor, progress)
    except BaseException:
        supervisor.end()
        leftovers.end_all(folder.path)
        raise


def down(folder: LabFolder) -> tuple[bool, int]:
    """Take a lab down and verify that nothing is left.

    Returns:
        Whether a lab was running, and how many processes had to be ended by force.

    Raises:
        PermanentError: something cannot be ended.
    """
    state = folder.read_state()
    was_running = state is not None and state.is_running
    forced = 0
    if state is not None and was_running:
        forced += not leftovers.end(state.supervisor, patience_s=DOWN_DEADLINE_S)
        _collect(state.pid)
    forced += leftovers.end_all(folder.path)
    if left := leftovers.belonging_to(folder.path):
        raise PermanentError(f"{len(left)} processes of {folder.path} are still there: {[p.pid for p in left]}")
    return was_running, forced


def _clear(folder: LabFolder) -> None:
    for path in folder.path.iterdir():
        if path.name in _KEPT_FILES:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


class _Supervisor:
    """The started supervisor. It is to outlive this process, so nothing here objects to its being left alone."""

    def __init__(self, folder: LabFolder, chosen: Chosen, is_mine: bool) -> None:
        command = [sys.executable, "-m", "clustermgtd.lab.supervisor", str(folder.path)]
        for option, path in (("--config", chosen.config), ("--scenario", chosen.scenario)):
            if path is not None:
                command += [option, str(path.absolute())]
        if is_mine:
            command += ["--owner", str(os.getpid())]
        environment = process_environment(os.environ, {leftovers.LAB_MARKER: str(folder.path)})
        log = os.open(folder.supervisor_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self.pid = os.posix_spawn(
                command[0],
                command,
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                ],
                setsid=True,
            )
        finally:
            os.close(log)

    def exit_code(self) -> int | None:
        """None while it runs."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def end(self) -> None:
        """SIGTERM, later SIGKILL; returns when it is gone."""
        identity = leftovers.identify(self.pid)
        if identity is not None:
            leftovers.end(identity, patience_s=DOWN_DEADLINE_S)
        _collect(self.pid)


def _collect(pid: int) -> None:
    """Take a child's exit code, so that it does not stay as a zombie; others' children are none of our business."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _until_ready(folder: LabFolder, supervisor: _Supervisor, progress: Callable[[str], None]) -> LabState:
    give_up_at = time.monotonic() + UP_DEADLINE_S
    told = 0
    while True:
        exit_code = supervisor.exit_code()
        state = folder.read_state()
        if state is not None:
            for line in state.progress[told:]:
                progress(line)
            told = len(state.progress)
            if state.phase is LabPhase.READY:
                return state
            if state.phase is LabPhase.FAILED:
                raise ConfigurationError(f"{state.error}\nlogs: {folder.path}")
        if exit_code is not None:
            raise ConfigurationError(
                f"the lab's supervisor ended with {exit_code}; {folder.supervisor_log} ends with:\n"
                f"{last_lines(folder.supervisor_log)}"
            )
        if time.monotonic() > give_up_at:
            raise ConfigurationError(f"the lab is not up after {UP_DEADLINE_S:g} s; logs: {folder.path}")
        time.sleep(_POLL_S)
