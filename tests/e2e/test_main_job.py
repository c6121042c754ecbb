"""The main job on real Slurm: jobs bring instances up, whatever happens to the daemon, to EC2 and to instances."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter

import pytest

from tests.e2e.lab import Lab
from tests.fault_injection.kill_daemon import kill_during_scale_up

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def live_types(lab: Lab) -> Counter[str]:
    reply = lab.aws("ec2").describe_instances(
        Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    )
    return Counter(i["InstanceType"] for r in reply["Reservations"] for i in r["Instances"])


def test_a_job_submitted_while_the_daemon_is_stopped_runs_when_it_is_started(lab: Lab) -> None:
    lab.stop_daemon()
    job = lab.submit("echo served", "--partition=ondemand", "--nodes=2")
    lab.wait_until(lambda: lab.jobs(job)[0].state == "CONFIGURING")
    spool = lab.folder.path / "spool"
    lab.wait_until(lambda: [f for f in spool.iterdir() if f.is_file()])
    assert lab.status().live_instances == 0
    lab.start_daemon()
    lab.wait_for_job(job)
    assert lab.output(job) == "served\n"
    lab.wait_until(lambda: not [f for f in spool.iterdir() if f.is_file()])
    lab.wait_until_clean()


def test_a_hook_that_finds_the_daemon_dead_loses_nothing(lab: Lab) -> None:
    pid = lab.daemon_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    lab.wait_until(lambda: lab.daemon_pid is None)
    job = lab.submit("true", "--partition=spot", "--nodes=3")
    spool = lab.folder.path / "spool"
    lab.wait_until(lambda: any("flexible" in f.read_text() for f in spool.iterdir() if f.is_file()))
    lab.start_daemon()
    lab.wait_for_job(job)
    lab.wait_until_clean()


def test_a_job_whose_instance_dies_is_requeued_on_a_replacement(lab: Lab) -> None:
    job = lab.submit(
        'echo "attempt ${SLURM_RESTART_COUNT:-0}"; [ -n "$SLURM_RESTART_COUNT" ] || sleep 600',
        "--partition=ondemand",
        "--requeue",
        "--open-mode=append",
    )
    lab.wait_for_job(job, "RUNNING")
    lab.wait_until(lambda: "attempt 0" in lab.output(job))
    victim = next(iter(lab.status().site["instance_pids"]))
    died_at = time.monotonic()
    lab.control("kill", instance_id=victim)
    lab.wait_for_job(job)
    assert "attempt 1" in lab.output(job)
    assert time.monotonic() - died_at < 60, "Slurm alone holds a requeued job for two minutes"
    lab.wait_until_clean()


def test_a_shortage_of_one_type_is_served_by_another(lab: Lab) -> None:
    lab.control("set-capacity", instance_type="c5.large", zone="us-east-1a", market="spot", capacity=0)
    try:
        job = lab.submit("sleep 2", "--partition=spot", "--nodes=2")
        lab.wait_for_job(job, "RUNNING")
        types = live_types(lab)
        assert sum(types.values()) == 2
        assert "c5.large" not in types
        lab.wait_for_job(job)
    finally:
        lab.control("set-capacity", instance_type="c5.large", zone="us-east-1a", market="spot", capacity=None)
    lab.wait_until_clean()


def test_a_job_that_nothing_can_serve_learns_why_and_runs_when_capacity_is_back(lab: Lab) -> None:
    lab.control("set-capacity", instance_type="c5.large", zone="us-east-1a", market="on-demand", capacity=1)
    try:
        job = lab.submit("true", "--partition=ondemand", "--nodes=3")
        reason = lab.wait_until(
            lambda: [line for line in lab.run("sinfo", "-R", "-h", "-o", "%E").splitlines() if "clustermgtd:" in line]
        )
        assert "InsufficientInstanceCapacity" in reason[0]
        assert lab.status().live_instances == 0, "all or nothing: one of three is not kept"
    finally:
        lab.control("set-capacity", instance_type="c5.large", zone="us-east-1a", market="on-demand", capacity=None)
    lab.wait_for_job(job, deadline_s=120)
    lab.wait_until_clean()


def test_a_job_cancelled_while_its_nodes_boot_does_not_make_slurmctld_look_names_up(lab: Lab) -> None:
    job = lab.submit("true", "--partition=ondemand", "--nodes=3")
    addresses = lab.wait_until(
        lambda: [
            line
            for line in lab.run("sinfo", "-h", "-N", "-t", "powering_up", "-o", "%n %o").splitlines()
            if line.endswith(" 127.0.0.1")
        ]
    )
    assert len(addresses) == 3
    lab.run("scancel", str(job))
    lab.wait_until_clean()
    assert "getaddrinfo() failed" not in lab.folder.slurmctld_log.read_text(errors="replace")


def test_killing_the_daemon_in_the_middle_of_scale_ups_leaks_and_doubles_nothing(lab: Lab) -> None:
    rng = random.Random(2026)
    for _ in range(3):
        kill_during_scale_up(lab, 8, rng.uniform(0.0, 4.0))
