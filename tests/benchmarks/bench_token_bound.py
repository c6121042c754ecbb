"""Seconds until the last instance of one big job is accepted under EC2's default limits, in virtual time.

Theory: 1,000 instances at once, the others at two a second.
"""

from __future__ import annotations

from collections.abc import Iterator

from clustermgtd.decide.budget import EC2_DEFAULTS, BucketName, launch_wait_s
from tests.benchmarks.row import Row
from tests.simulation.token_bound import run_big_job

JOBS = ((1500, 3000, 1800.0), (4000, 4000, 1800.0), (10_000, 10_000, 6000.0))
"""Nodes of the job, nodes of the compute resource, ResumeTimeout in seconds."""


def measure() -> Iterator[Row]:
    for size, nodes, resume_timeout_s in JOBS:
        name = f"token-bound/{size}-of-{nodes}"
        bound = launch_wait_s(size, EC2_DEFAULTS[BucketName.LAUNCH_INSTANCES])
        outcome = run_big_job(size, nodes, resume_timeout_s)
        assert outcome.instances == size, f"{outcome.instances} instances for a job of {size} nodes"
        yield Row(f"{name}/last-accepted", round(outcome.last_accepted_s, 1), "s", size, bound, "theory")
        yield Row(f"{name}/nodes-down", outcome.down, "nodes", size)
        yield Row(f"{name}/throttled", outcome.throttled, "calls", size)
        yield Row(f"{name}/create-fleet-calls", outcome.calls, "calls", size)
