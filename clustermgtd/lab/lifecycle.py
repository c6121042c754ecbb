"""Bringing a lab up and taking it down, from outside."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
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


def up(folder: LabFolder, chosen: Chosen, progress: Callable[[str], None]) -> LabState:
    """Start a lab and wait until all of it answers; what an earlier one left there is ended and removed first.

    Interrupted (KeyboardInterrupt) or failed, it leaves nothing running.

    Raises:
        ConfigurationError: a lab runs there already, or it did not come up; why is in the message.
    """
    folder.make()
    state = folder.read_state()
    if state is not None and state.is_running:
        raise ConfigurationError(f"a lab runs in {folder.path} already, as process {state.pid}")
    ended = leftovers.end_all(folder.path)
    if ended:
        progress(f"ended {ended} processes that an earlier lab left behind")
    _clear(folder)
    supervisor = _start(folder, chosen)
    try:
        return _until_ready(folder, supervisor, progress)
    except BaseException:
        _end(supervisor)
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


def _start(folder: LabFolder, chosen: Chosen) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "clustermgtd.lab.supervisor", str(folder.path)]
    for option, path in (("--config", chosen.config), ("--scenario", chosen.scenario)):
        if path is not None:
            command += [option, str(path.absolute())]
    environment = process_environment(os.environ, {leftovers.LAB_MARKER: str(folder.path)})
    with folder.supervisor_log.open("ab") as log:
        return subprocess.Popen(
            command,
            env=environment,
            cwd=folder.path,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _until_ready(folder: LabFolder, supervisor: subprocess.Popen[bytes], progress: Callable[[str], None]) -> LabState:
    give_up_at = time.monotonic() + UP_DEADLINE_S
    told = 0
    while True:
        has_ended = supervisor.poll() is not None
        state = folder.read_state()
        if state is not None:
            for line in state.progress[told:]:
                progress(line)
            told = len(state.progress)
            if state.phase is LabPhase.READY:
                return state
            if state.phase is LabPhase.FAILED:
                raise ConfigurationError(f"{state.error}\nlogs: {folder.path}")
        if has_ended:
            raise ConfigurationError(
                f"the lab's supervisor ended with {supervisor.returncode}; {folder.supervisor_log} ends with:\n"
                f"{last_lines(folder.supervisor_log)}"
            )
        if time.monotonic() > give_up_at:
            raise ConfigurationError(f"the lab is not up after {UP_DEADLINE_S:g} s; logs: {folder.path}")
        time.sleep(_POLL_S)


def _end(supervisor: subprocess.Popen[bytes]) -> None:
    supervisor.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        supervisor.wait(DOWN_DEADLINE_S)
    supervisor.kill()
    supervisor.wait()
