"""What the loop does with launches whose calls wait for their turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from clustermgtd.errors import WithdrawnError
from clustermgtd.model.claim import ClaimState, Launch
from clustermgtd.model.ids import LaunchToken
from clustermgtd.reconcile.loop import Loop, Pace
from tests.builders import dynamic
from tests.unit.reconcile.test_loop import Stage, play


class HeldQueue:
    """A queue in which launches wait until the test lets them go."""

    def __init__(self) -> None:
        self.moved = asyncio.Event()
        self.withdrawn: set[LaunchToken] = set()
        self.waiting: frozenset[LaunchToken] = frozenset()

    def withdraw(self, launch: LaunchToken) -> bool:
        self.withdrawn.add(launch)
        self.moved.set()
        return True

    @asynccontextmanager
    async def turn(self, launch: Launch) -> AsyncIterator[float]:
        self.waiting |= {launch.token}
        try:
            await self.moved.wait()
        finally:
            self.waiting -= {launch.token}
        if launch.token in self.withdrawn:
            raise WithdrawnError("withdrawn before its call")
        yield 60.0


class HeldStage(Stage):
    def __init__(self) -> None:
        super().__init__()
        self.queue = HeldQueue()
        self.loop = Loop(self.fleet, self.scheduler, self.ledger, self.clock, self.recorder, self.queue)

    async def look(self, group: asyncio.TaskGroup) -> None:
        """A tick that leaves waiting launches waiting."""
        await self.loop.tick(self.policy, Pace(), group)
        await asyncio.sleep(0)


def test_the_intent_is_stored_and_ticks_go_on() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        assert isinstance(stage, HeldStage)
        stage.scheduler.submit(2)
        stage.pass_time(1)
        await stage.look(group)
        await stage.look(group)
        assert stage.claims() == {"q1-dy-c5-1": ClaimState.REQUESTED, "q1-dy-c5-2": ClaimState.REQUESTED}
        assert stage.fleet.calls["launch"] == 0
        stage.pass_time(60)
        stage.queue.moved.set()
        await asyncio.sleep(0.01)
        launch = next(iter(stage.store.table.launches.values()))
        assert set(stage.claims().values()) == {ClaimState.LAUNCHED}
        assert (launch.attempts, launch.last_attempt_at) == (1, stage.clock.now())

    assert play(story, HeldStage()).fleet.calls["launch"] == 1


def test_a_launch_that_nobody_wants_any_more_is_withdrawn_and_closed() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        assert isinstance(stage, HeldStage)
        job = stage.scheduler.submit(2)
        stage.pass_time(1)
        await stage.look(group)
        stage.scheduler.cancel(job)
        await stage.scheduler.set_down(dynamic(2), "ResumeTimeout reached")
        await stage.scheduler.power_down(dynamic(2))
        await stage.look(group)
        await asyncio.sleep(0.01)
        assert set(stage.claims().values()) == {ClaimState.LAUNCH_FAILED}
        await stage.look(group)
        assert set(stage.claims().values()) == {ClaimState.TERMINATED}

    assert play(story, HeldStage()).fleet.calls["launch"] == 0


def test_a_stop_does_not_wait_for_launches_that_wait() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        assert isinstance(stage, HeldStage)
        stage.scheduler.submit(1)
        stage.pass_time(1)
        await stage.look(group)
        await stage.loop.actor.settle(1000.0)
        assert set(stage.claims().values()) == {ClaimState.REQUESTED}

    assert play(story, HeldStage()).fleet.calls["launch"] == 0
