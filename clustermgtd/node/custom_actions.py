"""`python -m clustermgtd.node.custom_actions EVENT`: the site's own programs at one moment of a machine's boot.

The cookbooks write the file that tells them and the units that run this, one for each of ParallelCluster's events
OnNodeStart, OnNodeConfigured and OnNodeUpdated.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clustermgtd.node.fetch import FetchError, fetch

FILE = Path("/etc/clustermgtd/custom-actions.json")
EVENTS = ("OnNodeStart", "OnNodeConfigured", "OnNodeUpdated")

Fetch = Callable[[str, Path], None]
"""Writes what a URL names to a path; raises FetchError."""


class ActionError(Exception):
    """A program could not be had, is not the one that was meant, or failed; the message names it."""


@dataclass(frozen=True, slots=True)
class Program:
    """One entry of the file."""

    script: str
    """URL: s3://, https://, http:// or file:///."""
    args: tuple[str, ...] = ()
    sha256: str = ""
    """Empty: any content is taken."""


def programs(text: str, event: str) -> tuple[Program, ...]:
    """Those of an event, in order. The text is ours: what is wrong with it is an exception."""
    entries: list[dict[str, Any]] = json.loads(text)[event]
    return tuple(Program(one["script"], tuple(one.get("args", ())), one.get("sha256", "")) for one in entries)


def run_all(
    event: str,
    wanted: Sequence[Program],
    say: Callable[[str], None],
    fetch: Fetch = fetch,
) -> None:
    """Fetch and run one after the other; each line of output goes to `say`.

    Raises:
        ActionError: the first that fails; those after it are not run.
    """
    for program in wanted:
        with tempfile.TemporaryDirectory(prefix="clustermgtd-") as folder:
            path = Path(folder) / (Path(urllib.parse.urlsplit(program.script).path).name or "program")
            _fetch(event, program, path, fetch)
            _run(event, program, path, say)


def _fetch(event: str, program: Program, path: Path, fetch: Fetch) -> None:
    try:
        fetch(program.script, path)
    except FetchError as error:
        raise ActionError(f"{event}: {error}") from error
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if program.sha256 and found != program.sha256:
        raise ActionError(f"{event}: {program.script} has the checksum {found}, not {program.sha256}: it was not run")
    path.chmod(0o700)


def _run(event: str, program: Program, path: Path, say: Callable[[str], None]) -> None:
    say(f"{event}: {program.script} begins")
    try:
        process = subprocess.Popen(
            [str(path), *program.args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=_environment(os.environ, event),
        )
    except OSError as error:
        raise ActionError(f"{event}: {program.script} cannot be started: {error}") from error
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            say(line.rstrip("\n"))
    if process.returncode:
        raise ActionError(f"{event}: {program.script} ended with exit code {process.returncode}")
    say(f"{event}: {program.script} has ended well")


def _environment(own: Mapping[str, str], event: str) -> dict[str, str]:
    return {**own, "CLUSTERMGTD_EVENT": event}


def main() -> int:
    """Run an event's programs: exit code 1 and the reason as the last line if one fails."""
    parser = argparse.ArgumentParser(prog="python -m clustermgtd.node.custom_actions", description=__doc__)
    parser.add_argument("event", choices=EVENTS)
    parser.add_argument("--file", type=Path, default=FILE, help="default %(default)s")
    options = parser.parse_args()
    # at the unit's time limit systemd ends the program too, whose end is then told
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    try:
        run_all(options.event, programs(options.file.read_text(), options.event), _say)
    except ActionError as error:
        _say(str(error))
        return 1
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
