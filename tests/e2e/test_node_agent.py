"""The node agent on the lab's instances: EC2's announcements, the dead-man switch, slurmd and the health check."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from clustermgtd.lab import leftovers
from tests.e2e.lab import CLUSTER, Lab, running_lab

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

PARTITION = "--partition=spot"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with a hook that does not end by itself, and a health check that a file makes fail."""
    folder = tmp_path_factory.mktemp("site")
    programs = {
        "leave": f'env >"{folder}/hook-$CLUSTERMGTD_NODE"; echo "$@"; sleep 600',
        "health": f'if test -e "{folder}/sick-$CLUSTERMGTD_NODE"; then echo GPU 3: lost; exit 9; fi',
    }
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, site: Path) -> Iterator[Lab]:
    """A lab whose nodes stay, with times that a test can wait for."""
    raw: dict[str, Any] = yaml.safe_load(CLUSTER.read_text())
    raw["Clustermgtd"] |= {
        "ScaledownIdletimeSeconds": 600,
        "Interruptions": {"LeadSeconds": 5.0},
        "NodeAgent": {
            "GiveUpSeconds": 60,
            "ReportSeconds": 1.0,
            "InterruptionHook": str(site / "leave"),
            "InterruptionHookSeconds": 3.0,
            "HealthCheck": {"Program": str(site / "health"), "IntervalSeconds": 1.0, "DeadlineSeconds": 5.0},
            "DeadManSwitch": {
                "HeartbeatSeconds": 1.0,
                "IdleSeconds": 8.0,
                "JobSeconds": 30.0,
                "UnreadableSeconds": 60.0,
            },
        },
    }
    config = site / "cluster.yaml"
    config.write_text(yaml.safe_dump(raw))
    failed_before = request.session.testsfailed
    with running_lab(config, has_failed=lambda: request.session.testsfailed > failed_before) as running:
        yield running


def reports(lab: Lab) -> dict[str, dict[str, Any]]:
    """What the agents of live instances have told, by node."""
    table, status = lab.aws("dynamodb"), lab.status()
    found = {}
    for instance in status.site["instance_pids"]:
        item = table.get_item(TableName=status.site["table"], Key={"Id": {"S": f"boot#{instance}"}}).get("Item", {})
        if "Node" in item:
            found[item["Node"]["S"]] = json.loads(item["Body"]["S"])
    return found


def start(lab: Lab, script: str, *options: str) -> tuple[int, str]:
    """A job whose script runs on one node: its id and the node."""
    mark = lab.folder.path / "started"
    job = lab.submit(
        f"trap : USR1; touch {mark}-$SLURM_JOB_ID\n{script}",
        PARTITION,
        "--nodes=1",
        "--exclusive",
        "--no-requeue",
        *options,
    )
    lab.wait_until(lambda: Path(f"{mark}-{job}").exists(), deadline_s=90)
    return job, lab.run("squeue", "--noheader", f"--jobs={job}", "--format=%N").strip()


def daemon_log(lab: Lab) -> str:
    return lab.folder.daemon_log.read_text(errors="replace")


def test_a_warning_reaches_the_job_the_hook_and_the_daemon(lab: Lab, site: Path) -> None:
    script = "trap 'echo told' USR1; while :; do sleep 0.2; done"
    job, node = start(lab, script, "--export=ALL,CLUSTERMGTD_INTERRUPTION_SIGNAL=USR1")
    instance = lab.wait_until(lambda: reports(lab).get(node, {}).get("instance"))
    lab.control("rebalance", instance_id=instance)
    lab.control("schedule", instance_id=instance, event_id="e-1", code="system-reboot", not_before=2e9, not_after=2e9)
    lab.control("spot-reclaim", instance_id=instance, notice_s=100)
    report = lab.wait_until(lambda: (r := reports(lab).get(node, {})).get("hook") == "killed" and r)
    assert [(notice["kind"], notice["action"], notice["matter"]) for notice in report["notices"]] == [
        ("spot-interruption", "terminate", ""),
        ("rebalance", "none", ""),
        ("scheduled-event", "reboot", "e-1"),
    ]
    lab.wait_until(lambda: "told" in lab.output(job))
    told = dict(line.partition("=")[::2] for line in (site / f"hook-{node}").read_text().splitlines())
    assert (told["CLUSTERMGTD_EVENT"], told["CLUSTERMGTD_INSTANCE_ID"]) == ("spot-interruption", instance)
    assert told["CLUSTERMGTD_JOB_IDS"] == str(job)
    lab.wait_until(lambda: '"state": "killed"' in daemon_log(lab))
    assert '"kind": "spot-interruption"' in daemon_log(lab)
    console = (lab.folder.path / "instances" / instance / "console.log").read_text()
    assert "hook: spot-interruption terminate 3" in console
    lab.control("kill", instance_id=instance)
    lab.wait_until(lambda: lab.run("sinfo", "--noheader", f"--nodes={node}", "--format=%t").strip() == "idle~")


