"""The real clock over the event loop, and the fake one that tests use instead."""

from __future__ import annotations

import asyncio

from clustermgtd.adapters.system.loop_clock import LoopClock
from clustermgtd.ports.clock import Clock
from tests.fakes.clock import FakeClock


def test_the_monotonic_time_is_the_loops() -> None:
    async def story() -> None:
        clock: Clock = LoopClock()
        before = asyncio.get_running_loop().time()
        assert before <= clock.monotonic() <= asyncio.get_running_loop().time()

    asyncio.run(story())


def test_the_wall_clock_is_the_one_it_was_given() -> None:
    assert LoopClock(epoch=lambda: 12.5).now() == 12.5


def test_sleeping_takes_the_loops_time() -> None:
    async def story() -> None:
        clock = LoopClock()
        before = clock.monotonic()
        await clock.sleep(0.01)
        assert clock.monotonic() - before >= 0.009
        await clock.sleep(-1)  # a deadline that has passed is no error

    asyncio.run(story())


def test_a_fake_clock_wakes_sleepers_in_order_and_at_their_own_time() -> None:
    async def story() -> list[tuple[str, float]]:
        clock = FakeClock()
        start = clock.monotonic()
        woken: list[tuple[str, float]] = []

        async def sleeper(name: str, seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append((name, clock.monotonic() - start))

        async with asyncio.TaskGroup() as group:
            group.create_task(sleeper("late", 5))
            group.create_task(sleeper("early", 2))
            await clock.advance(4)
            assert woken == [("early", 2)]
            assert clock.sleeping == 1
            await clock.advance(1)
        return woken

    assert asyncio.run(story()) == [("early", 2), ("late", 5)]


def test_a_step_of_the_wall_clock_leaves_durations_alone() -> None:
    clock = FakeClock(now=100.0)
    before = clock.monotonic()
    clock.step(-30)
    assert clock.now() == 70.0
    assert clock.monotonic() == before
