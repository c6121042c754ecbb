"""A real slurmctld runs the hooks: it accepts the programs, and what it hands them is understood."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import resume_suspend
from clustermgtd.adapters.system.loop_clock import LoopClock
from clustermgtd.intake.hooks import HookServer, HookServerSettings
from clustermgtd.lab.slurm import SlurmControl
from clustermgtd.lab.slurm_files import PortReservation
from clustermgtd.model.ids import JobId, NodeName
from clustermgtd.ports.hint_sink import HintKind
from resume_suspend.programs import write_programs
from tests.fakes.hint_sink import FakeSink
from tests.fakes.waiting import until

pytestmark = pytest.mark.slurm


@dataclass(frozen=True)
class Opened:
    reason: str


class Gate:
    """Remembers who came; opens when the test says so."""

    def __init__(self) -> None:
        self.came: list[tuple[JobId, tuple[NodeName, ...]]] = []
        self.waiting = 0
        self.opened = asyncio.Event()

    async def wait(self, job_id: JobId, nodes: Sequence[NodeName]) -> Opened:
        self.came.append((job_id, tuple(nodes)))
        self.waiting += 1
        try:
            await self.opened.wait()
        finally:
            self.waiting -= 1
        return Opened("ready")


class Site:
    """A slurmctld with three cloud nodes that calls our programs, and the daemon's side of the hooks."""

    def __init__(self, root: Path, slurm: SlurmControl) -> None:
        self.root = root
        self.slurm = slurm
        self.sink = FakeSink()
        self.gate = Gate()

    def write_conf(self) -> None:
        environment = {
            "CLUSTERMGTD_SOCKET": str(self.root / "hooks.sock"),
            "CLUSTERMGTD_SPOOL": str(self.root / "hooks"),
        }
        package_root = Path(resume_suspend.__file__).parent.parent
        programs = write_programs(self.root / "programs", Path(sys.executable), package_root, environment)
        ports = self.slurm.ports
        self.slurm.write_conf(
            f"NodeName=q1-dy-c5-[1-3] CPUs=1 State=CLOUD NodeAddr=127.0.0.1 "
            f"Port=[{ports.first_node}-{ports.first_node + 2}]\n"
            "PartitionName=q1 Nodes=q1-dy-c5-[1-3] Default=YES State=UP\n",
            f"""\
ResumeProgram={programs["resume"]}
SuspendProgram={programs["suspend"]}
ResumeFailProgram={programs["resume_fail"]}
PrologSlurmctld={programs["start_gate"]}
ResumeTimeout=600
SuspendTimeout=5
SuspendTime=3600
ResumeRate=0
SuspendRate=0
SlurmctldParameters=idle_on_node_suspend,power_save_interval=1,power_save_min_interval=0
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0
""",
        )

    @contextlib.asynccontextmanager
    async def daemon(self) -> AsyncIterator[None]:
        settings = HookServerSettings(
            self.root / "hooks.sock", self.root / "hooks", frozenset({os.getuid()}), spool_poll_s=0.2
        )
        server = HookServer(settings, self.sink, self.gate, LoopClock())
        running = asyncio.create_task(server.run())
        try:
            await asyncio.wait_for(server.listening.wait(), 10)
            yield
        finally:
            running.cancel()
            await asyncio.wait({running})

    async def submit(self) -> JobId:
        said = await self.slurm.run("sbatch", "--parsable", "-N3", "-o/dev/null", "--wrap", "true")
        return JobId(int(said))

    async def job_state(self, job_id: JobId) -> str:
        return (await self.slurm.run("squeue", "-h", "-j", str(job_id), "-o", "%T %r")).strip()

    def hinted(self, kind: HintKind) -> bool:
        return any(hint.kind is kind for hint in self.sink.hints)


def play(story: Callable[[Site], Awaitable[None]]) -> None:
    async def run() -> None:
        with TemporaryDirectory(prefix="slurm") as root, PortReservation.take(4) as ports:
            os.chmod(root, 0o755)  # noqa: PTH101 -- slurmctld may run as another user
            slurm = SlurmControl(Path(root) / "slurm", ports=ports.slurm)
            site = Site(Path(root), slurm)
            (site.root / "hooks").mkdir()
            site.write_conf()
            await slurm.start()
            try:
                await story(site)
                assert "not configured" not in slurm.paths.controller_log.read_text()
            finally:
                await slurm.stop()

    asyncio.run(run())


def test_slurmctld_calls_the_programs_and_their_requests_arrive() -> None:
    async def story(site: Site) -> None:
        async with site.daemon():
            job_id = await site.submit()
            await until(lambda: site.hinted(HintKind.RESUME))
            (hint,) = site.sink.hints
            nodes = ("q1-dy-c5-1", "q1-dy-c5-2", "q1-dy-c5-3")
            assert hint.nodes == nodes
            assert hint.note == ""
            assert [(job.id, job.nodes) for job in hint.jobs] == [(job_id, nodes)]

            await until(lambda: site.gate.waiting == 1)
            assert site.gate.came == [(job_id, nodes)]
            assert (await site.job_state(job_id)).startswith("CONFIGURING")

            await site.slurm.run("scancel", str(job_id))
            site.gate.opened.set()
            await until(lambda: site.gate.waiting == 0)
            await site.slurm.run("scontrol", "update", "nodename=q1-dy-c5-[1-3]", "state=down", "reason=test")
            await site.slurm.run("scontrol", "update", "nodename=q1-dy-c5-[1-3]", "state=power_down")
            await until(lambda: site.hinted(HintKind.SUSPEND))

    play(story)


def test_what_slurmctld_asks_while_no_daemon_runs_waits_in_the_spool() -> None:
    async def story(site: Site) -> None:
        job_id = await site.submit()
        await until(lambda: any((site.root / "hooks").glob("*.json")))
        async with site.daemon():
            await until(lambda: site.hinted(HintKind.RESUME))
            site.sink.store()
        assert site.sink.hints[0].jobs[0].id == job_id
        assert list((site.root / "hooks").glob("*.json")) == []

    play(story)
