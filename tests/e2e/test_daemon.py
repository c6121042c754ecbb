"""The daemon as its operator has it: signals, a second one beside it, what it serves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.lab import Lab

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.fixture
def config(lab: Lab) -> Iterator[Path]:
    """The lab's cluster.yaml, put back at the end."""
    path = lab.folder.path / "cluster.yaml"
    text = path.read_text()
    yield path
    path.write_text(text)


def events(lab: Lab, name: str) -> list[dict[str, object]]:
    lines = (lab.folder.path / "daemon.log").read_text().splitlines()
    parsed = (json.loads(line) for line in lines if line.startswith("{"))
    return [event for event in parsed if event["event"] == name]


def hang_up(lab: Lab) -> None:
    pid = lab.daemon_pid
    assert pid is not None
    os.kill(pid, signal.SIGHUP)


def fetched(lab: Lab, path: str) -> str:
    port = lab.client.state().ports["metrics"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as reply:
        return str(reply.read().decode())


def test_a_reload_takes_a_good_file_whole(lab: Lab, config: Path) -> None:
    config.write_text(config.read_text().replace("MaxCount: 16", "MaxCount: 12"))
    before = len(events(lab, "reload_done"))
    hang_up(lab)
    lab.wait_until(lambda: len(events(lab, "reload_done")) > before)
    assert events(lab, "reload_done")[-1]["nodes"] == 24


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [("MaxCount: 16", "MaxCount: many", "MaxCount"), ("ClusterName: lab", "ClusterName: other", "restart it")],
)
def test_a_reload_refuses_a_bad_file_and_goes_on_with_the_old_one(
    lab: Lab, config: Path, old: str, new: str, said: str
) -> None:
    config.write_text(config.read_text().replace(old, new))
    before = len(events(lab, "reload_refused"))
    hang_up(lab)
    lab.wait_until(lambda: len(events(lab, "reload_refused")) > before)
    assert said in str(events(lab, "reload_refused")[-1]["error"])
    job = lab.submit("true", "--partition=ondemand")
    lab.wait_for_job(job)
    lab.wait_until_clean()


def test_a_second_daemon_takes_over_and_the_first_one_ends_with_its_own_exit_code(lab: Lab) -> None:
    environment = {**lab.client.environment(), "PYTHONUNBUFFERED": "1"}
    config = lab.folder.path / "second.yaml"
    text = (lab.folder.path / "cluster.yaml").read_text()
    port = lab.client.state().ports["metrics"]
    config.write_text(text.replace("hooks.sock", "second.sock").replace(f"Port: {port}", "Port: 0"))
    command = [sys.executable, "-m", "clustermgtd", "run", "--config", str(config)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as second:
        try:
            lab.wait_until(lambda: lab.daemon_pid is None)
            assert lab.status().site["daemon_exit_code"] == 76
            assert events(lab, "fenced")
        finally:
            second.send_signal(signal.SIGTERM)
            _, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    lab.start_daemon()


def test_metrics_and_health_are_served(lab: Lab) -> None:
    metrics = fetched(lab, "/metrics")
    for name in ("clustermgtd_ticks_total", "clustermgtd_actions_total", "clustermgtd_build_info"):
        assert name in metrics
    assert json.loads(fetched(lab, "/healthz"))["healthy"] is True


def test_what_slurm_can_do_and_how_it_is_asked_is_shown(lab: Lab) -> None:
    config = str(lab.folder.path / "cluster.yaml")
    found = json.loads(lab.run("clustermgtctl", "slurm", config, "--output", "json"))
    assert found["slurm"] == {key: events(lab, "slurm_capabilities")[-1][key] for key in found["slurm"]}
    assert found["daemon"] == found["fits"]
    assert found["daemon"]["backend"] == events(lab, "slurm_backend")[-1]["backend"]


def test_the_boot_of_every_node_is_counted(lab: Lab) -> None:
    job = lab.submit("true", "--partition=ondemand", "--nodes=2")
    lab.wait_for_job(job)

    def counted() -> bool:
        wanted = 'clustermgtd_boot_phase_seconds_count{phase="slurmd-started"}'
        values = [line.split()[1] for line in fetched(lab, "/metrics").splitlines() if line.startswith(wanted)]
        return bool(values) and float(values[0]) >= 2

    lab.wait_until(counted)
    lab.wait_until_clean()
