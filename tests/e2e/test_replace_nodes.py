"""Nodes on an outdated image are replaced through real Slurm while a job array runs on them."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clustermgtd.errors import PermanentError
from tests.e2e.lab import Lab, interruptible, running_lab
from tests.e2e.resizing import reload

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

CLUSTER = Path(__file__).with_name("update.yaml")
STATIC = ("first-st-c5-1", "first-st-c5-2")
DYNAMIC = ("first-dy-c5-1", "first-dy-c5-2")
ALL = {*STATIC, *DYNAMIC}


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    failed_before = request.session.testsfailed
    with running_lab(CLUSTER, has_failed=lambda: request.session.testsfailed > failed_before) as running:
        running.wait_until(lambda: set(STATIC) <= set(idle(running)))
        yield running


def idle(lab: Lab) -> list[str]:
    return lab.run("sinfo", "-h", "-N", "-t", "idle", "-o", "%N").split()


def arguments(lab: Lab, *argv: str) -> list[str]:
    return ["clustermgtctl", "nodes", "replace", *argv, "--config", str(lab.folder.cluster_yaml)]


def steps(lab: Lab) -> dict[str, str]:
    said: dict[str, str] = json.loads(lab.run(*arguments(lab, "--queue", "first", "--dry-run", "--output", "json")))
    return said


def change_image(lab: Lab, image: str, *, is_taken_over: bool = True) -> None:
    """Another AMI for all nodes."""
    text = lab.folder.cluster_yaml.read_text()
    before = text.partition("CustomAmi: ")[2].split()[0]
    lab.folder.cluster_yaml.write_text(text.replace(before, image))
    if is_taken_over:
        reload(lab)


def images(lab: Lab) -> dict[str, str]:
    """Image of each node's instance."""
    reply: dict[str, Any] = lab.aws("ec2").describe_instances()
    of = {i["InstanceId"]: i["ImageId"] for r in reply["Reservations"] for i in r["Instances"]}
    return {node: of[instance] for node, instance in lab.backing().items()}


def test_every_node_of_a_queue_is_replaced_under_a_job_array_and_no_task_fails(lab: Lab) -> None:
    array = lab.submit("sleep 6; hostname", "--array=1-16", "--exclusive", "--partition=first")
    lab.wait_until(lambda: set(lab.backing()) == ALL and len(idle(lab)) == 0)
    before = lab.backing()
    assert "PENDING" in {task.state for task in lab.jobs(array)}
    assert set(steps(lab).values()) == {"current"}
    change_image(lab, "ami-00000000000000002")
    assert set(steps(lab).values()) <= {"next", "waiting"}
    said = lab.run(*arguments(lab, "--queue", "first", "--at-once", "2", "--output", "json"), timeout_s=150)
    assert json.loads(said) == {"replaced": "first-dy-c5-[1-2],first-st-c5-[1-2]", "left_alone": ""}
    lab.wait_for_job(array)
    assert {lab.job_fact(task.id, "Restarts") for task in lab.jobs(array)} == {"0"}
    assert not set(before.values()) & set(lab.backing().values())
    assert set(images(lab).values()) == {"ami-00000000000000002"}
    assert set(steps(lab).values()) == {"current"}


def test_a_file_that_the_daemon_has_not_taken_over_is_refused(lab: Lab) -> None:
    text = lab.folder.cluster_yaml.read_text()
    change_image(lab, "ami-00000000000000009", is_taken_over=False)
    try:
        with pytest.raises(PermanentError, match="the daemon has made no launch templates for first/c5 as configured"):
            steps(lab)
    finally:
        lab.folder.cluster_yaml.write_text(text)


def test_ctrl_c_loses_nothing_and_an_operators_drain_is_left_alone(lab: Lab) -> None:
    lab.wait_until(lambda: set(STATIC) <= set(idle(lab)))
    change_image(lab, "ami-00000000000000003")
    job = lab.submit("sleep 15", "--partition=first", f"--nodelist={STATIC[0]}", "--exclusive")
    lab.wait_for_job(job, "RUNNING")
    lab.run("scontrol", "update", f"NodeName={STATIC[1]}", "State=DRAIN", "Reason=mine")
    marked = lab.backing()[STATIC[1]]
    command = arguments(lab, "first-st-c5-[1-2]", "--at-once", "1")
    with subprocess.Popen(command, env=lab.client.environment(), preexec_fn=interruptible) as first:
        lab.wait_until(lambda: f"{STATIC[0]} clustermgtd:" in lab.run("sinfo", "-h", "-N", "-o", "%N %E"))
        first.send_signal(signal.SIGINT)
        assert first.wait(20) == 130
    with pytest.raises(PermanentError, match="exit 3"):
        lab.run(*command, timeout_s=90)
    lab.wait_for_job(job)
    assert images(lab)[STATIC[0]] == "ami-00000000000000003"
    assert lab.backing()[STATIC[1]] == marked
    assert steps(lab)[STATIC[1]] == "left alone"
    lab.run("scontrol", "update", f"NodeName={STATIC[1]}", "State=RESUME")
