"""The adapter when slurmctld or munge is not there, and the lab's Slurm when its owner is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clustermgtd.adapters.slurm.command_line import CommandLine
from clustermgtd.adapters.slurm.scheduler import SlurmScheduler
from clustermgtd.errors import ConfigurationError, IncompleteObservationError, TransientError
from clustermgtd.lab.processes import Processes, ProcessRecord, is_running, start_time
from clustermgtd.lab.slurm import SlurmCommandError, SlurmControl
from clustermgtd.lab.slurm_files import PortReservation, find_program
from clustermgtd.model.ids import NodeName
from tests.slurm_fixtures import NODE_PART, RealSlurm, running_slurm

pytestmark = pytest.mark.slurm

NODE = NodeName("q1-dy-c5-1")


def impatient(slurm: RealSlurm) -> SlurmScheduler:
    bin_dir = Path(find_program("scontrol")).parent
    return SlurmScheduler(CommandLine(bin_dir, slurm.control.paths.conf, deadline_s=1.5))


async def nothing_works(scheduler: SlurmScheduler) -> None:
    with pytest.raises(IncompleteObservationError):
        await scheduler.view()
    with pytest.raises(IncompleteObservationError):
        await scheduler.some_nodes([NODE])
    with pytest.raises(TransientError):
        await scheduler.power_down([NODE])


def test_a_slurmctld_that_hangs_or_is_gone_is_no_observation_until_it_is_back(slurm_folder: Path) -> None:
    async def story() -> None:
        async with running_slurm(slurm_folder) as slurm:
            scheduler = impatient(slurm)
            pid = slurm.control.pids()["slurmctld"]
            os.kill(pid, signal.SIGSTOP)
            await nothing_works(scheduler)
            os.kill(pid, signal.SIGCONT)
            assert len((await scheduler.view()).nodes) == 7
            await slurm.control.stop_controller(hard=True)
            await nothing_works(scheduler)
            await slurm.control.start_controller()
            assert len((await scheduler.view()).nodes) == 7

    asyncio.run(story())


def test_without_munge_there_is_no_observation(slurm_folder: Path) -> None:
    async def story() -> None:
        async with running_slurm(slurm_folder) as slurm:
            os.kill(slurm.control.pids()["munged"], signal.SIGKILL)
            await nothing_works(impatient(slurm))

    asyncio.run(story())


def test_a_slurmctld_that_cannot_start_says_why_and_leaves_nothing(slurm_folder: Path) -> None:
    async def story() -> None:
        with PortReservation.take(64) as ports:
            control = SlurmControl(slurm_folder, ports=ports.slurm)
            control.write_conf(NODE_PART, "SelectType=select/no_such_plugin\n")
            with pytest.raises(ConfigurationError, match="no_such_plugin"):
                await control.start()
            assert control.pids() == {}

    asyncio.run(story())


def test_a_command_that_fails_says_what_it_said(slurm_folder: Path) -> None:
    async def story() -> None:
        async with running_slurm(slurm_folder) as slurm:
            with pytest.raises(SlurmCommandError, match="Invalid job id"):
                await slurm.control.run("scontrol", "show", "job", "999")

    asyncio.run(story())


OWNER = """
import asyncio, sys
from pathlib import Path
from tests.slurm_fixtures import running_slurm

async def main():
    async with running_slurm(Path(sys.argv[1])):
        print("up", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def test_a_killed_owner_takes_its_slurm_along_and_the_next_one_starts_in_the_same_folder(slurm_folder: Path) -> None:
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(slurm_folder)], stdout=subprocess.PIPE, text=True, cwd=root
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        records = Processes(slurm_folder / "processes.json").running()
        assert {record.name for record in records} == {"munged", "slurmctld"}
        owner.kill()
    give_up_at = time.monotonic() + 5
    while any(map(is_running, records)):
        assert time.monotonic() < give_up_at, "Slurm outlived its owner"
        time.sleep(0.02)

    async def story() -> None:
        async with running_slurm(slurm_folder) as slurm:
            assert set(slurm.control.pids()) == {"munged", "slurmctld"}

    asyncio.run(story())


def test_leftovers_are_found_by_id_and_start_time_and_ended(tmp_path: Path) -> None:
    processes = Processes(tmp_path / "processes.json")
    with subprocess.Popen(["sleep", "60"]) as leftover, subprocess.Popen(["sleep", "60"]) as stranger:
        processes.remember("leftover", leftover.pid)
        (record,) = processes.running()
        recycled = ProcessRecord("stranger", stranger.pid, record.started_at - 1, record.boot_id)
        assert not is_running(recycled)
        leftover_ended = asyncio.run(_end_while_reaping(processes, leftover))
        assert leftover_ended == [record]
        assert start_time(stranger.pid) is not None
        assert processes.running() == []
        stranger.kill()


async def _end_while_reaping(processes: Processes, child: subprocess.Popen[bytes]) -> list[ProcessRecord]:
    ended = await asyncio.to_thread(processes.end_leftovers)
    child.wait()
    return ended
