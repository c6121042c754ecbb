"""Waiting for something that gives no signal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool], deadline_s: float = 20.0) -> None:
    """Returns once the condition holds.

    Raises:
        TimeoutError: it did not come true in time.
    """
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 -- the condition may lie outside this loop: a file, a process
            await asyncio.sleep(0.005)
