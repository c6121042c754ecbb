"""The service manager of this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

Run = Callable[[Sequence[str]], str]
"""Standard output of a command; raises OSError or subprocess.SubprocessError."""


def run(command: Sequence[str], timeout_s: float | None = None) -> str:
    """Run one of its tools. Without a timeout, systemctl waits for a unit as long as the unit's own limit allows."""
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=True).stdout


def is_running(folder: Path = Path("/run/systemd/system")) -> bool:
    """As sd_booted(3) finds it out."""
    return folder.is_dir()
