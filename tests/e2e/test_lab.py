"""The lab as its users have it: commands, folders, processes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clustermgtd.lab import leftovers
from clustermgtd.lab.folder import LabFolder, LabPhase
from clustermgtd.node.imds import MetadataService
from tests.e2e.lab import Lab, interruptible

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

COMMAND = [sys.executable, "-m", "clustermgtd", "lab"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder with a short name; whatever lab is in it at the end is taken down."""
    path = Path(tempfile.mkdtemp(prefix="clmgtd-lab-"))
    yield path
    subprocess.run([*COMMAND, "down", "--folder", str(path)], check=True, timeout=90)
    shutil.rmtree(path)


def lab_command(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *argv], capture_output=True, text=True, timeout=200, check=False)


def wait_until(fact: Callable[[], object], deadline_s: float = 60.0) -> None:
    give_up_at = time.monotonic() + deadline_s
    while not fact():
        assert time.monotonic() < give_up_at
        time.sleep(0.1)


def test_a_job_runs_and_everything_goes_away_again(lab: Lab) -> None:
    job = lab.submit("srun sh -c 'echo $SLURMD_NODENAME'", "--partition=ondemand", "--nodes=2")
    lab.wait_for_job(job)
    assert sorted(lab.output(job).split()) == ["ondemand-dy-c5-1", "ondemand-dy-c5-2"]
    status = lab.status()
    assert status.live_instances == len(status.site["instance_pids"]) == 2
    table = lab.aws("dynamodb")
    for instance in status.site["instance_pids"]:
        report = table.get_item(TableName=status.site["table"], Key={"Id": {"S": f"boot#{instance}"}})["Item"]
        assert report["Node"]["S"] in lab.output(job)
        assert {"agent-started", "node-known", "slurmd-started"} <= report["Phases"]["M"].keys()
    first = next(iter(status.site["instance_pids"]))
    console = lab.wait_until(lambda: lab.aws("ec2").get_console_output(InstanceId=first).get("Output"))
    assert f"{first} (c5.large) is node" in console
    status = lab.wait_until_clean()
    assert status.site["launched"] == status.site["terminated"] == 2


def test_an_instance_that_is_killed_takes_its_jobs_processes_with_it(lab: Lab) -> None:
    mark = lab.folder.path / "step-pid"
    job = lab.submit(f"echo $$ >{mark}; exec sleep 600", "--partition=spot", "--no-requeue")
    lab.wait_until(lambda: mark.exists() and mark.read_text().strip())
    step = leftovers.identify(int(mark.read_text()))
    assert step is not None
    instance = next(iter(lab.status().site["instance_pids"]))
    lab.control("spot-reclaim", instance_id=instance, notice_s=600)
    metadata = MetadataService(f"{lab.client.state().endpoint_url}/imds/{instance}")
    assert json.loads(metadata.get("meta-data/spot/instance-action"))["action"] == "terminate"
    lab.control("kill", instance_id=instance)
    lab.wait_until(lambda: not leftovers.is_alive(step), deadline_s=10)
    lab.wait_until(lambda: not lab.status().site["instance_pids"])
    with contextlib.suppress(Exception):
        lab.run("scancel", str(job))
    lab.wait_until_clean()


def test_a_command_runs_in_the_lab_with_its_own_exit_code(lab: Lab) -> None:
    path = str(lab.folder.path)
    assert lab_command("run", "--folder", path, "--", "sinfo", "--noheader", "--format=%R").stdout.split() == [
        "ondemand",
        "spot",
    ]
    assert lab_command("run", "--folder", path, "--", "sh", "-c", "exit 42").returncode == 42
    assert lab_command("run", "--folder", path, "--", "no-such-command").returncode == 127


