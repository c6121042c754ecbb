"""Slurmd waits for the site's own programs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from clustermgtd.errors import PermanentError
from clustermgtd.node.actions import UNITS, run_actions


class Systemd:
    """Plays systemctl: each unit's state, and whether its start succeeds."""

    def __init__(self, states: dict[str, str], failing: str = "") -> None:
        self.states = states
        self.failing = failing
        self.started: list[str] = []

    def __call__(self, command: Sequence[str]) -> str:
        unit = command[-1]
        if command[1] == "start":
            self.started.append(unit)
            if unit == self.failing:
                raise subprocess.CalledProcessError(1, list(command))
            return ""
        state = self.states.get(unit)
        return f"LoadState={'loaded' if state else 'not-found'}\nActiveState={state or 'inactive'}\n"


def log_file(folder: Path, *lines: str) -> Path:
    path = folder / "actions.log"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_both_are_started_in_their_order(tmp_path: Path) -> None:
    systemd = Systemd(dict.fromkeys(UNITS, "inactive"))
    run_actions(systemd, lambda: True, tmp_path / "none")
    assert systemd.started == list(UNITS)


def test_a_site_without_programs_has_no_units(tmp_path: Path) -> None:
    systemd = Systemd({})
    run_actions(systemd, lambda: True, tmp_path / "none")
    assert systemd.started == []


def test_one_that_failed_while_booting_is_not_run_again(tmp_path: Path) -> None:
    systemd = Systemd({UNITS[0]: "failed", UNITS[1]: "inactive"})
    log = log_file(tmp_path, "no such disk", "OnNodeStart: s3://b/setup.sh ended with exit code 3")
    with pytest.raises(PermanentError, match=r"^OnNodeStart: s3://b/setup.sh ended with exit code 3$"):
        run_actions(systemd, lambda: True, log)
    assert systemd.started == []


def test_one_that_fails_now_is_named(tmp_path: Path) -> None:
    systemd = Systemd(dict.fromkeys(UNITS, "inactive"), failing=UNITS[1])
    log = log_file(tmp_path, "OnNodeConfigured: file:///x ended with exit code 7")
    with pytest.raises(PermanentError, match="file:///x ended with exit code 7"):
        run_actions(systemd, lambda: True, log)


def test_without_a_log_the_unit_is_named(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=f"^{UNITS[0]} failed$"):
        run_actions(Systemd({UNITS[0]: "failed"}), lambda: True, tmp_path / "none")


def test_a_machine_without_systemd_has_none() -> None:
    run_actions(Systemd(dict.fromkeys(UNITS, "failed")), lambda: False)
