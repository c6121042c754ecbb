"""Nodes and partitions that come and go while jobs run: what docs/how-to/update.md relies on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from clustermgtd.lab.slurm import SlurmCommandError
from clustermgtd.lab.slurm_files import on_loopback, slurm_release
from clustermgtd.model.ids import JobId
from tests.slurm_fixtures import RealSlurm, running_slurm, slurm_folder, until

__all__ = ["slurm_folder"]

pytestmark = pytest.mark.slurm

SMALL = """\
NodeName=n[1-4] CPUs=2 State=CLOUD
PartitionName=q1 Nodes=n[1-4] Default=YES
"""
GROWN = """\
NodeName=n[1-4] CPUs=2 State=CLOUD
NodeName=n[5-6] CPUs=2 State=CLOUD
NodeName=m1 CPUs=2 State=CLOUD
PartitionName=q1 Nodes=n[1-6] Default=YES
PartitionName=q2 Nodes=m1
"""
TAKES_NODES = slurm_release() >= (23, 11)
"""`scontrol reconfigure` adds and removes nodes."""


class Stand:
    def __init__(self, slurm: RealSlurm) -> None:
        self.slurm = slurm
        self.run = slurm.control.run

    def describe(self, node_part: str) -> None:
        """Write other nodes and partitions into slurm.conf."""
        conf = self.slurm.control.paths.conf
        kept = [line for line in conf.read_text().splitlines() if not line.startswith(("NodeName=", "PartitionName="))]
        conf.write_text("\n".join([*kept, on_loopback(node_part, self.slurm.control.ports.first_node)]) + "\n")

    async def take_over(self, node_part: str) -> None:
        """As an operator does: reconfigure where that is enough, else restart slurmctld."""
        self.describe(node_part)
        if TAKES_NODES:
            await self.run("scontrol", "reconfigure")
        else:
            await self.slurm.control.restart_controller()

    async def states(self) -> dict[str, str]:
        """`sinfo`'s state of each node."""
        try:
            said = await self.run("sinfo", "-h", "-a", "-N", "-o", "%N %T")
        except SlurmCommandError:  # slurmctld is being replaced by itself
            return {}
        return dict(line.split() for line in said.splitlines())

    async def job(self, job: JobId) -> str:
        said = await self.run("scontrol", "-o", "show", "job", str(job))
        return said.partition(" JobState=")[2].split()[0]

    async def until_state(self, node: str, *states: str) -> None:
        async def is_there() -> bool:
            return (await self.states()).get(node) in states

        await until(is_there, f"{node} is {' or '.join(states)}")

    async def until_job(self, job: JobId, state: str) -> None:
        async def is_there() -> bool:
            return await self.job(job) == state

        await until(is_there, f"job {job} is {state}")

    async def up(self, *nodes: str) -> None:
        await self.run("scontrol", "update", f"NodeName={','.join(nodes)}", "State=POWER_UP")
        for node in nodes:
            await self.until_state(node, "idle#")
        await self.slurm.boot(*nodes)
        for node in nodes:
            await self.until_state(node, "idle")


def play(folder: Path, story: Callable[[Stand], Awaitable[None]], node_part: str = SMALL) -> None:
    async def run() -> None:
        async with running_slurm(folder, node_part=node_part) as slurm:
            await story(Stand(slurm))

    asyncio.run(run())


def test_nodes_and_a_partition_come_while_a_job_runs_and_serve_jobs(slurm_folder: Path) -> None:
    async def story(stand: Stand) -> None:
        await stand.up("n1", "n2")
        job = await stand.slurm.submit(1, seconds=300, extra=("-w", "n1"))
        await stand.until_job(job, "RUNNING")
        await stand.run("scontrol", "update", "NodeName=n4", "State=DRAIN", "Reason=maintenance")
        await stand.take_over(GROWN)
        await stand.until_state("m1", "idle~")
        assert await stand.states() == {
            "m1": "idle~",
            "n1": "allocated",
            "n2": "idle",
            "n3": "idle~",
            "n4": "drained~",
            "n5": "idle~",
            "n6": "idle~",
        }
        await stand.up("n5", "m1")
        other = await stand.slurm.submit(1, seconds=0, extra=("-p", "q2"))
        # n2's slurmd read slurm.conf before n5 was in it
        both = await stand.run(
            *("sbatch", "--parsable", "-N2", "-w", "n2,n5", "-o", str(slurm_folder / "steps")),
            *("--wrap", "srun -N2 -n2 echo stepped"),
        )
        await stand.until_job(other, "COMPLETED")
        await stand.until_job(JobId(int(both)), "COMPLETED")
        assert (slurm_folder / "steps").read_text().split() == ["stepped", "stepped"]
        assert await stand.job(job) == "RUNNING"

    play(slurm_folder, story)


def test_nodes_go_while_a_job_runs_on_others(slurm_folder: Path) -> None:
    async def story(stand: Stand) -> None:
        await stand.up("n1", "n5")
        job = await stand.slurm.submit(1, seconds=300, extra=("-w", "n1"))
        await stand.until_job(job, "RUNNING")
        await stand.take_over(SMALL)
        await stand.until_state("n1", "allocated")
        assert set(await stand.states()) == {"n1", "n2", "n3", "n4"}
        assert await stand.job(job) == "RUNNING"

    play(slurm_folder, story, GROWN)


def test_a_job_ends_when_its_node_or_its_partition_goes_running_or_not(slurm_folder: Path) -> None:
    async def story(stand: Stand) -> None:
        later = "--begin=now+1hour"
        await stand.up("n5")
        running = await stand.slurm.submit(1, seconds=300, extra=("-w", "n5"))
        await stand.until_job(running, "RUNNING")
        named = await stand.slurm.submit(1, extra=("-w", "n6", later))
        elsewhere = await stand.slurm.submit(1, extra=("-p", "q2", later))
        either = await stand.slurm.submit(1, extra=("-p", "q1,q2", later))
        large = await stand.slurm.submit(5, extra=(later,))
        await stand.take_over(SMALL)
        await stand.until_state("n1", "idle~")
        states = [await stand.job(job) for job in (running, named, elsewhere, either, large)]
        ended_too = "PENDING" if slurm_release() >= (26, 5) else "NODE_FAIL"
        assert states == ["NODE_FAIL", "NODE_FAIL", "NODE_FAIL", ended_too, "PENDING"]

    play(slurm_folder, story, GROWN)


@pytest.mark.skipif(TAKES_NODES, reason="from Slurm 23.11 on, scontrol reconfigure takes nodes over")
def test_before_23_11_a_reconfiguration_with_other_nodes_ends_slurmctld(slurm_folder: Path) -> None:
    async def story(stand: Stand) -> None:
        stand.describe(GROWN)
        with pytest.raises(SlurmCommandError):
            await stand.run("scontrol", "reconfigure")
        assert "MaxNodeCount has changed" in stand.slurm.log()
        assert await stand.states() == {}

    play(slurm_folder, story)
