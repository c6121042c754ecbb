"""Time under a test's control."""

from __future__ import annotations

import asyncio
import heapq
import itertools


class FakeClock:
    """`ports.Clock` that stands still until the test moves it.

    `advance` wakes sleepers in the order of their deadlines, each at its own moment, and lets their tasks run. With
    `is_automatic` a sleep takes its time at once, for code under test that only pauses. A `step` is what NTP does:
    `now` jumps, `monotonic` does not.
    """

    def __init__(self, now: float = 1_700_000_000.0, *, is_automatic: bool = False) -> None:
        self._monotonic = 1000.0
        self._offset = now - self._monotonic
        self._is_automatic = is_automatic
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self.sleeps: list[float] = []
        """Every duration that was asked for, in order."""

    def now(self) -> float:
        return self._monotonic + self._offset

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        if self._is_automatic or seconds <= 0:
            self._monotonic += max(0.0, seconds)
            await asyncio.sleep(0)
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._numbers), wake))
        await wake

    @property
    def sleeping(self) -> int:
        """How many sleep now."""
        return sum(1 for _, _, wake in self._sleepers if not wake.done())

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        end = self._monotonic + seconds
        await self._let_tasks_run()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, wake = heapq.heappop(self._sleepers)
            self._monotonic = max(self._monotonic, at)
            if not wake.done():
                wake.set_result(None)
            await self._let_tasks_run()
        self._monotonic = end

    def step(self, seconds: float) -> None:
        """Set the wall clock forward, or back with a negative number."""
        self._offset += seconds

    def move(self, seconds: float) -> None:
        """Let time pass while nobody sleeps."""
        assert not self.sleeping, "somebody sleeps: use advance"
        self._monotonic += seconds

    async def _let_tasks_run(self) -> None:
        for _ in range(10):  # a woken task may wake others, through a few hops
            await asyncio.sleep(0)
