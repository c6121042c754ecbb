"""One contract for plain data, and for a real slurmctld by the command line and by pyslurm."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest

from clustermgtd.adapters.slurm.broker_client import BrokerClient
from clustermgtd.adapters.slurm.command_line import CommandLine
from clustermgtd.adapters.slurm.pyslurm_calls import PyslurmCalls
from clustermgtd.adapters.slurm.scheduler import SlurmScheduler
from clustermgtd.lab.slurm_files import find_program
from clustermgtd.model.ids import JobId
from clustermgtd.ports.scheduler import Scheduler
from tests.fakes.scheduler import FakeScheduler
from tests.pyslurm_fixtures import SKIPPED, has_pyslurm, kept_broker, real_launch
from tests.slurm_fixtures import RealSlurm, running_slurm, slurm_folder, until

__all__ = ["slurm_folder"]

NODES = [*(f"q1-dy-c5-{n}" for n in range(1, 7)), "q1-st-c5-1"]


class Rig(Protocol):
    """A Slurm with the nodes `NODES`, and what users, nodes and time may do to it."""

    scheduler: Scheduler

    async def submit(self, size: int, account: str = "", minutes: int | None = None) -> JobId:
        """`minutes` is the time limit; None is no limit."""
        ...

    def now(self) -> float:
        """The time that reservations are made in."""
        ...

    async def cancel(self, job: JobId) -> None: ...

    async def comment(self, job: JobId, text: str) -> None:
        """An operator writes an AdminComment."""
        ...

    async def comment_of(self, job: JobId) -> str: ...

    async def boot(self, *nodes: str) -> None: ...

    async def kill(self, node: str) -> None: ...

    async def calls(self, program: str) -> list[str]:
        """Hostlists with which Slurm called `resume`, `suspend` or `fail`."""
        ...

    async def called_unresolvable_names(self) -> bool:
        """slurmctld tried to call a node whose address it could not resolve."""
        ...

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str) -> None: ...


RigFactory = Callable[..., AbstractAsyncContextManager[Rig]]


class FakeRig:
    def __init__(self, resume_timeout_s: float) -> None:
        self.fake = FakeScheduler(NODES, resume_timeout_s=resume_timeout_s)
        self.scheduler: Scheduler = self.fake

    async def submit(self, size: int, account: str = "", minutes: int | None = None) -> JobId:
        limit_s = float("inf") if minutes is None else minutes * 60.0
        return self.fake.submit(size, account=account, limit_s=limit_s)

    def now(self) -> float:
        return self.fake.now

    async def cancel(self, job: JobId) -> None:
        self.fake.cancel(job)

    async def comment(self, job: JobId, text: str) -> None:
        self.fake.admin_comments[job] = text

    async def comment_of(self, job: JobId) -> str:
        return self.fake.admin_comments.get(job, "")

    async def boot(self, *nodes: str) -> None:
        self.fake.boot(*nodes)

    async def kill(self, node: str) -> None:
        self.fake.kill(node)

    async def calls(self, program: str) -> list[str]:
        return [names for called, names in self.fake.calls if called == program]

    async def called_unresolvable_names(self) -> bool:
        return bool(self.fake.unresolved)

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        for _ in range(100):
            if await condition():
                return
            self.fake.advance(0.5)
        raise AssertionError(f"never: {what}")


class RealRig:
    def __init__(self, slurm: RealSlurm, scheduler: Scheduler) -> None:
        self.slurm = slurm
        self.scheduler = scheduler

    async def submit(self, size: int, account: str = "", minutes: int | None = None) -> JobId:
        options = {"--account": account, "--time": "" if minutes is None else str(minutes)}
        return await self.slurm.submit(size, extra=tuple(f"{key}={value}" for key, value in options.items() if value))

    def now(self) -> float:
        return time.time()

    async def cancel(self, job: JobId) -> None:
        await self.slurm.control.run("scancel", str(job))

    async def comment(self, job: JobId, text: str) -> None:
        await self.slurm.control.run("scontrol", "update", f"JobId={job}", f"AdminComment={text}")

    async def comment_of(self, job: JobId) -> str:
        said = await self.slurm.control.run("scontrol", "-o", "show", "job", str(job))
        return said.partition(" AdminComment=")[2].partition(" StdErr=")[0].strip()

    async def boot(self, *nodes: str) -> None:
        await self.slurm.boot(*nodes)

    async def kill(self, node: str) -> None:
        await self.slurm.kill(node)

    async def calls(self, program: str) -> list[str]:
        return await self.slurm.powered(program)

    async def called_unresolvable_names(self) -> bool:
        return "getaddrinfo() failed" in self.slurm.log()

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        await until(condition, what)


class BrokerAlone(PyslurmCalls):
    """An operation that the pyslurm does not offer fails; only AdminComment is the command line's, as in production."""

    def __init__(self, client: BrokerClient, command_line: CommandLine) -> None:
        super().__init__(client)
        self._command_line = command_line

    async def admin_comment(self, job: JobId) -> str | None:
        return await self._command_line.admin_comment(job)

    async def set_admin_comment(self, job: JobId, text: str) -> None:
        await self._command_line.set_admin_comment(job, text)


@asynccontextmanager
async def pyslurm_scheduler(conf_file: Path) -> AsyncIterator[Scheduler]:
    """By a broker that serves."""
    async with kept_broker(real_launch(conf_file)) as (client, _):
        if client.last_error is not None:
            raise client.last_error
        yield SlurmScheduler(BrokerAlone(client, command_line(conf_file)))


def command_line(conf_file: Path) -> CommandLine:
    """The installed programs."""
    return CommandLine(Path(find_program("scontrol")).parent, conf_file, deadline_s=20)


@pytest.fixture(
    params=[
        "fake",
        pytest.param("command-line", marks=pytest.mark.slurm),
        pytest.param("pyslurm", marks=[pytest.mark.slurm, pytest.mark.skipif(not has_pyslurm(), reason=SKIPPED)]),
    ]
)
def rig(request: pytest.FixtureRequest) -> RigFactory:
    """`async with rig() as slurm:`; node names do not resolve, as on a head node."""

    @asynccontextmanager
    async def start(resume_timeout_s: int = 60) -> AsyncIterator[Rig]:
        if request.param == "fake":
            yield FakeRig(resume_timeout_s)
            return
        folder = request.getfixturevalue("slurm_folder")
        async with running_slurm(folder, address="", ResumeTimeout=str(resume_timeout_s)) as slurm:
            conf_file = slurm.control.paths.conf
            if request.param == "pyslurm":
                async with pyslurm_scheduler(conf_file) as scheduler:
                    yield RealRig(slurm, scheduler)
                return
            yield RealRig(slurm, SlurmScheduler(command_line(conf_file)))

    return start


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A skipped half of the contract is not to be overlooked."""
    if not has_pyslurm():
        terminalreporter.write_line(f"SKIPPED: {SKIPPED}", yellow=True)
