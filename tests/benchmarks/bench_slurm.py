"""What reading and updating slurmctld costs by the command line and by pyslurm, and how the event loop stands still.

Over a real slurmctld; where there is no pyslurm the broker runs over the fake one, which tells of the daemon alone. A
stall is how much later than asked for a task of the loop wakes; the process's own CPU time in the same span tells it
from what the machine does meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from clustermgtd.adapters.slurm.broker_process import Launch
from clustermgtd.adapters.slurm.calls import NodeUpdate, SlurmCalls
from clustermgtd.adapters.slurm.command_line import CommandLine
from clustermgtd.adapters.slurm.pyslurm_calls import PyslurmCalls
from clustermgtd.lab.slurm import SlurmControl
from clustermgtd.lab.slurm_files import PortReservation, find_program
from clustermgtd.model.ids import NodeName
from tests.benchmarks.row import Row
from tests.pyslurm_fixtures import fake_launch, has_pyslurm, kept_broker, real_launch
from tests.slurm_fixtures import FAST, RealSlurm, until

JOBS = 500
UPDATED = 5_000
READS = 7
STALL_MAX_MS = 20.0
_TICK_S = 0.001


def measure() -> Iterator[Row]:
    for nodes in (1000, 4000, 10_000):
        folder = Path(tempfile.mkdtemp(prefix="clustermgtd-slurm-"))
        folder.chmod(0o755)
        try:
            yield from asyncio.run(_measured(folder, nodes))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


async def _measured(folder: Path, nodes: int) -> list[Row]:
    async with _slurm(folder, nodes) as slurm:
        conf_file = slurm.control.paths.conf
        command_line = CommandLine(Path(find_program("scontrol")).parent, conf_file, deadline_s=60)
        rows = await _reads("command-line", command_line, nodes)
        launch, way = _broker(folder, conf_file, nodes)
        async with kept_broker(launch) as (client, _):
            if client.last_error is not None:
                raise client.last_error
            pyslurm = PyslurmCalls(client)
            rows += await _reads(way, pyslurm, nodes)
            if nodes >= UPDATED:
                rows.append(await _update("command-line", command_line, nodes))
                if way == "pyslurm":
                    rows.append(await _update(way, pyslurm, nodes))
    return rows


def _broker(folder: Path, conf_file: Path, nodes: int) -> tuple[Launch, str]:
    if has_pyslurm():
        return real_launch(conf_file, deadline_s=60), "pyslurm"
    world = folder / "world.json"
    names = [f"q1-dy-c5-{number}" for number in range(1, nodes + 1)]
    job = {"state": "CONFIGURING", "start_time": 1_700_000_000, "allocated_nodes": names[0]}
    facts = {
        "pyslurm": "22.5.3",
        "release": "22.05.8",
        "nodes": [[name, "IDLE+CLOUD+POWERED_DOWN", ["q1"], name, name, None] for name in names],
        "jobs": [{"id": number, **job} for number in range(JOBS)],
    }
    world.write_text(json.dumps(facts))
    return fake_launch(world, deadline_s=60), "broker over a fake pyslurm"


async def _reads(way: str, calls: SlurmCalls, nodes: int) -> list[Row]:
    """All nodes and all unfinished jobs."""

    async def read() -> None:
        assert len((await calls.nodes()).nodes) == nodes
        assert len(await calls.jobs()) >= JOBS

    await read()
    walls, cpus, late, own = [], [], [], []
    for _ in range(READS):
        seen = await _watched(read)
        walls.append(seen.wall_s)
        cpus.append(seen.cpu_s)
        late += seen.late_s
        own += seen.own_s
    name = f"slurm/{way}/nodes-and-jobs"
    return [
        Row(f"{name}/wall", round(statistics.median(walls) * 1000, 1), "ms", nodes),
        Row(f"{name}/daemon-cpu", round(statistics.median(cpus) * 1000, 1), "ms", nodes),
        Row(f"{name}/loop-stall-p99", _p99_ms(late), "ms", nodes, STALL_MAX_MS, "required"),
        Row(f"{name}/loop-stall-p99-own-cpu", _p99_ms(own), "ms", nodes),
        Row(f"{name}/loop-stall-max", round(max(late) * 1000, 2), "ms", nodes),
    ]


async def _update(way: str, calls: SlurmCalls, nodes: int) -> Row:
    """The address of 5,000 nodes in one update."""
    names = tuple(NodeName(f"q1-dy-c5-{number}") for number in range(nodes - UPDATED + 1, nodes + 1))
    walls = []
    for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
        update = NodeUpdate(names, addresses=(address,) * UPDATED)
        walls.append((await _watched(partial(calls.update_nodes, update))).wall_s)
    return Row(f"slurm/{way}/update-5000-nodes", round(statistics.median(walls) * 1000, 1), "ms", nodes)


@dataclass(frozen=True, slots=True)
class _Watched:
    """One call, in seconds."""

    wall_s: float
    cpu_s: float
    late_s: list[float]
    """By how much a task that sleeps a millisecond woke late."""
    own_s: list[float]
    """CPU time of this process while it slept."""


async def _watched(call: Callable[[], Awaitable[None]]) -> _Watched:
    late: list[float] = []
    own: list[float] = []

    async def sleep() -> None:
        while True:
            began, cpu = time.perf_counter(), time.process_time()
            await asyncio.sleep(_TICK_S)
            late.append(time.perf_counter() - began - _TICK_S)
            own.append(time.process_time() - cpu)

    sleeping = asyncio.create_task(sleep())
    began, cpu = time.perf_counter(), time.process_time()
    await call()
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    await asyncio.sleep(2 * _TICK_S)
    sleeping.cancel()
    return _Watched(wall_s, cpu_s, late, own)


def _p99_ms(seconds: list[float]) -> float:
    return round(statistics.quantiles(seconds, n=100)[98] * 1000, 2)


@asynccontextmanager
async def _slurm(folder: Path, nodes: int) -> AsyncIterator[RealSlurm]:
    """A slurmctld with so many nodes, on some of which jobs wait for slurmd."""
    settings = {**FAST, "ResumeTimeout": "3600", "ResumeProgram": "/bin/true", "SuspendProgram": "/bin/true"}
    settings["SchedulerParameters"] += ",default_queue_depth=10000"
    part = f"NodeName=q1-dy-c5-[1-{nodes}] CPUs=2 State=CLOUD\nPartitionName=q1 Nodes=ALL Default=YES\n"
    with PortReservation.take(64) as ports:
        slurm = RealSlurm(SlurmControl(folder, ports=ports.slurm))
        slurm.control.write_conf(part, "".join(f"{key}={value}\n" for key, value in settings.items()))
        try:
            await slurm.control.start()
            await slurm.submit(1, extra=(f"--array=1-{JOBS}",))

            async def all_wait() -> bool:
                shown = await slurm.control.run("squeue", "-h", "-t", "CF,R", "-o", "%i")
                return len(shown.split()) == JOBS

            await until(all_wait, "the jobs have nodes", deadline_s=120)
            yield slurm
        finally:
            await slurm.close()
