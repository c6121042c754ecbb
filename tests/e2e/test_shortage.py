"""A shortage on real Slurm: jobs move to what can be had, exhausted nodes are held back, and let go on time."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.lab import Lab, running_lab

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

CLUSTER = Path(__file__).with_name("two_compute_resources.yaml")
NODES = 6


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """One lab with two compute resources in one queue."""
    failed_before = request.session.testsfailed
    with running_lab(CLUSTER, has_failed=lambda: request.session.testsfailed > failed_before) as running:
        yield running


def leave(lab: Lab, capacity: int | None) -> None:
    """The first compute resource's type has so many instances in all."""
    lab.control("set-capacity", instance_type="c5.large", zone="us-east-1a", market="on-demand", capacity=capacity)


def held(lab: Lab) -> list[str]:
    """Nodes that carry our mark."""
    lines = lab.run("sinfo", "-h", "-N", "-t", "drain", "-o", "%N %E").splitlines()
    return sorted({line.split()[0] for line in lines if "clustermgtd: no-capacity" in line})


def launches(lab: Lab) -> list[dict[str, Any]]:
    """What the daemon's log says about its CreateFleet calls so far."""
    lines = lab.folder.daemon_log.read_text(errors="replace").splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    return [event for event in events if event.get("event") in ("launch_done", "launch_short")]


def test_a_job_moves_to_the_other_compute_resource_and_the_marks_end_on_time(lab: Lab) -> None:
    leave(lab, 0)
    try:
        submitted = time.monotonic()
        job = lab.submit("sleep 1", "--partition=batch", "--nodes=2")
        (running,) = lab.wait_for_job(job, "RUNNING", deadline_s=30)
        assert time.monotonic() - submitted < 30
        assert "second" in running.nodes
        # two at once were refused, so one node is left for a job that needs no more
        assert len(held(lab)) == NODES - 1
        lab.wait_for_job(job)
    finally:
        leave(lab, None)
    lab.wait_until(lambda: not held(lab), deadline_s=40)
    lab.wait_until_clean()
    second = lab.submit("true", "--partition=batch", "--nodes=2")
    (done,) = lab.wait_for_job(second)
    assert "first" in done.nodes
    lab.wait_until_clean()


def test_while_everything_is_banned_a_job_waits_without_a_call_and_without_a_requeue(lab: Lab) -> None:
    leave(lab, 0)
    lab.control("set-capacity", instance_type="m5.large", zone="us-east-1a", market="on-demand", capacity=0)
    try:
        job = lab.submit("true", "--partition=batch", "--nodes=1")
        lab.wait_until(lambda: len(held(lab)) == 2 * NODES, deadline_s=40)
        calls = len(launches(lab))
        restarts = lab.run("squeue", "-h", "-j", str(job), "-O", "RestartCnt").strip()
        lab.wait_until(lambda: lab.jobs(job)[0].state == "PENDING")
        time.sleep(3)
        assert len(launches(lab)) == calls
        assert lab.run("squeue", "-h", "-j", str(job), "-O", "RestartCnt").strip() == restarts
    finally:
        leave(lab, None)
        lab.control("set-capacity", instance_type="m5.large", zone="us-east-1a", market="on-demand", capacity=None)
    lab.wait_for_job(job, deadline_s=60)
    lab.wait_until_clean()
    assert not held(lab)


def test_marks_and_bans_outlive_the_daemon_and_are_lifted_by_the_next_one(lab: Lab) -> None:
    leave(lab, 0)
    try:
        job = lab.submit("true", "--partition=batch", "--nodes=1")
        lab.wait_until(lambda: len(held(lab)) == NODES, deadline_s=30)
        pid = lab.daemon_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        lab.wait_until(lambda: lab.daemon_pid is None)
        assert len(held(lab)) == NODES
        lab.start_daemon()
        assert len(held(lab)) == NODES, "the ban is read from the table"
        lab.wait_for_job(job, deadline_s=60)
    finally:
        leave(lab, None)
    lab.wait_until(lambda: not held(lab), deadline_s=40)
    lab.wait_until_clean()
