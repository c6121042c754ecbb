"""Hints on their way to the loop: they wake it, and are acknowledged when their facts are stored."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hint:
    """One hook request, or any other reason to look at the world now."""

    kind: str
    request: object
    on_stored: Callable[[], None]


def _nothing() -> None:
    return


class Inbox:
    """A bounded queue of hints with one reader, the loop."""

    def __init__(self, length_max: int = 10_000) -> None:
        self._hints: deque[Hint] = deque()
        self._length_max = length_max
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._hints)

    def offer(self, request: object, on_stored: Callable[[], None] = _nothing) -> bool:
        """Take a hint and wake the loop; False when the inbox is full (the hint then costs time, not correctness)."""
        self._wake.set()
        if len(self._hints) >= self._length_max:
            return False
        self._hints.append(Hint(type(request).__name__, request, on_stored))
        return True

    def wake(self) -> None:
        """Make the loop look again soon, without a hint."""
        self._wake.set()

    def drain(self) -> list[Hint]:
        """All waiting hints, oldest first. The caller acknowledges them after their facts are stored."""
        self._wake.clear()
        hints = list(self._hints)
        self._hints.clear()
        return hints

    def put_back(self, hints: list[Hint]) -> None:
        """Return hints whose tick failed, ahead of newer ones."""
        self._hints.extendleft(reversed(hints))

    async def wait(self, seconds: float) -> bool:
        """Wait for a wake-up for at most so long; True if there was one."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True
