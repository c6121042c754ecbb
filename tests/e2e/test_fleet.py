"""Stopping and starting on real Slurm, as an operator types it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clustermgtd.errors import PermanentError
from tests.e2e.lab import Lab, running_lab

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

CLUSTER = Path(__file__).with_name("fleet.yaml")
STATIC = "first-st-c5-1"


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """One lab with a static node. Its daemon looks every 30 s, so what happens sooner was woken."""
    failed_before = request.session.testsfailed
    with running_lab(CLUSTER, has_failed=lambda: request.session.testsfailed > failed_before) as running:
        running.wait_until(lambda: state_of(running, STATIC) == "idle")
        yield running


def fleet(lab: Lab, *argv: str, timeout_s: float = 90.0) -> dict[str, Any]:
    """`clustermgtctl fleet ...` as JSON."""
    config = str(lab.folder.path / "cluster.yaml")
    said = lab.run("clustermgtctl", "fleet", *argv, "--config", config, "--output", "json", timeout_s=timeout_s)
    answer: dict[str, Any] = json.loads(said)
    return answer


def state_of(lab: Lab, node: str) -> str:
    return lab.run("sinfo", "-h", "-a", "-N", "-n", node, "-o", "%T").split()[0]


def partition(lab: Lab, name: str) -> str:
    return lab.run("sinfo", "-h", "-p", name, "-o", "%a").split()[0]


def live(lab: Lab) -> int:
    return lab.status().live_instances


def test_a_stop_requeues_a_running_job_and_a_start_runs_it_again(lab: Lab) -> None:
    job = lab.submit("sleep 20", "--partition=second", "--nodes=2")
    lab.wait_for_job(job, "RUNNING")
    answer = fleet(lab, "stop", "--wait", "--timeout", "60")
    assert answer["status"] == "STOPPED"
    assert {queue["queue"] for queue in answer["queues"] if queue["partition_closed"]} == {"first", "second", "third"}
    assert live(lab) == 0
    assert (partition(lab, "first"), partition(lab, "second")) == ("inactive", "inactive")
    assert lab.jobs(job)[0].state == "PENDING"
    with pytest.raises(PermanentError, match="Required partition not available"):
        lab.submit("true", "--partition=second")
    with pytest.raises(PermanentError, match="the cluster cannot be stopped: it is STOPPED already"):
        fleet(lab, "stop")
    with pytest.raises(PermanentError, match="queue first cannot be started: the whole cluster is STOPPED"):
        fleet(lab, "start", "--queue", "first")

    assert fleet(lab, "start", "--wait", "--timeout", "60")["status"] == "RUNNING"
    assert (partition(lab, "first"), partition(lab, "second")) == ("up", "up")
    lab.wait_until(lambda: state_of(lab, STATIC) == "idle")
    lab.wait_for_job(job)
    lab.wait_until(lambda: live(lab) == 1)


def test_a_stop_when_idle_lets_a_running_job_end_and_sends_a_waiting_one_back(lab: Lab) -> None:
    running = lab.submit("sleep 12", "--partition=second", "--nodes=1")
    lab.wait_for_job(running, "RUNNING")
    assert fleet(lab, "stop", "--queue", "second", "--when-idle")["queues"][0]["status"] in {
        "STOP_REQUESTED",
        "STOPPING",
    }
    lab.wait_until(lambda: partition(lab, "second") == "inactive")
    assert lab.jobs(running)[0].state == "RUNNING"
    assert partition(lab, "first") == "up"
    lab.wait_for_job(running)
    stopped = lab.wait_until(
        lambda: [q for q in fleet(lab, "status")["queues"] if q["queue"] == "second" and q["status"] == "STOPPED"]
    )
    assert stopped[0]["when_idle"]
    other = lab.submit("true", "--partition=first", "--nodes=1")
    lab.wait_for_job(other)
    fleet(lab, "start", "--queue", "second", "--wait")
    lab.wait_until(lambda: live(lab) == 1)


def test_a_stop_that_kills_jobs_cancels_them_and_nodes_that_power_up_are_given_back_at_once(lab: Lab) -> None:
    running = lab.submit("sleep 300", "--partition=second", "--nodes=1")
    lab.wait_for_job(running, "RUNNING")
    bad_image = lab.folder.path / "bad-image"
    bad_image.touch()  # so that the nodes still power up when the stop comes, however slow the machine is
    configuring = lab.submit("sleep 1", "--partition=second", "--nodes=2")
    lab.wait_for_job(configuring, "CONFIGURING")
    fleet(lab, "stop", "--queue", "second", "--kill-jobs", "--wait", "--timeout", "60")
    bad_image.unlink()
    assert lab.jobs(running)[0].state == "CANCELLED"
    assert lab.jobs(configuring)[0].state == "PENDING"
    assert live(lab) == 1
    fleet(lab, "start", "--queue", "second")
    lab.wait_for_job(configuring)
    lab.wait_until(lambda: live(lab) == 1)


def test_a_stop_is_written_without_a_daemon_and_carried_out_by_the_next_one(lab: Lab) -> None:
    lab.stop_daemon()
    assert fleet(lab, "stop", "--queue", "first")["queues"][0]["status"] == "STOP_REQUESTED"
    assert partition(lab, "first") == "up"
    lab.start_daemon()
    lab.wait_until(lambda: fleet(lab, "status", "--queue", "first")["queues"][0]["status"] == "STOPPED")
    assert live(lab) == 0
    lab.run("scontrol", "update", "PartitionName=second", "State=DOWN")
    fleet(lab, "start", "--queue", "first", "--wait", "--timeout", "60")
    assert partition(lab, "second") == "down"
    lab.run("scontrol", "update", "PartitionName=second", "State=UP")
    lab.wait_until(lambda: state_of(lab, STATIC) == "idle")


def status(lab: Lab, queue: str) -> str:
    (entry,) = fleet(lab, "status", "--queue", queue)["queues"]
    return str(entry["status"])


def launched(lab: Lab) -> int:
    """Instances that were ever started."""
    return int(lab.status().site["launched"])


def held(lab: Lab) -> list[str]:
    lines = lab.run("sinfo", "-h", "-N", "-t", "drain", "-o", "%N %E").splitlines()
    return sorted({line.split()[0] for line in lines if "clustermgtd: protected" in line})


def test_twelve_bad_boots_protect_a_queue_until_an_operator_starts_it_again(lab: Lab) -> None:
    bad_image = lab.folder.path / "bad-image"
    bad_image.touch()
    job = lab.submit("true", "--partition=third", "--nodes=12")
    lab.wait_until(lambda: status(lab, "third") == "PROTECTED", deadline_s=60)
    (protected,) = fleet(lab, "status")["protected"]
    assert (protected["queue"], protected["compute_resource"]) == ("third", "c5a")
    assert protected["failures"] >= 12
    assert fleet(lab, "status")["status"] == "PROTECTED"
    assert status(lab, "second") == "RUNNING"
    lab.wait_until(lambda: len(held(lab)) == 12, deadline_s=20)
    lab.wait_until(lambda: lab.jobs(job)[0].state == "PENDING")
    why = " AdminComment=clustermgtd: protected: instances of queue third start and do not become nodes; sinfo -R"
    lab.wait_until(lambda: why in lab.run("scontrol", "-o", "show", "job", str(job)), deadline_s=20)
    count = launched(lab)
    other = lab.submit("true", "--partition=first", "--nodes=1")
    bad_image.unlink()
    lab.wait_for_job(other)
    assert launched(lab) == count, "a busy queue hides nothing, and nothing is launched in the protected one"
    fleet(lab, "start", "--queue", "third", "--wait")
    lab.wait_for_job(job)
    lab.wait_until(
        lambda: "clustermgtd: protected" not in lab.run("scontrol", "-o", "show", "job", str(job)), deadline_s=20
    )
    assert fleet(lab, "status")["protected"] == []
    assert fleet(lab, "status")["status"] == "RUNNING"
    lab.wait_until(lambda: live(lab) == 1)
    assert held(lab) == []


def test_after_a_back_off_one_try_that_succeeds_ends_the_protection_and_it_outlives_the_daemon(lab: Lab) -> None:
    bad_image = lab.folder.path / "bad-image"
    bad_image.touch()
    job = lab.submit("true", "--partition=third", "--nodes=1")
    lab.wait_until(lambda: status(lab, "third") == "PROTECTED", deadline_s=90)
    lab.stop_daemon()
    bad_image.unlink()
    lab.start_daemon()
    assert status(lab, "third") == "PROTECTED"
    lab.wait_for_job(job)
    lab.wait_until(lambda: status(lab, "third") == "RUNNING")
    lab.wait_until(lambda: live(lab) == 1)
