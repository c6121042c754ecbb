"""The daemon's scheduler with a real broker, while slurmctld, munge or the broker itself is not there.

Over the real pyslurm; `tests/unit/slurm/test_broker.py` has the broker's own troubles over a fake one. Every call ends
within its deadline and what the machine needs meanwhile; none is answered in part. `pytest -s` prints how each call
ended, and when.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from clustermgtd.adapters.slurm.broker_client import BrokerClient
from clustermgtd.adapters.slurm.command_line import CommandLine
from clustermgtd.adapters.slurm.preferred_calls import PreferredCalls
from clustermgtd.adapters.slurm.scheduler import SlurmScheduler
from clustermgtd.errors import ClustermgtdError, IncompleteObservationError, TransientError
from clustermgtd.lab.slurm_files import find_program
from clustermgtd.model.ids import NodeName
from clustermgtd.model.slurm_backend import BrokerEnd
from tests.pyslurm_fixtures import SKIPPED, Heard, has_pyslurm, kept_broker, real_launch
from tests.slurm_fixtures import RealSlurm, running_slurm, until

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(not has_pyslurm(), reason=SKIPPED)]

NODES = 7
NODE = NodeName("q1-dy-c5-1")
DEADLINE_S = 2.0
MACHINE_S = 20.0
"""What starting a process may take on a machine that does other things."""


@dataclass
class Stand:
    slurm: RealSlurm
    scheduler: SlurmScheduler
    client: BrokerClient
    heard: Heard

    async def serves(self) -> None:
        async def is_so() -> bool:
            return self.client.can("nodes")

        await until(is_so, "a broker serves", deadline_s=90)

    async def sees_all(self) -> None:
        async def is_so() -> bool:
            try:
                return len((await self.scheduler.view()).nodes) == NODES
            except ClustermgtdError:
                return False

        await until(is_so, "all nodes are seen", deadline_s=90)

    async def nothing_works(self, what: str) -> None:
        """Every call fails, as it should and in time."""
        await fails(f"{what}: view", self.scheduler.view, IncompleteObservationError)
        await fails(f"{what}: some nodes", lambda: self.scheduler.some_nodes([NODE]), IncompleteObservationError)
        await fails(f"{what}: power down", lambda: self.scheduler.power_down([NODE]), TransientError)


async def fails(what: str, call: Callable[[], Awaitable[object]], error: type[Exception]) -> None:
    """It does, as it should and in time."""
    began = time.monotonic()
    with pytest.raises(error) as caught:
        await call()
    took_s = time.monotonic() - began
    print(f"\n{what}: {caught.typename} after {took_s:.1f} s: {caught.value}")
    assert took_s < 2 * DEADLINE_S + MACHINE_S


@pytest.fixture
def stand(slurm_folder: Path) -> Callable[[], AbstractAsyncContextManager[Stand]]:
    @asynccontextmanager
    async def start() -> AsyncIterator[Stand]:
        async with running_slurm(slurm_folder) as slurm:
            conf_file = slurm.control.paths.conf
            command_line = CommandLine(Path(find_program("scontrol")).parent, conf_file, deadline_s=DEADLINE_S)
            async with kept_broker(real_launch(conf_file, deadline_s=DEADLINE_S)) as (client, heard):
                standing = Stand(slurm, SlurmScheduler(PreferredCalls(client, command_line)), client, heard)
                await standing.serves()
                yield standing

    return start


Standing = Callable[[], AbstractAsyncContextManager[Stand]]


def test_a_slurmctld_that_hangs_then_dies_then_comes_back(stand: Standing) -> None:
    async def story() -> None:
        async with stand() as s:
            pid = s.slurm.control.pids()["slurmctld"]
            os.kill(pid, signal.SIGSTOP)
            await s.nothing_works("slurmctld hangs")
            os.kill(pid, signal.SIGCONT)
            await s.sees_all()
            await s.slurm.control.stop_controller(hard=True)
            await s.nothing_works("slurmctld is gone")
            await s.slurm.control.start_controller()
            await s.sees_all()
            await s.serves()

    asyncio.run(story())


def test_without_munge_nothing_works_until_it_is_back(stand: Standing) -> None:
    async def story() -> None:
        async with stand() as s:
            os.kill(s.slurm.control.pids()["munged"], signal.SIGSTOP)
            await s.nothing_works("munged hangs")
            os.kill(s.slurm.control.pids()["munged"], signal.SIGCONT)
            await s.sees_all()
            os.kill(s.slurm.control.pids()["munged"], signal.SIGKILL)
            await s.nothing_works("munged is gone")

    asyncio.run(story())


def test_a_killed_broker_costs_nothing_while_the_command_line_serves(stand: Standing) -> None:
    async def story() -> None:
        async with stand() as s:
            assert s.client.pid is not None
            os.kill(s.client.pid, signal.SIGKILL)

            async def is_over() -> bool:
                return bool(s.heard.ended)

            await until(is_over, "it is over")
            assert len((await s.scheduler.view()).nodes) == NODES
            await s.serves()
            assert len((await s.scheduler.view()).nodes) == NODES
            assert s.heard.ended[0][0].why is BrokerEnd.ENDED

    asyncio.run(story())


def test_a_broker_that_hangs_costs_one_call(stand: Standing) -> None:
    async def story() -> None:
        async with stand() as s:
            assert s.client.pid is not None
            os.kill(s.client.pid, signal.SIGSTOP)
            await fails("the broker hangs: view", s.scheduler.view, IncompleteObservationError)
            assert len((await s.scheduler.view()).nodes) == NODES
            await s.serves()
            assert s.heard.ended[0][0].why is BrokerEnd.NO_ANSWER

    asyncio.run(story())


def test_without_slurm_conf_there_is_no_broker_and_the_daemon_lives(slurm_folder: Path) -> None:
    async def story() -> None:
        async with kept_broker(real_launch(slurm_folder / "none" / "slurm.conf", deadline_s=DEADLINE_S)) as (
            client,
            heard,
        ):
            # libslurm looks for a slurmctld to tell it the configuration, which takes longer than the deadline
            assert client.last_error is not None
            assert client.last_error.why in (BrokerEnd.ENDED, BrokerEnd.NO_ANSWER)
            print(f"\nno slurm.conf: {client.last_error.why}: {client.last_error}")
            assert heard.served == []

    asyncio.run(story())
