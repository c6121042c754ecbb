"""A capacity block's whole life on real Slurm, in two minutes and a half."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.lab import Lab, running_lab

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

HERE = Path(__file__).parent
ID = "cr-0b10c"
BEFORE, AFTER = f"clustermgtd-{ID}-before", f"clustermgtd-{ID}-after"
LENGTH_S, DRAIN_S, RECLAIM_S = 130.0, 15.0, 5.0


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """One lab with one queue of two static nodes in a block that starts in the far future."""
    failed_before = request.session.testsfailed
    config, scenario = HERE / "block_cluster.yaml", HERE / "capacity-block.yaml"
    with running_lab(config, scenario, has_failed=lambda: request.session.testsfailed > failed_before) as running:
        yield running


def reservations(lab: Lab) -> dict[str, str]:
    """Slurm's, by name."""
    lines = lab.run("scontrol", "-o", "show", "reservation").splitlines()
    found = (re.match(r"ReservationName=(\S+)", line) for line in lines)
    return {match[1]: line for match, line in zip(found, lines, strict=True) if match}


def nodes_are(lab: Lab, word: str) -> bool:
    """Every node prints the word among its states."""
    states = re.findall(r" State=(\S+)", lab.run("scontrol", "-o", "show", "node"))
    return len(states) == 2 and all(word in state.split("+") for state in states)


def ec2(lab: Lab) -> list[dict[str, Any]]:
    """Every instance that there ever was."""
    found: list[dict[str, Any]] = lab.client.ask("/lab/ec2/state")["instances"]
    return found


def calls(lab: Lab) -> int:
    """CreateFleet calls so far."""
    return int(lab.client.ask("/lab/ec2/state")["calls"].get("CreateFleet", 0))


def state_of(lab: Lab, job: int) -> str:
    (found,) = lab.jobs(job)
    return found.state


def started_at(lab: Lab, job: int) -> float:
    """Epoch second of a job's start."""
    text = lab.run("scontrol", "-o", "show", "job", str(job))
    match = re.search(r" StartTime=(\S+)", text)
    assert match is not None
    return time.mktime(time.strptime(match[1], "%Y-%m-%dT%H:%M:%S"))


def test_jobs_run_within_the_block_and_nothing_is_asked_of_ec2_outside_of_it(lab: Lab) -> None:
    lab.run("scontrol", "create", "reservation", "ReservationName=operators", "Users=root", "StartTime=now+1hour",
            "Duration=60", "Nodes=ALL", "Flags=MAINT,IGNORE_JOBS")  # fmt: skip
    lab.wait_until(lambda: {BEFORE, AFTER} <= set(reservations(lab)), deadline_s=20)
    starts_at = time.time() + 30.0
    ends_at = starts_at + LENGTH_S
    lab.control("set-reservation", id=ID, instance_type="c5.large", zone="us-east-1a", count=2, kind="capacity-block",
                starts_at=starts_at, ends_at=ends_at)  # fmt: skip
    short = lab.submit("sleep 2", "--partition=block", "--nodes=2", "--time=1")
    long = lab.submit("sleep 2", "--partition=block", "--nodes=1", "--time=10")

    # the daemon dies and comes back before the start: what it finds is what it would have made
    lab.wait_until(lambda: time.time() > starts_at - 20)
    pid = lab.daemon_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    lab.wait_until(lambda: lab.daemon_pid is None)
    lab.start_daemon()
    assert time.time() < starts_at, "the machine is too slow for this test"
    assert [state_of(lab, job) for job in (short, long)] == ["PENDING", "PENDING"]
    assert set(reservations(lab)) == {BEFORE, AFTER, "operators"}
    assert (calls(lab), ec2(lab)) == (0, [])

    lab.wait_for_job(short, deadline_s=starts_at + 100 - time.time())
    assert started_at(lab, short) >= int(starts_at)
    assert min(one["launched_at"] for one in ec2(lab)) >= starts_at
    assert state_of(lab, long) == "PENDING"

    # near the end idle nodes go before EC2 takes them, and the long job has still not started
    lab.wait_until(lambda: nodes_are(lab, "POWERED_DOWN"), deadline_s=ends_at - time.time() + 20)
    assert {one["state_reason"] for one in ec2(lab)} == {"Client.UserInitiatedShutdown"}
    assert time.time() >= ends_at - DRAIN_S
    assert state_of(lab, long) == "PENDING"
    made = calls(lab)
    lab.wait_until(lambda: time.time() > ends_at + 8, deadline_s=60)
    assert set(reservations(lab)) == {AFTER, "operators"}
    assert calls(lab) == made
    assert nodes_are(lab, "POWERED_DOWN")
    lab.run("scancel", str(long))


def test_when_ec2_has_forgotten_the_block_our_reservations_go_and_others_stay(lab: Lab) -> None:
    lab.control("set-reservation", id=ID)
    lab.wait_until(lambda: set(reservations(lab)) == {"operators"}, deadline_s=30)