def test_the_exports_point_a_shell_at_the_lab_and_nowhere_else(lab: Lab) -> None:
    exports = lab_command("env", "--folder", str(lab.folder.path)).stdout
    script = f"{exports}\nscontrol show config | grep -c '^ClusterName'; echo $AWS_ENDPOINT_URL"
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=30, check=True, env={})
    assert said.stdout.split() == ["1", lab.client.state().endpoint_url]


def test_status_is_readable_by_people_and_programs(lab: Lab) -> None:
    path = str(lab.folder.path)
    assert "32 idle~" in lab_command("status", "--folder", path).stdout
    status = json.loads(lab_command("status", "--folder", path, "--output", "json").stdout)
    assert status["nodes"] == {"idle~": 32}
    assert status["open_claims"] == 0
    assert status["pids"]["daemon"] == lab.daemon_pid


def test_the_daemon_can_be_stopped_and_started(lab: Lab) -> None:
    before = lab.daemon_pid
    lab.stop_daemon()
    assert lab.daemon_pid is None
    lab.start_daemon()
    assert lab.daemon_pid not in (None, before)


def test_a_second_lab_in_the_same_folder_is_refused_and_one_beside_it_is_not(lab: Lab, folder: Path) -> None:
    refused = lab_command("up", "--folder", str(lab.folder.path))
    assert refused.returncode == 1
    assert "already" in refused.stderr
    beside = lab_command("up", "--folder", str(folder))
    assert beside.returncode == 0, beside.stderr
    state = LabFolder(folder).read_state()
    assert state is not None
    assert not set(state.ports.values()) & set(lab.client.state().ports.values())
    assert lab_command("down", "--folder", str(folder)).returncode == 0
    assert leftovers.belonging_to(folder) == []
    assert lab.daemon_pid is not None


def test_what_a_killed_lab_leaves_behind_is_found_by_the_next_one(folder: Path) -> None:
    assert lab_command("up", "--folder", str(folder)).returncode == 0
    submitted = lab_command(
        "run", "--folder", str(folder), "--", "sbatch", "--chdir", str(folder), "--wrap", "sleep 600"
    )
    assert submitted.returncode == 0, submitted.stderr
    wait_until(lambda: "RUNNING" in lab_command("status", "--folder", str(folder)).stdout)
    state = LabFolder(folder).read_state()
    assert state is not None
    os.kill(state.pid, signal.SIGKILL)
    wait_until(lambda: not state.is_running)
    again = lab_command("up", "--folder", str(folder))
    assert again.returncode == 0, again.stderr
    assert "0 launched" in lab_command("status", "--folder", str(folder)).stdout


def test_an_interrupted_start_leaves_nothing(folder: Path) -> None:
    command = [*COMMAND, "up", "--folder", str(folder)]
    with subprocess.Popen(command, preexec_fn=interruptible) as starting:
        wait_until(lambda: leftovers.belonging_to(folder))
        starting.send_signal(signal.SIGINT)
        assert starting.wait(90) in (130, 0)
    if starting.returncode == 130:
        assert leftovers.belonging_to(folder) == []


def test_a_lab_that_cannot_come_up_says_why_and_leaves_nothing(folder: Path) -> None:
    wrong = folder.with_suffix(".yaml")
    wrong.write_text("Region: us-east-1\nHeadNod: {}\n")
    try:
        failed = lab_command("up", "--folder", str(folder), "--config", str(wrong))
    finally:
        wrong.unlink()
    assert failed.returncode == 1
    assert "HeadNode" in failed.stderr
    assert leftovers.belonging_to(folder) == []
    state = LabFolder(folder).read_state()
    assert state is not None
    assert state.phase is LabPhase.FAILED


def test_a_foreground_lab_ends_with_its_command(folder: Path) -> None:
    command = [*COMMAND, "up", "--foreground", "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=interruptible) as foreground:
        assert foreground.stdout is not None
        for line in foreground.stdout:
            if "Ctrl-C" in line:
                break
        foreground.send_signal(signal.SIGINT)
        assert foreground.wait(90) == 0
    assert leftovers.belonging_to(folder) == []
