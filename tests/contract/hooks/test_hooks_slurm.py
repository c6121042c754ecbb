"""A real slurmctld runs the hooks: it accepts the programs, and what it hands them is understood."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import resume_suspend
from clustermgtd.adapters.slurm.command_line import CommandLine
from clustermgtd.adapters.slurm.scheduler import SlurmScheduler
from clustermgtd.adapters.system.loop_clock import LoopClock
from clustermgtd.intake.hooks import HookServer, HookServerSettings
from clustermgtd.lab.slurm_files import find_program
from clustermgtd.model.ids import JobId
from clustermgtd.ports.hint_sink import HintKind
from clustermgtd.reconcile.start_gate import StartGate
from resume_suspend.programs import write_programs
from tests.fakes.hint_sink import FakeSink, RecordingObserver
from tests.fakes.waiting import until
from tests.slurm_fixtures import RealSlurm, running_slurm, slurm_folder

__all__ = ["slurm_folder"]

pytestmark = pytest.mark.slurm

NODES = ("q1-dy-c5-1", "q1-dy-c5-2", "q1-dy-c5-3")


class Site:
    """A slurmctld that calls our programs, and the daemon's side of the hooks."""

    def __init__(self, folder: Path, slurm: RealSlurm) -> None:
        self.folder = folder
        self.slurm = slurm
        self.sink = FakeSink()
        self.observer = RecordingObserver()
        bin_dir = Path(find_program("scontrol")).parent
        scheduler = SlurmScheduler(CommandLine(bin_dir, slurm.control.paths.conf))
        self.gate = StartGate(scheduler, LoopClock(), 10, 600.0, lambda: None, 0.2)

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[None]:
        uids = frozenset({os.getuid()})
        settings = HookServerSettings(self.folder / "hooks.sock", self.folder / "hooks", uids, spool_poll_s=0.2)
        server = HookServer(settings, self.sink, self.gate, LoopClock(), self.observer)
        running = [asyncio.create_task(server.run()), asyncio.create_task(self.gate.run())]
        try:
            await asyncio.wait_for(server.listening.wait(), 10)
            yield
        finally:
            for task in running:
                task.cancel()
            await asyncio.wait(running)

    async def submit(self) -> JobId:
        return await self.slurm.submit(3, seconds=0, extra=(f"--nodelist={','.join(NODES)}",))

    async def job_state(self, job_id: JobId) -> str:
        return (await self.slurm.control.run("squeue", "-h", "-t", "all", "-j", str(job_id), "-o", "%T")).strip()

    async def update(self, state: str) -> None:
        await self.slurm.control.run(
            "scontrol", "update", f"nodename={','.join(NODES)}", f"state={state}", "reason=test"
        )

    def hinted(self, kind: HintKind) -> bool:
        return any(hint.kind is kind for hint in self.sink.hints)

    def spooled(self) -> list[Path]:
        return sorted((self.folder / "hooks").glob("*.json"))


def play(folder: Path, story: Callable[[Site], Awaitable[None]]) -> None:
    (folder / "hooks").mkdir()
    environment = {"CLUSTERMGTD_SOCKET": str(folder / "hooks.sock"), "CLUSTERMGTD_SPOOL": str(folder / "hooks")}
    package_root = Path(resume_suspend.__file__).parent.parent
    programs = write_programs(folder / "programs", Path(sys.executable), package_root, environment)

    async def run() -> None:
        async with running_slurm(
            folder,
            ResumeProgram=str(programs["resume"]),
            SuspendProgram=str(programs["suspend"]),
            ResumeFailProgram=str(programs["resume_fail"]),
            PrologSlurmctld=str(programs["start_gate"]),
            ResumeTimeout="600",
        ) as slurm:
            await story(Site(folder, slurm))

    asyncio.run(run())


def test_slurmctld_calls_the_programs_and_a_job_goes_through_the_gate(slurm_folder: Path) -> None:
    async def story(site: Site) -> None:
        async with site.daemon():
            job_id = await site.submit()
            await until(lambda: site.hinted(HintKind.RESUME))
            (hint,) = site.sink.hints
            assert hint.nodes == NODES
            assert hint.note == ""
            assert hint.jobs == (job_id,)

            await until(lambda: site.gate.waiting == 1)
            await site.slurm.boot(*NODES[:2])
            await asyncio.sleep(1)
            assert site.gate.waiting == 1, "one node is missing"
            assert await site.job_state(job_id) == "CONFIGURING"
            await site.slurm.boot(NODES[2])
            await until(
                lambda: f"prolog_running_decr: Configuration for JobId={job_id} is complete" in site.slurm.log()
            )
            assert site.gate.waiting == 0

            await site.update("power_down")
            await until(lambda: site.hinted(HintKind.SUSPEND))
        assert site.observer.refused == []

    play(slurm_folder, story)


@pytest.mark.parametrize("command", [["scontrol", "requeue"], ["scancel"]], ids=["requeued", "cancelled"])
def test_the_gate_forgets_a_job_that_is_requeued_or_cancelled(slurm_folder: Path, command: list[str]) -> None:
    async def story(site: Site) -> None:
        async with site.daemon():
            job_id = await site.submit()
            await until(lambda: site.gate.waiting == 1)
            await site.slurm.control.run(*command, str(job_id))
            await until(lambda: site.gate.waiting == 0)

    play(slurm_folder, story)


def test_what_slurmctld_asks_while_no_daemon_runs_waits_in_the_spool(slurm_folder: Path) -> None:
    async def story(site: Site) -> None:
        job_id = await site.submit()
        await until(lambda: bool(site.spooled()))
        async with site.daemon():
            await until(lambda: site.hinted(HintKind.RESUME))
            site.sink.store()
        assert site.sink.hints[0].jobs == (job_id,)
        assert site.spooled() == []

    play(slurm_folder, story)
