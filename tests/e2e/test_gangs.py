"""Jobs that come short on real Slurm: they keep what arrived and start when the rest is there, or are given back."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.lab import Lab, running_lab

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

CLUSTER = Path(__file__).with_name("gangs.yaml")
NODES = 24
THERE = 20
HOLD_S = 60


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """One lab with a compute resource of 24 nodes."""
    failed_before = request.session.testsfailed
    with running_lab(CLUSTER, has_failed=lambda: request.session.testsfailed > failed_before) as running:
        yield running


def leave(lab: Lab, capacity: int | None) -> None:
    """There are so many instances in all."""
    lab.control("set-capacity", instance_type="c5.large", zone="us-east-1a", market="on-demand", capacity=capacity)


def live(lab: Lab) -> set[str]:
    """Instances that EC2 has not ended and does not end."""
    pages = lab.aws("ec2").get_paginator("describe_instances").paginate()
    instances = [i for page in pages for r in page["Reservations"] for i in r["Instances"]]
    return {i["InstanceId"] for i in instances if i["State"]["Name"] in ("pending", "running")}


def events(lab: Lab, name: str) -> list[dict[str, Any]]:
    """What the daemon's log says under this name so far."""
    lines = lab.folder.daemon_log.read_text(errors="replace").splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return [event for event in found if event.get("event") == name]


def restarts(lab: Lab, job: int) -> int:
    return int(lab.run("squeue", "-h", "-j", str(job), "-O", "RestartCnt").strip())


def test_a_job_starts_when_the_rest_arrives_and_never_loses_what_it_had_though_the_daemon_dies(lab: Lab) -> None:
    leave(lab, THERE)
    try:
        job = lab.submit("sleep 1", f"--nodes={NODES}")
        lab.wait_until(lambda: len(live(lab)) == THERE and events(lab, "gang_short"), deadline_s=40)
        first = live(lab)
        pid = lab.daemon_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        lab.wait_until(lambda: lab.daemon_pid is None)
        lab.start_daemon()
        # through bans and probes of the new daemon, and until the twenty have booted
        calls = len(events(lab, "gang_topped_up")) + len(events(lab, "launch_short"))
        lab.wait_until(lambda: len(events(lab, "launch_short")) >= calls + 1, deadline_s=40)
        assert live(lab) == first
        assert [found.state for found in lab.jobs(job)] == ["CONFIGURING"]
        leave(lab, None)
        lab.wait_for_job(job, "RUNNING", deadline_s=60)
        assert first < live(lab)
        assert len(live(lab)) == NODES
        assert restarts(lab, job) == 0
    finally:
        leave(lab, None)
    lab.wait_for_job(job)
    assert lab.status().site["launched"] == NODES, "nothing was launched twice"
    lab.wait_until_clean()


def test_a_job_whose_time_is_over_is_given_back_and_runs_when_there_is_room(lab: Lab) -> None:
    leave(lab, THERE)
    try:
        job = lab.submit("sleep 1", f"--nodes={NODES}")
        lab.wait_until(lambda: len(live(lab)) == THERE, deadline_s=40)
        released = lab.wait_until(lambda: events(lab, "gang_released"), deadline_s=HOLD_S + 40)
        assert [(event["cause"], event["missing"]) for event in released] == [("time", NODES - THERE)]
        assert HOLD_S <= released[0]["held_s"] <= HOLD_S + 10
        lab.wait_until(lambda: restarts(lab, job) == 1)
        down = [event for event in events(lab, "nodes_down") if event["reason"] == "hold-over"]
        assert f"{THERE} of {NODES} arrived in 6" in down[0]["detail"]
    finally:
        leave(lab, None)
    lab.wait_for_job(job, deadline_s=120)
    lab.wait_until_clean()
