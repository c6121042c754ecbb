"""Seconds from `sbatch` to the first CreateFleet accepted, and from the last node ready to the job running.

The same experiment as was made with ParallelCluster's node package (median 19.0 s, maximum 30.7 s to the first
launch call): jobs at random times on powered-down nodes.
"""

from __future__ import annotations

import json
import random
import re
import statistics
import time
from collections.abc import Iterator
from datetime import datetime

from tests.benchmarks.row import Row
from tests.e2e.lab import Lab, running_lab

JOBS = 14
NODES = 2
_RESPONDS = re.compile(r"\[(\S+)\] Node (\S+) now responding")


def launched_at(lab: Lab, job: int) -> float:
    """When EC2 accepted the job's CreateFleet, from the daemon's log."""
    for line in (lab.folder.path / "daemon.log").read_text().splitlines():
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "launch_done" and job in event["job_ids"]:
            return datetime.fromisoformat(event["timestamp"]).timestamp()
    raise LookupError(f"no launch for job {job} in {lab.folder.path}/daemon.log")


def ready_at(lab: Lab, after: float) -> float:
    """When the last node registered, from slurmctld's log, which writes local time."""
    times = [
        datetime.fromisoformat(match[1]).timestamp()
        for line in lab.folder.slurmctld_log.read_text().splitlines()
        if (match := _RESPONDS.match(line))
    ]
    return max(moment for moment in times if moment >= after)


def measure_job(lab: Lab, nodes: int) -> tuple[float, float, float]:
    """For one job: sbatch to CreateFleet, last node ready to running, sbatch to running; seconds."""
    submitted = time.time()
    queue = random.choice(["ondemand", "spot"])
    job = lab.submit("date +%s.%N", f"--partition={queue}", f"--nodes={nodes}")
    lab.wait_for_job(job)
    running = float(lab.output(job))
    return launched_at(lab, job) - submitted, running - ready_at(lab, submitted), running - submitted


def measure() -> Iterator[Row]:
    samples: list[tuple[float, float, float]] = []
    with running_lab() as lab:
        for _ in range(JOBS):
            time.sleep(random.uniform(0.0, 5.0))
            samples.append(measure_job(lab, NODES))
            lab.wait_until_clean()
    launch, start, total = (sorted(column) for column in zip(*samples, strict=True))
    yield Row("latency/sbatch-to-create-fleet/median", statistics.median(launch), "s", NODES, 19.0, "the peer")
    yield Row("latency/sbatch-to-create-fleet/maximum", launch[-1], "s", NODES, 30.7, "the peer")
    yield Row("latency/last-node-ready-to-running/median", statistics.median(start), "s", NODES, 30.0, "Slurm's check")
    yield Row("latency/last-node-ready-to-running/maximum", start[-1], "s", NODES, 30.0, "Slurm's check")
    yield Row("latency/sbatch-to-running/median", statistics.median(total), "s", NODES)
