"""A lab instance's process tree: it goes as a whole, and it is found again after its lab was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import clustermgtd.lab.machine
from clustermgtd.lab import leftovers

MACHINE = [sys.executable, "-I", "-S", clustermgtd.lab.machine.__file__]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    leftovers.end_all(tmp_path)


def start_machine(folder: Path, script: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, leftovers.LAB_MARKER: str(folder), leftovers.INSTANCE_MARKER: "i-1"}
    command = [*MACHINE, str(os.getpid()), "sh", "-c", script]
    return subprocess.Popen(command, env=environment, start_new_session=True, cwd=folder)


def wait_until(fact: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 20
    while not fact():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def test_a_machine_that_powers_off_takes_every_process_with_it(folder: Path) -> None:
    """Even one that left the session, dropped the marker and lost its parent."""
    script = f"(env -i setsid sleep 300 & echo $! >{folder}/escaped); exit 7"
    with start_machine(folder, script) as machine:
        assert machine.wait(20) == 7
    escaped = int((folder / "escaped").read_text())
    assert leftovers.identify(escaped) is None


def test_a_machine_that_is_taken_away_leaves_nothing(folder: Path) -> None:
    with start_machine(folder, f"trap '' TERM; setsid sleep 300 & touch {folder}/up; sleep 300") as machine:
        wait_until((folder / "up").exists)
        machine.terminate()
        assert machine.wait(20) == 0
    assert leftovers.belonging_to(folder) == []


def test_a_machine_goes_when_its_lab_is_killed(folder: Path) -> None:
    lab = (
        "import os, subprocess, sys, time\n"
        f"subprocess.Popen({MACHINE!r} + [str(os.getpid()), 'sh', '-c', 'touch up; sleep 300'])\n"
        "time.sleep(300)\n"
    )
    environment = {**os.environ, leftovers.LAB_MARKER: str(folder)}
    with subprocess.Popen([sys.executable, "-c", lab], env=environment, cwd=folder) as process:
        wait_until((folder / "up").exists)
        process.kill()
    wait_until(lambda: leftovers.belonging_to(folder) == [])


def test_leftovers_are_found_by_marker_and_descent_and_ended(folder: Path) -> None:
    environment = {**os.environ, leftovers.LAB_MARKER: str(folder)}
    script = f"env -i setsid sleep 300 & touch {folder}/up; wait"
    with subprocess.Popen(["sh", "-c", script], env=environment) as shell:
        wait_until((folder / "up").exists)
        wait_until(lambda: len(leftovers.belonging_to(folder)) == 2)
        assert leftovers.end_all(folder) == 2
        assert shell.wait(10) == -9


def test_other_labs_and_other_instances_are_left_alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    with start_machine(folder, "sleep 300") as machine:
        wait_until(lambda: len(leftovers.belonging_to(folder)) >= 2)
        assert leftovers.belonging_to(other) == []
        assert leftovers.end_all(folder, instance="i-2") == 0
        assert machine.poll() is None
        assert leftovers.end_all(folder, instance="i-1") >= 2


def test_a_process_is_not_mistaken_for_a_later_one_with_its_number() -> None:
    me = leftovers.identify(os.getpid())
    assert me is not None
    assert leftovers.is_alive(me)
    assert not leftovers.is_alive(leftovers.ProcessIdentity(me.pid, me.started_ticks - 1))
    assert leftovers.end(leftovers.ProcessIdentity(me.pid, me.started_ticks - 1), patience_s=0)
