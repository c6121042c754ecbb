"""How the installed slurmctld lets idle nodes go: what `clustermgtd.decide.idle` relies on."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import pytest

from clustermgtd.adapters.slurm.command_line import CommandLine
from clustermgtd.adapters.slurm.scheduler import SlurmScheduler
from clustermgtd.lab.slurm_files import find_program
from clustermgtd.model.ids import NodeName
from clustermgtd.model.node import Node, NodeBase, NodeFlag
from clustermgtd.settings.slurm_conf import NEVER_SUSPEND_S
from tests.slurm_fixtures import RealSlurm, running_slurm, slurm_folder, until

__all__ = ["slurm_folder"]

pytestmark = pytest.mark.slurm

NODE_PART = f"""\
NodeName=n[1-8] CPUs=2 State=CLOUD
NodeName=both CPUs=2 State=CLOUD
NodeName=short CPUs=2 State=CLOUD
PartitionName=q1 Nodes=n[1-8] Default=YES SuspendTime={NEVER_SUSPEND_S}
PartitionName=q2 Nodes=both,short SuspendTime=3
PartitionName=q3 Nodes=both SuspendTime={NEVER_SUSPEND_S}
"""
F = NodeFlag


class Stand:
    def __init__(self, slurm: RealSlurm) -> None:
        self.slurm = slurm
        self.run = slurm.control.run
        self.scheduler = SlurmScheduler(CommandLine(Path(find_program("scontrol")).parent, slurm.control.paths.conf))

    async def node(self, name: str) -> Node:
        return (await self.scheduler.some_nodes([NodeName(name)]))[NodeName(name)]

    async def power_down(self, name: str) -> None:
        await self.scheduler.power_down([NodeName(name)])

    async def up(self, *names: str) -> None:
        await self.scheduler.power_up([NodeName(name) for name in names])
        for name in names:
            await self.until(name, "powering up", lambda node: node.is_powering_up)
        await self.slurm.boot(*names)
        for name in names:
            await self.until(name, "up", lambda node: node.is_up)

    async def until(self, name: str, what: str, test) -> None:  # type: ignore[no-untyped-def]
        async def condition() -> bool:
            return bool(test(await self.node(name)))

        await until(condition, f"{name} is {what}")

    async def state_of(self, job: int) -> str:
        return (await self.run("squeue", "-h", "-a", "-j", str(job), "-o", "%T")).strip()


def play(folder: Path, story) -> None:  # type: ignore[no-untyped-def]
    async def run() -> None:
        epilog = folder / "epilog"
        epilog.write_text(f"#!/bin/sh\nwhile [ -e {folder}/hold ]; do sleep 0.1; done\n")
        epilog.chmod(0o755)
        async with running_slurm(
            folder, node_part=NODE_PART, SuspendTime="3", SuspendTimeout="2", Epilog=str(epilog)
        ) as slurm:
            await story(Stand(slurm))

    asyncio.run(run())


def test_a_node_idles_for_the_longest_suspend_time_of_its_partitions_whatever_the_clusters(slurm_folder: Path) -> None:
    async def story(stand: Stand) -> None:
        await stand.up("n1", "both", "short")
        await stand.until("short", "powered down", lambda node: node.is_powered_down)
        assert (await stand.node("n1")).is_up
        assert (await stand.node("both")).is_up

    play(slurm_folder, story)


def test_power_down_waits_for_the_job_that_got_the_node_before_it(slurm_folder: Path) -> None:
    async def story(stand: Stand) -> None:
        await stand.up("n1")
        job = await stand.slurm.submit(2, seconds=2, extra=("-w", "n1,n2"))
        await stand.until("n2", "powering up", lambda node: node.is_powering_up)
        await stand.power_down("n1")
        assert (await stand.node("n1")).flags == {F.CLOUD, F.POWER_DOWN}
        assert await stand.state_of(job) == "CONFIGURING"
        await stand.slurm.boot("n2")
        await until(lambda: _has_run(stand, job), "the job runs to its end", deadline_s=90)
        await stand.until("n1", "powered down", lambda node: node.is_powered_down)
        said = await stand.run("scontrol", "show", "job", str(job))
        assert "JobState=COMPLETED" in said
        assert "Restarts=0" in said

    play(slurm_folder, story)


async def _has_run(stand: Stand, job: int) -> bool:
    return await stand.state_of(job) == ""


def test_power_down_waits_for_a_job_that_is_being_cleaned_up(slurm_folder: Path) -> None:
    async def story(stand: Stand) -> None:
        await stand.up("n1")
        (slurm_folder / "hold").touch()
        await stand.slurm.submit(1, seconds=1, extra=("-w", "n1"))
        await stand.until("n1", "completing", lambda node: F.COMPLETING in node.flags)
        await stand.power_down("n1")
        await asyncio.sleep(4)
        assert (await stand.node("n1")).flags == {F.CLOUD, F.COMPLETING, F.POWER_DOWN}
        assert await stand.slurm.powered("suspend") == []
        (slurm_folder / "hold").unlink()
        await stand.until("n1", "powered down", lambda node: node.is_powered_down)

    play(slurm_folder, story)


def test_a_node_with_a_suspended_job_looks_idle(slurm_folder: Path) -> None:
    async def story(stand: Stand) -> None:
        await stand.up("n1")
        job = await stand.slurm.submit(1, seconds=300, extra=("-w", "n1"))
        await stand.until("n1", "allocated", lambda node: node.base is NodeBase.ALLOCATED)
        await stand.run("scontrol", "suspend", str(job))
        await stand.until("n1", "idle", lambda node: node.base is NodeBase.IDLE)
        view = await stand.scheduler.view()
        assert view.jobs[job].state == "SUSPENDED"
        assert view.jobs[job].nodes == ("n1",)
        await stand.power_down("n1")
        await asyncio.sleep(4)
        assert await stand.slurm.powered("suspend") == []

    play(slurm_folder, story)


def test_how_long_a_node_idles_is_not_forgotten_with_a_reconfiguration(slurm_folder: Path) -> None:
    async def story(stand: Stand) -> None:
        await stand.up("n1")
        idle_since = (await stand.node("n1")).last_busy_at
        assert time.time() - 60 < idle_since <= time.time()
        await asyncio.sleep(2)
        await stand.run("scontrol", "reconfigure")
        await stand.scheduler.power_up([NodeName("n1")])
        assert (await stand.node("n1")).last_busy_at == idle_since
        await stand.slurm.control.restart_controller()
        await stand.until("n1", "up", lambda node: node.is_up)
        print("after a restart:", (await stand.node("n1")).last_busy_at - idle_since, time.time() - idle_since)
        assert (await stand.node("n1")).last_busy_at >= idle_since

    play(slurm_folder, story)


def test_a_partition_s_suspend_time_cannot_be_updated(slurm_folder: Path) -> None:
    async def story(stand: Stand) -> None:
        shown = await stand.run("scontrol", "show", "partition", "q2")
        assert re.findall(r"SuspendTime=(\S+)", shown) == ["3"]
        with pytest.raises(Exception, match="not supported"):
            await stand.run("scontrol", "update", "PartitionName=q2", "SuspendTime=30")

    play(slurm_folder, story)
