"""The site's own programs of this boot, seen from the agent: units run them, and slurmd waits for them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from clustermgtd.errors import PermanentError
from clustermgtd.node.systemd import Run, is_running, run

UNITS = ("clustermgtd-on-node-start.service", "clustermgtd-on-node-configured.service")
"""The first begins with the boot, the second when the agent asks for it, because it needs shared storage."""
LOG = Path("/var/log/clustermgtd-custom-actions.log")


def run_actions(run: Run = run, has_systemd: Callable[[], bool] = is_running, log: Path = LOG) -> None:
    """Until all have ended well; those that have run in this boot are not run again.

    Raises:
        PermanentError: one failed; the message is the log's last line, which names it and its exit code.
    """
    if not has_systemd():
        return
    try:
        for unit in UNITS:
            state = run(["systemctl", "show", "--property=LoadState,ActiveState", unit]).split()
            if "LoadState=loaded" not in state:
                continue
            if "ActiveState=failed" in state:
                raise PermanentError(_last_line(log, unit))
            run(["systemctl", "start", unit])
    except subprocess.CalledProcessError as error:
        raise PermanentError(_last_line(log, str(error))) from error
    except OSError as error:
        raise PermanentError(f"systemctl cannot be run: {error}") from error


def _last_line(log: Path, otherwise: str) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else f"{otherwise} failed"
