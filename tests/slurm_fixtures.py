"""A real slurmctld for tests, with slurmd where a test wants a node to boot. Everything ends with the test."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from clustermgtd.lab.leftovers import LAB_MARKER, end_all
from clustermgtd.lab.processes import die_with_parent, end_process
from clustermgtd.lab.slurm import SlurmControl
from clustermgtd.lab.slurm_files import PortReservation, last_lines, on_loopback
from clustermgtd.model.ids import JobId

NODE_PART = """\
NodeName=q1-dy-c5-[1-6] CPUs=2 State=CLOUD
NodeName=q1-st-c5-1 CPUs=2 State=CLOUD Weight=1000
PartitionName=q1 Nodes=ALL Default=YES
"""
FAST = {
    "SlurmctldParameters": "idle_on_node_suspend,cloud_reg_addrs,power_save_interval=1,power_save_min_interval=0",
    "SchedulerParameters": "batch_sched_delay=0,sched_min_interval=0,sched_interval=1",
    "SuspendTime": "600",
    "SuspendTimeout": "1",
    "ResumeTimeout": "60",
    "ResumeRate": "0",
    "SuspendRate": "0",
}
"""The fastest reactions that Slurm offers."""


_POWER_SAVE_PASS_S = 1.1


class RealSlurm:
    """A running slurmctld and the nodes that a test booted."""

    def __init__(self, control: SlurmControl) -> None:
        self.control = control
        self._booted: dict[str, asyncio.subprocess.Process] = {}

    async def submit(self, size: int, *, seconds: int = 60, extra: tuple[str, ...] = ()) -> JobId:
        """A batch job over whole nodes, whose processes `close` finds, suspended ones too."""
        marker = f"--export=ALL,{LAB_MARKER}={self.control.paths.folder}"
        argv = ("sbatch", "--parsable", "--exclusive", f"-N{size}", "-o", "/dev/null", marker, *extra)
        said = await self.control.run(*argv, f"--wrap=sleep {seconds}", stdin="")
        return JobId(int(said.strip()))

    async def boot(self, *nodes: str) -> None:
        """Start the nodes' slurmd, not before ResumeProgram was called for them, as an instance does.

        A slurmd that starts in an earlier second than the power-up never makes its node ready: slurmctld compares whole
        seconds, and its power-saving pass comes up to a second after the state is shown.
        """
        await asyncio.sleep(_POWER_SAVE_PASS_S)
        folder = self.control.paths.folder
        for node in nodes:
            self._booted[node] = await asyncio.create_subprocess_exec(
                *self.control.slurmd_argv(node),
                env={**self.control.environment(), LAB_MARKER: str(folder)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                preexec_fn=die_with_parent(),
            )

    async def kill(self, node: str) -> None:
        """End a node's slurmd without a word."""
        await end_process(self._booted.pop(node), 0)

    async def powered(self, word: str) -> list[str]:
        """Arguments of the calls of the `resume`, `suspend` or `fail` program so far."""
        calls = self.control.paths.folder / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        return [line.partition(" ")[2] for line in lines if line.startswith(f"{word} ")]

    def log(self) -> str:
        return self.control.paths.controller_log.read_text(errors="replace")

    def last_words(self) -> str:
        """The ends of its logs."""
        logs = sorted(self.control.paths.controller_log.parent.glob("*.log"))
        return "\n".join(f"{log.name}:\n{last_lines(log)}" for log in logs)

    async def close(self) -> None:
        for node in list(self._booted):
            await self.kill(node)
        await self.control.stop()
        await asyncio.to_thread(end_all, self.control.paths.folder)


@asynccontextmanager
async def running_slurm(
    folder: Path, *, node_part: str = NODE_PART, address: str = "127.0.0.1", **settings: str
) -> AsyncIterator[RealSlurm]:
    """A slurmctld whose power programs write down their calls. `address` empty: node names that do not resolve."""
    programs = {}
    for setting, word in (("ResumeProgram", "resume"), ("SuspendProgram", "suspend"), ("ResumeFailProgram", "fail")):
        program = folder / word
        program.write_text(f'#!/bin/sh\necho "{word} $1" >> {folder}/calls\n')
        program.chmod(0o755)
        programs[setting] = str(program)
    ports_wanted = 1 + sum(1 for _ in node_part.splitlines()) * 64
    with PortReservation.take(ports_wanted) as ports:
        slurm = RealSlurm(SlurmControl(folder, ports=ports.slurm))
        extra = "".join(f"{key}={value}\n" for key, value in {**FAST, **programs, **settings}.items())
        slurm.control.write_conf(on_loopback(node_part, ports.slurm.first_node, address=address), extra)
        try:
            await slurm.control.start()
            yield slurm
        except AssertionError as error:
            error.add_note(slurm.last_words())
            raise
        finally:
            await slurm.close()


@pytest.fixture
def slurm_folder() -> Iterator[Path]:
    """A folder with a short path (munge's socket) that is gone after the test."""
    if shutil.which("scontrol") is None:
        pytest.skip("Slurm is not installed")
    folder = Path(tempfile.mkdtemp(prefix="clustermgtd-slurm-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


async def until(condition: Callable[[], Awaitable[bool]], what: str, *, deadline_s: float = 120.0) -> None:
    """Poll until it is so; a test that waits in vain says for what."""
    give_up_at = time.monotonic() + deadline_s
    while not await condition():
        assert time.monotonic() < give_up_at, f"not within {deadline_s:g} s: {what}"
        await asyncio.sleep(0.1)
