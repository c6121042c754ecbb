"""The real clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class LoopClock:
    """`ports.Clock` over the running event loop's time, so that a virtual-time loop makes this virtual too."""

    def __init__(self, epoch: Callable[[], float] = time.time) -> None:
        self._epoch = epoch

    def now(self) -> float:
        """Epoch seconds; may step."""
        return self._epoch()

    def monotonic(self) -> float:
        """The event loop's time in seconds; call it where a loop runs."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Let others run for `seconds`; 0 or less gives way once."""
        await asyncio.sleep(max(0.0, seconds))
