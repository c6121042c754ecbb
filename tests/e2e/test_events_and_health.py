"""Scheduled events and ill instances on real Slurm, beside an operator's drain and a user's reservation."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.lab import CLUSTER, Lab, running_lab

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

LEAD_S = 60.0
STATIC = "spot-st-flexible-1"
RESERVED = "ondemand-dy-c5-15"
ONDEMAND = "--partition=ondemand"


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One static node, a user's maintenance reservation on a dynamic one, and times that a test can wait for."""
    raw: dict[str, Any] = yaml.safe_load(CLUSTER.read_text())
    ondemand, spot = (queue["ComputeResources"][0] for queue in raw["Scheduling"]["SlurmQueues"])
    ondemand["InstanceType"], spot["MinCount"] = "c5.xlarge", 1
    raw["Clustermgtd"] |= {
        "Interruptions": {"LeadSeconds": 5.0, "MaintenanceLeadMinutes": LEAD_S / 60},
        "Events": {"StatusSeconds": 10.0},
        "Health": {"ImpairedSeconds": 1.0, "KeepFailedNodeMinutes": 0.1},
    }
    config = tmp_path_factory.mktemp("site") / "cluster.yaml"
    config.write_text(yaml.safe_dump(raw))
    failed_before = request.session.testsfailed
    with running_lab(config, has_failed=lambda: request.session.testsfailed > failed_before) as running:
        running.run(
            *("scontrol", "create", "reservation", "ReservationName=users-window", f"Nodes={RESERVED}"),
            *("StartTime=now+3600", "Duration=7200", "Users=root", "Flags=MAINT"),
        )
        running.wait_until(lambda: state(running, STATIC) == ["IDLE", "CLOUD"])
        yield running


def state(lab: Lab, node: str) -> list[str]:
    return fact(lab, "node", node, "State").split("+")


def fact(lab: Lab, kind: str, name: str, key: str) -> str:
    """One word of `scontrol show`."""
    words = lab.run("scontrol", "-o", "show", kind, name).split()
    return next(word.partition("=")[2] for word in words if word.startswith(f"{key}="))


def reason(lab: Lab, node: str) -> str:
    return lab.run("scontrol", "-o", "show", "node", node).partition(" Reason=")[2].partition(" [")[0]


def epoch(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def reservations(lab: Lab) -> set[str]:
    lines = lab.run("scontrol", "-o", "show", "reservation").splitlines()
    return {line.split()[0].partition("=")[2] for line in lines if line.startswith("ReservationName=")}


def started(lab: Lab, *options: str) -> tuple[int, str, Path]:
    """A job of one processor that runs until a file is there: its id, its node and the file."""
    mark = lab.folder.path / f"go-on-{time.monotonic_ns()}"
    job = lab.submit(f"while ! test -e {mark}; do sleep 0.2; done", "--ntasks=1", *options)
    lab.wait_for_job(job, "RUNNING")
    (node,) = lab.nodes_of(job)
    return job, node, mark


def test_slurm_plans_around_a_scheduled_event_and_the_node_leaves_when_its_job_has_ended(lab: Lab) -> None:
    job, node, mark = started(lab, ONDEMAND, "--time=120")
    instance = lab.backing()[node]
    at = float(int(time.time()) + 3600)
    lab.control(
        "schedule", instance_id=instance, event_id="e-1", code="system-maintenance", not_before=at, not_after=at + 60
    )
    ours = f"clustermgtd-maintenance-{instance}"
    lab.wait_until(lambda: ours in reservations(lab), deadline_s=20)
    assert fact(lab, "reservation", ours, "Nodes") == node
    assert epoch(fact(lab, "reservation", ours, "StartTime")) == at - LEAD_S
    fits = lab.submit("true", ONDEMAND, "--ntasks=1", "--time=5", f"--nodelist={node}")
    does_not = lab.submit("true", ONDEMAND, "--ntasks=1", "--time=120", f"--nodelist={node}")
    lab.wait_for_job(fits, deadline_s=20)
    assert (lab.jobs(job)[0].state, lab.jobs(does_not)[0].state) == ("RUNNING", "PENDING")
    assert "DRAIN" not in state(lab, node)
    mark.touch()
    lab.wait_for_job(job)
    lab.wait_for_job(does_not)
    assert lab.backing().get(node) != instance
    lab.wait_until(lambda: reservations(lab) == {"users-window"})
    assert fact(lab, "reservation", "users-window", "Nodes") == RESERVED


def test_an_operators_drain_outlives_its_nodes_idle_time_and_an_event_on_its_instance(lab: Lab) -> None:
    job, node, mark = started(lab, ONDEMAND)
    instance = lab.backing()[node]
    lab.run("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=broken fan")
    at = time.time() + 3600
    lab.control(
        "schedule", instance_id=instance, event_id="e-2", code="instance-retirement", not_before=at, not_after=at + 60
    )
    lab.wait_until(lambda: f"clustermgtd-maintenance-{instance}" in reservations(lab), deadline_s=20)
    mark.touch()
    lab.wait_for_job(job)
    lab.wait_until(lambda: "POWERED_DOWN" in state(lab, node))
    assert "DRAIN" in state(lab, node)
    assert reason(lab, node) == "broken fan"
    lab.wait_until(lambda: instance not in lab.status().site["instance_pids"])
    lab.run("scontrol", "update", f"NodeName={node}", "State=RESUME")
    lab.wait_for_job(lab.submit("true", ONDEMAND, f"--nodelist={node}"))


def test_an_impaired_instance_is_kept_for_a_while_and_replaced_and_its_console_stays(lab: Lab) -> None:
    instance = lab.backing()[STATIC]
    job, _, mark = started(lab, "--partition=spot", f"--nodelist={STATIC}")
    lab.control("console", instance_id=instance, text="machine check: bank 4\n")
    lab.control("status", instance_id=instance, system="impaired")
    lab.wait_until(lambda: "DRAIN" in state(lab, STATIC), deadline_s=30)
    assert reason(lab, STATIC).startswith("clustermgtd: impaired")
    assert lab.jobs(job)[0].state == "RUNNING"
    seen = lab.log_size()
    mark.touch()
    lab.wait_for_job(job)
    lab.wait_until(lambda: lab.events("nodes_down", since=seen), period_s=0.1)
    assert instance in lab.status().site["instance_pids"]
    lab.wait_until(
        lambda: state(lab, STATIC) == ["IDLE", "CLOUD"] and lab.backing().get(STATIC) not in (None, instance)
    )
    events = lab.events("node_given_up", "instances_terminating")
    ours = [e for e in events if e.get("instance_id") == instance or instance in e.get("instances", ())]
    assert [event["event"] for event in ours][:2] == ["node_given_up", "instances_terminating"]
    console = lab.folder.path / "consoles" / f"{STATIC}.{instance}.console.txt"
    assert "machine check: bank 4" in console.read_text()
    assert "users-window" in reservations(lab)
