"""Hints on their way to the loop: they wake it, and are acknowledged when their facts are stored."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from clustermgtd.ports.hint_sink import Hint


@dataclass(frozen=True, slots=True)
class Letter:
    """A hint, and whom to tell when its facts are stored."""

    hint: Hint
    on_stored: Callable[[], None]


class Inbox:
    """A bounded queue of hints with one reader, the loop. Implements `ports.hint_sink.HintSink`."""

    def __init__(self, length_max: int = 10_000) -> None:
        self._letters: deque[Letter] = deque()
        self._length_max = length_max
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._letters)

    def offer(self, hint: Hint, on_stored: Callable[[], None]) -> bool:
        """Take a hint and wake the loop; False when the inbox is full (the hint then costs time, not correctness)."""
        self._wake.set()
        if len(self._letters) >= self._length_max:
            return False
        self._letters.append(Letter(hint, on_stored))
        return True

    def wake(self) -> None:
        """Make the loop look again soon, without a hint."""
        self._wake.set()

    def drain(self) -> list[Letter]:
        """All waiting hints, oldest first. The caller acknowledges them after their facts are stored."""
        self._wake.clear()
        letters = list(self._letters)
        self._letters.clear()
        return letters

    def put_back(self, letters: list[Letter]) -> None:
        """Return hints whose tick failed, ahead of newer ones."""
        self._letters.extendleft(reversed(letters))

    async def wait(self, seconds: float) -> bool:
        """Wait for a wake-up for at most so long; True if there was one."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True
