"""Capacity tiers on real Slurm: a spot queue's jobs go on to on-demand instances, and come back to spot ones."""

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

CLUSTER = Path(__file__).with_name("tiers.yaml")
WAIT_S = 20.0
BAN_S = 6.0


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """One lab with a spot queue of two tiers."""
    failed_before = request.session.testsfailed
    with running_lab(CLUSTER, has_failed=lambda: request.session.testsfailed > failed_before) as running:
        yield running


def leave(lab: Lab, capacity: int | None) -> None:
    """So many spot instances may run in all."""
    lab.control("set-capacity", instance_type="c5.large", zone="us-east-1a", market="spot", capacity=capacity)


def events(lab: Lab, name: str) -> list[dict[str, Any]]:
    """The daemon's log lines of one kind."""
    lines = lab.folder.daemon_log.read_text(errors="replace").splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return [event for event in found if event.get("event") == name]


def markets(lab: Lab) -> set[str]:
    """How the instances that live are paid for."""
    reply = lab.aws("ec2").describe_instances(
        Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    )
    live = [instance for reservation in reply["Reservations"] for instance in reservation["Instances"]]
    return {instance.get("InstanceLifecycle", "on-demand") for instance in live}


def started_at(lab: Lab, job: int) -> float:
    """When Slurm gave the job the nodes that it waits for, epoch seconds."""
    text = lab.run("squeue", "-h", "-j", str(job), "-O", "StartTime:30")
    return time.mktime(time.strptime(text.strip(), "%Y-%m-%dT%H:%M:%S"))


def test_a_job_goes_on_to_on_demand_after_its_wait_and_is_not_requeued(lab: Lab) -> None:
    leave(lab, 0)
    try:
        job = lab.submit("sleep 3", "--partition=spot", "--nodes=2")
        lab.wait_until(lambda: lab.jobs(job)[0].state == "CONFIGURING", deadline_s=15)
        began = started_at(lab, job)
        lab.wait_for_job(job, "RUNNING", deadline_s=WAIT_S + 25)
        assert markets(lab) == {"on-demand"}
        launched = [event for event in events(lab, "launch_done") if job in event["job_ids"]]
        assert len(launched) == 1
        assert lab.run("squeue", "-h", "-j", str(job), "-O", "RestartCnt").strip() == "0"
        (fallen,) = events(lab, "compute_resource_fallen")
        assert fallen["tier"] == 1
        assert "spot" in fallen["cause"]
        tried = [event for event in events(lab, "launch_short") if job in event["job_ids"]]
        assert len(tried) >= 2, "spot is tried again as long as a ban ends within the wait"
        assert BAN_S <= fallen["since"] - began <= WAIT_S + 3
        lab.wait_for_job(job)
    finally:
        leave(lab, None)
    lab.wait_until_clean()


def test_while_it_is_fallen_the_next_job_does_not_wait_and_then_spot_is_tried_again(lab: Lab) -> None:
    leave(lab, 0)
    try:
        lab.wait_until(lambda: len(events(lab, "compute_resource_returned")) == 1, deadline_s=60)
        job = lab.submit("true", "--partition=spot", "--nodes=1")
        lab.wait_for_job(job, deadline_s=60)
        assert len(events(lab, "compute_resource_fallen")) == 2
        submitted = time.monotonic()
        second = lab.submit("true", "--partition=spot", "--nodes=1")
        lab.wait_for_job(second, deadline_s=WAIT_S)
        assert time.monotonic() - submitted < WAIT_S
    finally:
        leave(lab, None)
    lab.wait_until_clean()
    lab.wait_until(lambda: len(events(lab, "compute_resource_returned")) == 2, deadline_s=90)
    third = lab.submit("sleep 2", "--partition=spot", "--nodes=1")
    lab.wait_for_job(third, "RUNNING", deadline_s=60)
    assert markets(lab) == {"spot"}
    lab.wait_for_job(third)
    lab.wait_until_clean()


def test_a_daemon_that_dies_in_the_wait_does_not_make_it_longer(lab: Lab) -> None:
    leave(lab, 0)
    try:
        job = lab.submit("sleep 3", "--partition=spot", "--nodes=2")
        lab.wait_until(lambda: lab.jobs(job)[0].state == "CONFIGURING", deadline_s=15)
        began = started_at(lab, job)
        short = len(events(lab, "launch_short"))
        lab.wait_until(lambda: len(events(lab, "launch_short")) > short, deadline_s=15)
        before = len(events(lab, "compute_resource_fallen"))
        while time.time() < began + WAIT_S / 2:
            time.sleep(0.2)
        pid = lab.daemon_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        lab.wait_until(lambda: lab.daemon_pid is None)
        lab.start_daemon()
        lab.wait_for_job(job, "RUNNING", deadline_s=WAIT_S + 25)
        assert markets(lab) == {"on-demand"}
        (fallen,) = events(lab, "compute_resource_fallen")[before:]
        assert fallen["since"] - began < WAIT_S * 1.5, "a wait that began anew would be longer"
        assert lab.run("squeue", "-h", "-j", str(job), "-O", "RestartCnt").strip() == "0"
        lab.wait_for_job(job)
    finally:
        leave(lab, None)
    lab.wait_until_clean()
