"""Programs of the site: real processes, with deadlines."""

from __future__ import annotations

import os
import time
from pathlib import Path

from clustermgtd.node.programs import LINES_KEPT, LINES_LOGGED_MAX, Outcome, run

LONG_S = 30.0


def sh(script: str, deadline_s: float = LONG_S) -> tuple[Outcome, list[str]]:
    said: list[str] = []
    outcome = run(["/bin/sh", "-c", script], {**os.environ, "MARK": "7"}, deadline_s, said.append)
    return outcome, said


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_dead(pid: int) -> None:
    give_up_at = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def test_exit_status_and_output_of_both_streams() -> None:
    outcome, said = sh("echo mark $MARK; echo trouble >&2; printf unfinished; exit 3")
    assert (outcome.exit_code, outcome.was_killed) == (3, False)
    assert said == ["mark 7", "trouble", "unfinished"]
    assert outcome.output == "mark 7\ntrouble\nunfinished"


def test_a_program_that_does_not_end_is_killed_with_its_children() -> None:
    outcome, said = sh("trap '' TERM; sleep 600 & echo $!; wait", deadline_s=0.5)
    assert (outcome.exit_code, outcome.was_killed) == (None, True)
    wait_until_dead(int(said[0]))


def test_what_a_program_leaves_behind_in_its_group_ends_with_it() -> None:
    outcome, said = sh("sleep 600 & echo $!")
    assert (outcome.exit_code, outcome.was_killed) == (0, False)
    wait_until_dead(int(said[0]))


def test_output_is_bounded_and_its_end_is_kept() -> None:
    outcome, said = sh("i=0; while [ $i -lt 1000 ]; do echo line $i; i=$((i+1)); done; head -c 300000 /dev/zero")
    assert len(said) == LINES_LOGGED_MAX + 1
    lines = outcome.output.splitlines()
    assert len(lines) <= LINES_KEPT
    assert len(outcome.output) <= 2000


def test_a_program_that_closes_its_output_is_waited_for() -> None:
    outcome, _ = sh("exec >&- 2>&-; sleep 0.3; exit 4")
    assert outcome.exit_code == 4


def test_a_program_that_is_not_there() -> None:
    said: list[str] = []
    outcome = run(["/no/such/program"], {}, LONG_S, said.append)
    assert (outcome.exit_code, outcome.was_killed) == (None, False)
    assert "cannot be started" in outcome.output


def test_a_signal_is_a_negative_exit_status() -> None:
    assert sh("kill -9 $$")[0].exit_code == -9
