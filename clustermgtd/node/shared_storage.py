"""The node's shared storage, as systemd mounts it: is all of it there, and what is wrong with what is not?

`clustermgtd-storage.target`, which the cookbooks make, requires one mount unit for each file system; its description
says name, kind, id and folder in the words of cluster.yaml.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from functools import partial

from clustermgtd.errors import TransientError
from clustermgtd.node import systemd
from clustermgtd.node.systemd import Run

TARGET = "clustermgtd-storage.target"
PHASE = "storage-mounted"
"""Of the boot, next to those of `BootPhase`; its time is the last mount's, which may be before the agent's start."""
GIVE_UP_S = 180.0
"""So long mounts are tried again: less than the daemon waits for slurmd, so that the reason is told."""
_COMMAND_S = 20.0
_LINES = 2
_PROPERTIES = "Id,Description,ActiveState,Result,ConditionResult,ActiveEnterTimestampMonotonic"
_run = partial(systemd.run, timeout_s=_COMMAND_S)


def mounted_at(
    run: Run = _run,
    has_systemd: Callable[[], bool] = systemd.is_running,
    now: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> float | None:
    """When the last file system was mounted, epoch seconds; None if the node has none to mount.

    What has failed is begun to be mounted anew before the error is raised.

    Raises:
        TransientError: something is not mounted; the message names each such file system, with mount's last words.
    """
    if not has_systemd():
        return None
    try:
        [target] = _units(run(["systemctl", "show", "--property=Requires,LoadState", TARGET]))
        names = [name for name in target.get("Requires", "").split() if name.endswith(".mount")]
        if target.get("LoadState") != "loaded" or not names:
            return None
        units = _units(run(["systemctl", "show", f"--property={_PROPERTIES}", "--", *names]))
        missing = [unit for unit in units if unit["ActiveState"] != "active" and not _is_skipped(unit)]
        if missing:
            why = "; ".join(_complaint(unit, run) for unit in missing)
            run(["systemctl", "start", "--no-block", TARGET])
            raise TransientError(why)
    except (OSError, subprocess.SubprocessError, KeyError) as error:
        raise TransientError(f"systemd does not tell whether shared storage is mounted: {error}") from error
    times = [int(unit["ActiveEnterTimestampMonotonic"]) / 1e6 for unit in units if unit["ActiveState"] == "active"]
    return now() - monotonic() + max(times) if times else None


def _units(text: str) -> list[dict[str, str]]:
    """`systemctl show`: a block of lines for each unit, with an empty line between two."""
    blocks = [block for block in text.strip().split("\n\n") if block]
    return [dict(line.partition("=")[::2] for line in block.splitlines()) for block in blocks]


def _is_skipped(unit: dict[str, str]) -> bool:
    """The instance has no disks for it."""
    return unit["ActiveState"] == "inactive" and unit["Result"] == "success" and unit["ConditionResult"] == "no"


def _complaint(unit: dict[str, str], run: Run) -> str:
    if unit["ActiveState"] != "failed":
        return f"{unit['Description']}: not mounted yet"
    quiet = ("journalctl", "--boot", "--no-pager", "--quiet", "--output=cat", f"--lines={_LINES}")
    said = run([*quiet, "--identifier=mount", f"--unit={unit['Id']}"])
    words = " ".join(dict.fromkeys(said.splitlines())) or f"mounting ended with {unit['Result']}"
    return f"{unit['Description']}: {words}"
