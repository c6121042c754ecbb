"""A head node as far as hooks see it: folders, programs, and a daemon's socket that comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import resume_suspend
from clustermgtd.adapters.system.loop_clock import LoopClock
from clustermgtd.intake.hooks import HookServer, HookServerSettings
from clustermgtd.model.ids import JobId, NodeName
from resume_suspend.programs import write_programs
from tests.fakes.hint_sink import FakeSink

PACKAGE_ROOT = Path(resume_suspend.__file__).parent.parent
EVERY_HOOK = ("resume", "suspend", "resume_fail")
DEADLINE_S = 20.0


@dataclass(frozen=True)
class Ended:
    status: int
    errors: str


@dataclass(frozen=True)
class Opened:
    reason: str


class Gate:
    """Opens when the test says so."""

    def __init__(self) -> None:
        self.waiting = 0
        self.opened = asyncio.Event()

    async def wait(self, job_id: JobId, nodes: Sequence[NodeName]) -> Opened:
        assert job_id == 7
        assert nodes == ("q1-dy-c5-1", "q1-dy-c5-2")
        self.waiting += 1
        try:
            await self.opened.wait()
        finally:
            self.waiting -= 1
        return Opened("ready")


class Site:
    """A head node's folders and the programs that its slurm.conf names."""

    def __init__(self, root: Path) -> None:
        self.socket = root / "hooks.sock"
        self.spool = root / "spool"
        self.spool.mkdir()
        self.sink = FakeSink()
        self.gate = Gate()
        environment = {"CLUSTERMGTD_SOCKET": str(self.socket), "CLUSTERMGTD_SPOOL": str(self.spool)}
        self.environment = environment
        self.programs = write_programs(root / "a folder", Path(sys.executable), PACKAGE_ROOT, environment)

    @contextlib.asynccontextmanager
    async def daemon(self) -> AsyncIterator[None]:
        settings = HookServerSettings(self.socket, self.spool, frozenset({os.getuid()}), spool_poll_s=0.05)
        server = HookServer(settings, self.sink, self.gate, LoopClock())
        running = asyncio.create_task(server.run())
        try:
            await asyncio.wait_for(server.listening.wait(), DEADLINE_S)
            yield
        finally:
            running.cancel()
            await asyncio.wait({running})

    @contextlib.asynccontextmanager
    async def started(
        self, program: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """A program in an environment as bare as slurmctld's."""
        process = await asyncio.create_subprocess_exec(
            self.programs[program],
            *arguments,
            env=environment or {},
            cwd="/",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def run(self, program: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Ended:
        async with self.started(program, *arguments, environment=environment) as process:
            return await ended(process)

    def spooled(self) -> list[Path]:
        return sorted(self.spool.glob("*.json"))


async def ended(process: asyncio.subprocess.Process) -> Ended:
    _, errors = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode is not None
    return Ended(process.returncode, errors.decode())


def play(story: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(story())


def write_resume_file(folder: Path, content: object) -> dict[str, str]:
    path = folder / "resume.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return {"SLURM_RESUME_FILE": str(path)}
