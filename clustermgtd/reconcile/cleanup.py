"""Tidies up now and then what former configurations left behind, and lets nothing depend on that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from clustermgtd.errors import ClustermgtdError, FencedError
from clustermgtd.ports.clock import Clock

log = structlog.get_logger(__name__)

SETTLE_S = 60.0
"""After a start or a reload: a tick that began before may still store a launch of the former configuration."""
PERIOD_S = 6 * 3600.0
"""What open launches needed is looked at again."""


class Cleanup:
    """Calls `delete` a minute after the start, after each reload, and every six hours.

    A failure is said when it begins; the next round tries again. A daemon that was fenced deletes nothing: `confirm`
    raises FencedError then.
    """

    def __init__(
        self, confirm: Callable[[], Awaitable[None]], delete: Callable[[], Awaitable[object]], clock: Clock
    ) -> None:
        self._confirm = confirm
        self._delete = delete
        self._clock = clock
        self._wake = asyncio.Event()
        self._has_failed = False
        self.configuring = asyncio.Lock()
        """Held while it deletes; to be held while a new configuration is made, which may need what is there."""

    def wake(self) -> None:
        """The configuration has changed."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled, or until another daemon took over."""
        while True:
            self._wake.clear()
            await self._clock.sleep(SETTLE_S)
            try:
                async with self.configuring:
                    await self._confirm()
                    await self._delete()
            except FencedError:
                return
            except ClustermgtdError as error:
                if not self._has_failed:
                    log.warning("leftovers_stay", error=str(error), code=error.code, retry_s=PERIOD_S)
                self._has_failed = True
            else:
                self._has_failed = False
            await self._pause()

    async def _pause(self) -> None:
        """Until woken, at most for the period."""
        try:
            async with asyncio.timeout(PERIOD_S):
                await self._wake.wait()
        except TimeoutError:
            pass
