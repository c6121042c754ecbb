"""Whole-process wall time of the resume hook against a live daemon socket, by nodes and jobs in the resume file."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from clustermgtd.adapters.system.loop_clock import LoopClock
from clustermgtd.intake.hooks import HookServer, HookServerSettings
from clustermgtd.model.hostlist import fold
from clustermgtd.model.ids import JobId, NodeName
from clustermgtd.reconcile.inbox import Inbox
from clustermgtd.reconcile.start_gate import GateAnswer, GateReason
from tests.benchmarks.row import Row

RUNS = 30


class OpenGate:
    async def wait(self, job_id: JobId, nodes: object) -> GateAnswer:
        return GateAnswer(GateReason.READY)


def resume_file(folder: Path, nodes: int, jobs: int) -> Path:
    """As releases from 23.02 write it."""
    names = [NodeName(f"q1-dy-c5-{n}") for n in range(1, nodes + 1)]
    size = nodes // jobs
    entries = [
        {
            "job_id": number + 1,
            "nodes_alloc": (part := fold(names[number * size : (number + 1) * size])),
            "nodes_resume": part,
            "partition": "q1",
            "oversubscribe": "NO",
        }
        for number in range(jobs)
    ]
    path = folder / f"resume-{nodes}-{jobs}.json"
    path.write_text(json.dumps({"all_nodes_resume": fold(names), "jobs": entries}))
    return path


async def _timed(folder: Path, nodes: int, jobs: int) -> list[float]:
    environment = {
        **os.environ,
        "CLUSTERMGTD_SOCKET": str(folder / "hooks.sock"),
        "CLUSTERMGTD_SPOOL": str(folder / "spool"),
        "SLURM_RESUME_FILE": str(resume_file(folder, nodes, jobs)),
    }
    hostlist = f"q1-dy-c5-[1-{nodes}]"
    inbox = Inbox()
    settings = HookServerSettings(folder / "hooks.sock", folder / "spool", frozenset({os.getuid()}))
    server = asyncio.create_task(HookServer(settings, inbox, OpenGate(), LoopClock()).run())
    times = []
    try:
        for _ in range(RUNS):
            started = time.perf_counter()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "resume_suspend.resume", hostlist, env=environment, stderr=subprocess.PIPE
            )
            assert await process.wait() == 0
            times.append(time.perf_counter() - started)
            assert len(inbox.drain()) == 1
    finally:
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)
    return times


def measure() -> Iterator[Row]:
    for nodes, jobs in ((1, 1), (1000, 1), (4000, 1), (1000, 1000), (4000, 4000)):
        with tempfile.TemporaryDirectory() as folder:
            times = asyncio.run(_timed(Path(folder), nodes, jobs))
        median = round(statistics.median(times) * 1000, 1)
        yield Row(f"hook/resume-for-{jobs}-jobs", median, "ms", nodes, 40.0, "required")
