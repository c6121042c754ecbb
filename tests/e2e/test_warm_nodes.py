"""Warm nodes by schedule, and idle times, on real Slurm."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.lab import Lab, running_lab

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

CLUSTER = Path(__file__).with_name("warm.yaml")
IDLE_S = 8


@pytest.fixture(scope="module")
def starts_at() -> datetime:
    """When the second schedule's window begins, which lasts a minute."""
    return (datetime.now(UTC) + timedelta(seconds=75)).replace(second=0, microsecond=0)


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, starts_at: datetime) -> Iterator[Lab]:
    text = CLUSTER.read_text()
    assert '"30 7 * * *"' in text
    config = tmp_path_factory.mktemp("warm") / "warm.yaml"
    config.write_text(text.replace('"30 7 * * *"', f'"{starts_at:%M %H} * * *"'))
    failed_before = request.session.testsfailed
    with running_lab(config, has_failed=lambda: request.session.testsfailed > failed_before) as running:
        yield running


def up(lab: Lab, kind: str) -> list[str]:
    """Nodes of a compute resource that are up, by sinfo's long state without a suffix."""
    lines = [line.split() for line in lab.run("sinfo", "-h", "-a", "-N", "-o", "%N %T").splitlines()]
    return sorted(name for name, state in lines if f"-{kind}-" in name and state in ("idle", "allocated", "mixed"))


def test_a_window_comes_and_goes(lab: Lab, starts_at: datetime) -> None:
    """Nothing is up before it; its nodes are, while it lasts, though they idle; after it they idle away."""
    if time.time() < starts_at.timestamp() - 2:
        assert up(lab, "c5a") == []
    lab.wait_until(lambda: len(up(lab, "c5a")) == 2, deadline_s=120)
    ends_at = starts_at.timestamp() + 60
    while time.time() < ends_at - 3:
        assert len(up(lab, "c5a")) == 2
        time.sleep(1)
    lab.wait_until(lambda: up(lab, "c5a") == [], deadline_s=60)
    assert time.time() >= ends_at


def test_warm_nodes_stay_and_others_of_their_queue_idle_away(lab: Lab) -> None:
    lab.wait_until(lambda: len(up(lab, "c5")) == 2)
    warm = up(lab, "c5")
    job = lab.submit("true", "--partition=day", "--nodes=1", "--constraint=m5.large")
    wide = lab.submit("true", "--partition=day", "--nodes=4", "--constraint=c5.large")
    lab.wait_for_job(job)
    lab.wait_for_job(wide)
    lab.wait_until(lambda: up(lab, "m5") == [])
    lab.wait_until(lambda: up(lab, "c5") == warm)
    for _ in range(IDLE_S + 4):
        time.sleep(1)
        assert up(lab, "c5") == warm


def test_an_operator_is_told_why_nodes_are_up(lab: Lab) -> None:
    lab.wait_until(lambda: len(up(lab, "c5")) == 2)
    said = lab.run("clustermgtctl", "warm", str(lab.folder.path / "cluster.yaml"), "--output", "json")
    always = next(row for row in json.loads(said) if row["compute_resource"] == "c5")
    assert (always["schedule"], always["wanted"], always["up"]) == ("always", 2, 2)
    assert always["kept"] == up(lab, "c5")
    assert always["dollars_per_hour"] > 0


def test_a_job_that_gets_warm_nodes_starts_at_once(lab: Lab) -> None:
    lab.wait_until(lambda: len(up(lab, "c5")) == 2)
    job = lab.submit("sleep 1", "--partition=day", "--nodes=2", "--constraint=c5.large")
    lab.wait_for_job(job)
    assert lab.job_fact(job, "Restarts") == "0"
    assert len(up(lab, "c5")) == 2


def test_a_warm_node_that_is_lost_is_replaced_and_a_restarted_daemon_keeps_the_others(lab: Lab) -> None:
    lab.wait_until(lambda: len(up(lab, "c5")) == 2)
    lab.stop_daemon()
    first = up(lab, "c5")[0]
    time.sleep(IDLE_S + 2)
    assert len(up(lab, "c5")) == 2
    lab.run("scontrol", "update", f"NodeName={first}", "State=POWER_DOWN")
    lab.start_daemon()
    lab.wait_until(lambda: first not in up(lab, "c5") and len(up(lab, "c5")) == 2)
