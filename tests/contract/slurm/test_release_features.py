"""What not every release of Slurm has or does, where the daemon or the node agent meets it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from clustermgtd.adapters.slurm.capabilities import probe as probe_capabilities
from clustermgtd.adapters.slurm.command_line import CommandLine
from clustermgtd.adapters.slurm.scheduler import SlurmScheduler
from clustermgtd.lab.slurm import SlurmCommandError
from clustermgtd.lab.slurm_files import find_program, slurm_release
from clustermgtd.model.ids import NodeName
from clustermgtd.model.node import Node
from clustermgtd.node.slurmd import probe
from resume_suspend.resume_file import read_resume_file
from tests.slurm_fixtures import RealSlurm, running_slurm, slurm_folder, until

__all__ = ["slurm_folder"]

pytestmark = pytest.mark.slurm

Tell = Callable[[str, str], None]
NODE_PART = """\
NodeName=n[1-4] CPUs=2 State=CLOUD
NodeName=quick1 CPUs=2 State=CLOUD
PartitionName=q1 Nodes=n[1-4] Default=YES
PartitionName=q2 Nodes=quick1 SuspendTime=1 SuspendTimeout=2 ResumeTimeout=77
"""


class Stand:
    """A slurmctld with those nodes."""

    def __init__(self, slurm: RealSlurm) -> None:
        self.slurm = slurm
        self._scheduler = SlurmScheduler(CommandLine(Path(find_program("scontrol")).parent, slurm.control.paths.conf))

    async def node(self, name: str) -> Node:
        return (await self._scheduler.some_nodes([NodeName(name)]))[NodeName(name)]

    async def power_up(self, *names: str) -> None:
        await self._scheduler.power_up([NodeName(name) for name in names])
        await until(lambda: self.all_are(lambda node: node.is_powering_up, names), "powering up")

    async def up(self, *names: str) -> None:
        await self.power_up(*names)
        await self.slurm.boot(*names)
        await until(lambda: self.all_are(lambda node: node.is_up, names), "up")

    async def all_are(self, condition: Callable[[Node], bool], names: tuple[str, ...]) -> bool:
        return all([condition(await self.node(name)) for name in names])


def play(folder: Path, story: Callable[[Stand], Awaitable[None]], *, address: str = "127.0.0.1") -> None:
    async def run() -> None:
        async with running_slurm(folder, node_part=NODE_PART, address=address) as slurm:
            await story(Stand(slurm))

    asyncio.run(run())


def test_a_node_shows_its_instance_until_it_powers_down(slurm_folder: Path, record_property: Tell) -> None:
    """slurmd tells it when it registers. 26.05.5 as a rule does not listen to one that it has just powered up."""
    if not probe(find_program("slurmd")).takes_instance:
        pytest.skip("slurmd has no --instance-id")

    async def story(stand: Stand) -> None:
        await stand.power_up("n1")
        argv = stand.slurm.control.slurmd_argv
        told = ["--instance-id=i-0abc", "--instance-type=c5.large"]
        stand.slurm.control.slurmd_argv = lambda node: [*argv(node), *told]  # type: ignore[method-assign]
        await stand.slurm.boot("n1")
        await until(lambda: stand.all_are(lambda node: node.is_up, ("n1",)), "up")
        shown = (await stand.node("n1")).instance_id
        assert shown in ("i-0abc", "")
        record_property("note", f"slurmd's is {'shown' if shown else 'not taken over'}")
        await stand.slurm.control.run("scontrol", "update", "NodeName=n1", "InstanceId=i-0def")
        assert (await stand.node("n1")).instance_id == "i-0def"
        await stand.slurm.control.run("scontrol", "update", "NodeName=n1", "State=POWER_DOWN")
        await until(lambda: stand.all_are(lambda node: node.is_powered_down, ("n1",)), "powered down")
        assert (await stand.node("n1")).instance_id == ""

    play(slurm_folder, story)


def test_an_update_of_several_nodes_with_one_instance_id_each(slurm_folder: Path, record_property: Tell) -> None:
    async def story(stand: Stand) -> None:
        try:
            await stand.slurm.control.run("scontrol", "update", "NodeName=n[1-2]", "InstanceId=i-1,i-2")
        except SlurmCommandError as error:
            assert "Update of this parameter is not supported" in str(error)
            pytest.skip("nodes have no InstanceId")
        ids = [(await stand.node(name)).instance_id for name in ("n1", "n2")]
        assert ids in (["i-1", "i-2"], ["i-1,i-2", "i-1,i-2"])
        record_property("note", "each its own" if ids[0] == "i-1" else "each gets the whole list")

    play(slurm_folder, story)


def test_a_partition_has_times_of_its_own(slurm_folder: Path) -> None:
    async def story(stand: Stand) -> None:
        await stand.up("n1", "quick1")
        await until(lambda: stand.all_are(lambda node: node.is_powered_down, ("quick1",)), "SuspendTime of q2")
        assert (await stand.node("n1")).is_up

    play(slurm_folder, story)


def test_a_node_takes_its_address_from_slurmd_s_registration(slurm_folder: Path) -> None:
    async def story(stand: Stand) -> None:
        assert (await stand.node("n2")).address == "n2"
        await stand.up("n2")
        assert (await stand.node("n2")).address == "127.0.0.1"
        assert (await stand.node("n2")).hostname != "n2"

    play(slurm_folder, story, address="")


def test_the_resume_file_says_which_job_wants_which_nodes(slurm_folder: Path, record_property: Tell) -> None:
    async def story(stand: Stand) -> None:
        copy = slurm_folder / "resume.json"
        program = slurm_folder / "resume"
        program.write_text(f'#!/bin/sh\ncp "$SLURM_RESUME_FILE" {copy}.new && mv {copy}.new {copy}\n')
        job = await stand.slurm.submit(2, extra=("-w", "n[1-2]"))

        async def is_there() -> bool:
            return copy.exists()

        await until(is_there, "the resume file")
        jobs, note = read_resume_file(str(copy))
        assert note == ""
        assert [(one["job_id"], one["nodes_resume"]) for one in jobs] == [(job, "n[1-2]")]
        record_property("note", f"keys of a job: {', '.join(sorted(json.loads(copy.read_text())['jobs'][0]))}")

    play(slurm_folder, story)


def test_slurm_says_what_it_can_do(slurm_folder: Path, record_property: Tell) -> None:
    async def story(stand: Stand) -> None:
        calls = CommandLine(Path(find_program("scontrol")).parent, stand.slurm.control.paths.conf)
        found = await probe_capabilities(calls.ask)
        assert found.release.startswith("{}.{:02}.".format(*slurm_release()))
        assert found.has_instance_ids == probe(find_program("slurmd")).takes_instance
        assert found.has_partition_times
        assert not found.has_accounting
        record_property("note", str(found))

    play(slurm_folder, story)
