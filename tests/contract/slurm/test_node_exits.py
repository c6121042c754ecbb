"""What brings a node out of each state on the installed slurmctld; `pytest -s` prints what was seen.

Each node is brought into a state, given one way out, and watched. docs/reference/slurm-facts.md has the results for the
releases that were tried.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from clustermgtd.adapters.slurm.command_line import CommandLine
from clustermgtd.adapters.slurm.scheduler import SlurmScheduler
from clustermgtd.lab.slurm import SlurmCommandError
from clustermgtd.lab.slurm_files import find_program, slurm_release
from clustermgtd.model.ids import NodeName
from clustermgtd.model.node import Node, NodeBase, NodeFlag
from tests.slurm_fixtures import RealSlurm, running_slurm, slurm_folder, until

__all__ = ["slurm_folder"]

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

NODE_PART = """\
NodeName=n[1-60] CPUs=2 State=CLOUD
NodeName=big[1-6] CPUs=2 RealMemory=9000000 State=CLOUD
PartitionName=q1 Nodes=ALL Default=YES
"""
WAYS = {
    "POWER_DOWN": ("POWER_DOWN",),
    "DOWN, POWER_DOWN": ("DOWN", "POWER_DOWN"),
    "POWER_DOWN_FORCE": ("POWER_DOWN_FORCE",),
    "RESUME": ("RESUME",),
}
SETTINGS = {
    "SuspendTimeout": "2",
    "ResumeTimeout": "45",
    "SlurmdParameters": "shutdown_on_reboot",
    "RebootProgram": "/bin/true",
}
CLEAN = (NodeBase.IDLE, frozenset({NodeFlag.CLOUD, NodeFlag.POWERED_DOWN}))


@dataclass
class Seen:
    before: str
    said: str
    at_once: str = ""
    later: Node | None = None


class Stand:
    """One slurmctld, and nodes by the state they are brought into: one for each way out."""

    def __init__(self, slurm: RealSlurm) -> None:
        self.slurm = slurm
        self.scheduler = SlurmScheduler(CommandLine(Path(find_program("scontrol")).parent, slurm.control.paths.conf))
        self._free = [f"n{number}" for number in range(1, 61)]
        self.groups: dict[str, list[str]] = {}

    def take(self, state: str) -> list[str]:
        self.groups[state], self._free = self._free[: len(WAYS)], self._free[len(WAYS) :]
        return self.groups[state]

    async def update(self, nodes: list[str], *words: str) -> str:
        try:
            return (await self.slurm.control.run("scontrol", "update", f"NodeName={','.join(nodes)}", *words)).strip()
        except SlurmCommandError as error:
            return str(error).rpartition(": ")[2]

    async def power_up(self, nodes: list[str]) -> None:
        await self.update(nodes, "State=POWER_UP")
        await self.update(nodes, f"NodeAddr={','.join(['127.0.0.1'] * len(nodes))}")

    async def nodes(self, names: list[str]) -> dict[str, Node]:
        return {str(n): node for n, node in (await self.scheduler.some_nodes([NodeName(n) for n in names])).items()}

    async def all_are(self, names: list[str], flag: NodeFlag) -> bool:
        return all(flag in node.flags for node in (await self.nodes(names)).values())

    async def all_time_out(self, names: list[str]) -> bool:
        return all(node.is_down and node.is_powered_down for node in (await self.nodes(names)).values())

    async def up(self, names: list[str]) -> None:
        await self.power_up(names)
        await until(lambda: self.all_are(names, NodeFlag.POWERING_UP), "powering up")
        await self.slurm.boot(*names)

        async def is_up() -> bool:
            return all(node.is_up for node in (await self.nodes(names)).values())

        await until(is_up, "up")

    async def run_jobs(self, names: list[str]) -> list[str]:
        jobs = [str(await self.slurm.submit(1, seconds=300, extra=("-w", name))) for name in names]

        async def runs() -> bool:
            return all(node.is_running_job for node in (await self.nodes(names)).values())

        await until(runs, "jobs run")
        return jobs

    async def prepare(self) -> None:
        timed_out, returned = self.take("ResumeTimeout reached"), self.take("returned to service")
        up, allocated, completing = self.take("up"), self.take("allocated"), self.take("completing, dead")
        drained, rebooting = self.take("drained"), self.take("rebooting")
        down_at_rest, maintained = self.take("down, powered down"), self.take("maintenance")
        await self.power_up([*timed_out, *returned])
        await self.up([*up, *allocated, *completing, *drained, *rebooting])
        await self.run_jobs(allocated)
        jobs = await self.run_jobs(completing)
        for name in completing:
            await self.slurm.kill(name)
        await self.slurm.control.run("scancel", *jobs)
        await self.update(drained, "State=DRAIN", "Reason=Kill task failed")
        await self.update(down_at_rest, "State=DOWN", "Reason=somebody")
        await self.slurm.control.run(
            *("scontrol", "create", "reservation", "ReservationName=m", "Flags=MAINT,IGNORE_JOBS", "StartTime=now"),
            *("Duration=60", f"User={self.slurm.control.user}", f"Nodes={','.join(maintained)}"),
        )
        await until(lambda: self.all_time_out([*timed_out, *returned]), "ResumeTimeout")
        await self.update(returned, "State=RESUME")
        big = self.groups["invalid registration"] = [f"big{number}" for number in range(1, 5)]
        await self.power_up(big)
        await until(lambda: self.all_are(big, NodeFlag.POWERING_UP), "powering up")
        await self.slurm.boot(*big)
        await until(lambda: self.all_are(big, NodeFlag.INVALID_REG), "rejected")
        await self.slurm.control.run("scontrol", "reboot", ",".join(rebooting))
        await until(lambda: self.all_are(rebooting, NodeFlag.REBOOT_ISSUED), "rebooting")
        powering_up = self.take("powering up")
        await self.power_up(powering_up)
        await until(lambda: self.all_are(powering_up, NodeFlag.POWERING_UP), "powering up")

    async def watch(self) -> dict[tuple[str, str], Seen]:
        seen: dict[tuple[str, str], Seen] = {}
        for state, names in self.groups.items():
            before = await self.nodes(names)
            for name, (way, updates) in zip(names, WAYS.items(), strict=True):
                said = [
                    await self.update([name], f"State={u}", *(["Reason=probe"] if u == "DOWN" else [])) for u in updates
                ]
                seen[state, way] = Seen(before[name].state, " ".join(said).strip())
                seen[state, way].at_once = (await self.nodes([name]))[name].state
        await asyncio.sleep(7)
        for state, names in self.groups.items():
            after = await self.nodes(names)
            for name, way in zip(names, WAYS, strict=True):
                seen[state, way].later = after[name]
        return seen


def test_ways_out_of_every_state(slurm_folder: Path, record_property: Callable[[str, str], None]) -> None:
    async def story() -> dict[tuple[str, str], Seen]:
        async with running_slurm(slurm_folder, node_part=NODE_PART, **SETTINGS) as slurm:
            stand = Stand(slurm)
            await stand.prepare()
            return await stand.watch()

    seen = asyncio.run(story())
    print(f"\nSlurm {'.'.join(map(str, slurm_release()))}")
    for (state, way), one in seen.items():
        assert one.later is not None
        print(f"{state}: {one.before}; {way} {one.said!r}: {one.at_once}; then {one.later.state} {one.later.reason!r}")
    resumed = seen["down, powered down", "RESUME"].later
    assert resumed is not None
    record_property("note", f"RESUME {'keeps' if resumed.reason else 'clears'} the reason")
    for (state, way), one in seen.items():
        assert one.later is not None
        if way in ("DOWN, POWER_DOWN", "POWER_DOWN_FORCE"):
            flags = one.later.flags - {NodeFlag.MAINTENANCE, NodeFlag.RESERVED}
            assert (one.later.base, flags) == CLEAN, f"{state}, {way}"
    assert "INVALID_REG" in seen["invalid registration", "POWER_DOWN"].before
    later = seen["returned to service", "POWER_DOWN"].later
    assert later is not None
    assert (later.base, later.flags) == CLEAN


def test_a_node_that_was_returned_to_service_is_lost_to_jobs_after_a_reconfiguration(
    slurm_folder: Path, record_property: Callable[[str, str], None]
) -> None:
    """And a power-down gives it back. Releases that leave it responding give it to jobs all the same."""

    async def story() -> None:
        async with running_slurm(slurm_folder, node_part=NODE_PART, **{**SETTINGS, "ResumeTimeout": "3"}) as slurm:
            stand = Stand(slurm)
            await stand.power_up(["n1", "n2"])
            await until(lambda: stand.all_time_out(["n1", "n2"]), "ResumeTimeout")
            await stand.update(["n1", "n2"], "State=RESUME")
            is_lost = NodeFlag.NOT_RESPONDING in (await stand.nodes(["n1"]))["n1"].flags
            record_property("note", f"RESUME after ResumeTimeout leaves a node {'not ' if is_lost else ''}responding")
            await slurm.control.run("scontrol", "reconfigure")
            job = await slurm.submit(1, extra=("-w", "n1"))
            await asyncio.sleep(4)
            waits = (await stand.scheduler.some_jobs([job]))[job].state == "PENDING"
            assert waits == is_lost
            if not is_lost:
                return
            assert (await stand.nodes(["n1"]))["n1"].state == "IDLE+CLOUD+POWERED_DOWN+NOT_RESPONDING"
            await stand.update(["n1"], "State=POWER_DOWN")

            async def is_served() -> bool:
                return (await stand.scheduler.some_jobs([job]))[job].state == "CONFIGURING"

            await until(is_served, "the job has the node")

    asyncio.run(story())
