"""A queue grows, another one comes, both go again, on real Slurm, while a job runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clustermgtd.cli.diff_config import EXITS
from clustermgtd.cli.main import main
from clustermgtd.settings.update_policy import Need
from tests.e2e.lab import Lab, running_lab
from tests.e2e.resizing import applying

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

CLUSTER = Path(__file__).with_name("update.yaml")
STATIC = "first-st-c5-1"
SECOND = """\
  - Name: second
    Networking: {SubnetIds: [subnet-0000000000000000a]}
    ComputeResources: [{Name: m5, InstanceType: m5.large, MaxCount: 2}]
"""
GOING = {"first-dy-c5-2", "first-dy-c5-3", "second-dy-m5-1", "second-dy-m5-2"}


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    failed_before = request.session.testsfailed
    with running_lab(CLUSTER, has_failed=lambda: request.session.testsfailed > failed_before) as running:
        running.wait_until(lambda: STATIC in states(running, "idle"))
        yield running


def states(lab: Lab, *wanted: str) -> list[str]:
    """Nodes that `sinfo` shows in one of these states, or all."""
    lines = [line.split() for line in lab.run("sinfo", "-h", "-a", "-N", "-o", "%N %T").splitlines()]
    return [name for name, state in lines if not wanted or state in wanted]


def diff(lab: Lab, new: str) -> int:
    """The exit status of `clustermgtctl diff-config`."""
    file = lab.folder.path / "new.yaml"
    file.write_text(new)
    return main(["diff-config", str(lab.folder.cluster_yaml), str(file)])


def test_nodes_and_a_queue_come_and_go_while_a_job_runs(lab: Lab) -> None:
    small = lab.folder.cluster_yaml.read_text()
    large = small.replace("MaxCount: 4", "MaxCount: 5").replace("  SlurmQueues:\n", f"  SlurmQueues:\n{SECOND}", 1)
    smaller = small.replace("MaxCount: 4", "MaxCount: 3")
    job = lab.submit("sleep 600", "--partition=first", f"--nodelist={STATIC}")
    lab.wait_for_job(job, "RUNNING")
    with applying(lab) as applier:
        assert diff(lab, large) == EXITS[Need.LIVE]
        applier.apply(large)
        assert set(states(lab)) >= GOING
        grown = [
            lab.submit("true", "--partition=second"),
            lab.submit("true", "--partition=first", "--nodelist=first-dy-c5-3"),
        ]
        for other in grown:
            lab.wait_for_job(other)
        assert lab.jobs(job)[0].state == "RUNNING"

        assert diff(lab, smaller) == EXITS[Need.DRAIN]
        leaving = "NodeName=first-dy-c5-[2-3]"
        lab.run("scontrol", "update", leaving, "State=DRAIN", "Reason=leaves the cluster")
        config = str(lab.folder.cluster_yaml)
        stop = ("clustermgtctl", "fleet", "stop", "--queue", "second", "--when-idle", "--wait", "--config", config)
        lab.run(*stop, timeout_s=90)
        lab.wait_until(lambda: not GOING & set(lab.backing()) and not GOING & set(states(lab, "idle", "draining")))
        applier.apply(smaller)
        assert not GOING & set(states(lab))
        assert lab.jobs(job)[0].state == "RUNNING"
        last = lab.submit("true", "--partition=first", "--nodelist=first-dy-c5-1")
        lab.wait_for_job(last)
    lab.run("scancel", str(job))
    lab.wait_until(lambda: set(lab.backing()) <= {STATIC, "first-st-c5-2"})
    assert lab.events("tick_failed") == []
