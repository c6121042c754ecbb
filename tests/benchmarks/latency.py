"""Seconds from `sbatch` to the first CreateFleet accepted, and from the last node ready to the job running.

The same experiment as was made with ParallelCluster's node package (median 19.0 s, maximum 30.7 s to the first
launch call): jobs at random times on powered-down nodes. `python -m tests.benchmarks.latency [--jobs 14] [--nodes 2]`.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import time
from datetime import datetime
from pathlib import Path

from tests.e2e.lab import Lab, running_lab

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


def measure(lab: Lab, nodes: int) -> tuple[float, float, float]:
    """For one job: sbatch to CreateFleet, last node ready to running, sbatch to running; seconds."""
    submitted = time.time()
    queue = random.choice(["ondemand", "spot"])
    job = lab.submit("date +%s.%N", f"--partition={queue}", f"--nodes={nodes}")
    lab.wait_for_job(job)
    running = float(lab.output(job))
    return launched_at(lab, job) - submitted, running - ready_at(lab, submitted), running - submitted


def row(name: str, values: list[float]) -> dict[str, object]:
    return {
        "name": name,
        "value": round(statistics.median(values), 3),
        "minimum": round(min(values), 3),
        "maximum": round(max(values), 3),
        "unit": "s",
        "samples": len(values),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=14)
    parser.add_argument("--nodes", type=int, default=2, help="of each job")
    parser.add_argument("--output", type=Path, default=Path("build/latency.json"))
    options = parser.parse_args()
    samples: list[tuple[float, float, float]] = []
    with running_lab() as lab:
        for number in range(options.jobs):
            time.sleep(random.uniform(0.0, 5.0))
            samples.append(measure(lab, options.nodes))
            print(f"job {number + 1}: {' '.join(f'{value:.2f}' for value in samples[-1])}", flush=True)
            lab.wait_until_clean()
    launch, start, total = (list(column) for column in zip(*samples, strict=True))
    rows = [
        row("latency/sbatch-to-create-fleet", launch),
        row("latency/last-node-ready-to-job-running", start),
        row("latency/sbatch-to-job-running", total),
    ]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(rows, indent=1) + "\n")
    for entry in rows:
        print("{name:42} median {value:6.2f} s  min {minimum:6.2f}  max {maximum:6.2f}  n={samples}".format(**entry))


if __name__ == "__main__":
    main()
