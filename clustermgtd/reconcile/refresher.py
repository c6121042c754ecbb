"""Reads slow facts again and again in the background, and shrugs when they cannot be read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from clustermgtd.errors import ClustermgtdError
from clustermgtd.ports.clock import Clock

log = structlog.get_logger(__name__)

RETRY_S = 900.0
"""After a failure, or the period if that is shorter."""


class Refresher:
    """Calls `read` once in `period_s` seconds, which may be asked for anew each time, and whenever it is woken.

    A failure is logged when it begins and when it ends, not each time. `done` is told the epoch second of each success.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], Awaitable[None]],
        period_s: float | Callable[[], float],
        clock: Clock,
        done: Callable[[float], None],
    ) -> None:
        self.name = name
        self._read = read
        self._period_s = period_s if callable(period_s) else lambda: period_s
        self._clock = clock
        self._done = done
        self._wake = asyncio.Event()
        self._has_failed = False

    def wake(self) -> None:
        """Read now: what is to be read has changed."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._wake.clear()
            is_read = await self._try()
            period_s = self._period_s()
            await self._pause(period_s if is_read else min(period_s, RETRY_S))

    async def _try(self) -> bool:
        try:
            await self._read()
        except ClustermgtdError as error:
            if not self._has_failed:
                log.warning("facts_unreadable", facts=self.name, error=str(error), retry_s=RETRY_S)
            self._has_failed = True
            return False
        if self._has_failed:
            log.info("facts_readable_again", facts=self.name)
        self._has_failed = False
        self._done(self._clock.now())
        return True

    async def _pause(self, seconds: float) -> None:
        """Until woken, at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