def test_slurmd_that_dies_comes_back_and_its_job_goes_on(lab: Lab) -> None:
    mark = lab.folder.path / "go-on"
    job, node = start(lab, f"while ! test -e {mark}; do sleep 0.2; done; echo done")
    before = slurmd(lab, node)
    os.kill(before.pid, signal.SIGKILL)
    lab.wait_until(lambda: is_there(lab, node) and slurmd(lab, node) != before)
    assert "-b" not in Path(f"/proc/{slurmd(lab, node).pid}/cmdline").read_text().split("\0")
    lab.wait_until(lambda: "*" not in lab.run("sinfo", "--noheader", f"--nodes={node}", "--format=%t"))
    mark.touch()
    lab.wait_for_job(job)
    assert lab.output(job) == "done\n"


def is_there(lab: Lab, node: str) -> bool:
    return bool(slurmds(lab, node))


def slurmd(lab: Lab, node: str) -> leftovers.ProcessIdentity:
    (found,) = slurmds(lab, node)
    return found


def slurmds(lab: Lab, node: str) -> list[leftovers.ProcessIdentity]:
    """The node's slurmd, not the children that it forks."""
    found = []
    for process in leftovers.belonging_to(lab.folder.path):
        try:
            words = Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")
            parent = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[1]
            name = Path(f"/proc/{parent}/comm").read_text().strip()
        except OSError:
            continue
        if words[0].endswith("/slurmd") and node in words and name != "slurmd":
            found.append(process)
    return found


def test_a_health_check_that_fails_is_reported_with_what_it_said(lab: Lab, site: Path) -> None:
    job, node = start(lab, "sleep 600")
    (site / f"sick-{node}").touch()
    report = lab.wait_until(lambda: (r := reports(lab).get(node, {})).get("health") and r)
    assert (report["health"]["exit_code"], report["health"]["output"]) == (9, "GPU 3: lost")
    lab.wait_until(lambda: '"output": "GPU 3: lost"' in daemon_log(lab))
    (site / f"sick-{node}").unlink()
    lab.wait_until(lambda: not reports(lab)[node]["health"])
    lab.run("scancel", str(job))


def test_without_a_daemon_an_idle_node_ends_itself_and_a_busy_one_later(lab: Lab) -> None:
    short = lab.submit("sleep 1", PARTITION, "--nodes=1", "--exclusive")
    _, busy = start(lab, "sleep 600")
    lab.wait_for_job(short)
    nodes = lab.wait_until(lambda: len(found := reports(lab)) > 1 and found)
    instances = {node: report["instance"] for node, report in nodes.items()}
    lab.stop_daemon()
    lab.wait_until(lambda: set(lab.status().site["instance_pids"]) == {instances[busy]})
    table = lab.status().site["table"]
    for node, instance in instances.items():
        if node != busy:
            key = {"Id": {"S": f"boot#{instance}"}}
            item = lab.aws("dynamodb").get_item(TableName=table, Key=key)["Item"]
            assert "no job runs here" in json.loads(item["Body"]["S"])["ended"]
    lab.wait_until(lambda: not lab.status().site["instance_pids"])
    item = lab.aws("dynamodb").get_item(TableName=table, Key={"Id": {"S": f"boot#{instances[busy]}"}})["Item"]
    assert "a job runs here" in json.loads(item["Body"]["S"])["ended"]
    lab.start_daemon()
