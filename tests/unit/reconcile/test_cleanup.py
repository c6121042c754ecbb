"""Tidying up happens in the background, seldom, and never under a new configuration's feet."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from clustermgtd.errors import ClustermgtdError, ConfigurationError, FencedError
from clustermgtd.reconcile.cleanup import SETTLE_S, Cleanup
from tests.fakes.clock import FakeClock


class House:
    """Counts how often it was tidied, and fails as often as it is told to."""

    def __init__(self, *failures: ClustermgtdError, is_fenced: bool = False) -> None:
        self._failures = list(failures)
        self._is_fenced = is_fenced
        self.tries = 0
        self.clock = FakeClock(is_automatic=True)
        self.cleanup = Cleanup(self._confirm, self._tidy, self.clock)

    async def _confirm(self) -> None:
        if self._is_fenced:
            raise FencedError("over")

    async def _tidy(self) -> None:
        assert self.cleanup.configuring.locked()
        self.tries += 1
        if self._failures:
            raise self._failures.pop(0)

    async def until(self, tries: int) -> None:
        """Run until it was tidied so often; woken after each time."""
        task = asyncio.create_task(self.cleanup.run())
        try:
            async with asyncio.timeout(10):
                while self.tries < tries:
                    await asyncio.sleep(0.001)
                    self.cleanup.wake()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_it_waits_for_ticks_of_before_and_comes_again_after_a_reload() -> None:
    house = House()
    started = house.clock.now()
    asyncio.run(house.until(2))
    assert house.clock.now() - started >= 2 * SETTLE_S


def test_a_failure_is_said_once() -> None:
    denied = ConfigurationError("not permitted", code="UnauthorizedOperation")
    house = House(denied, denied)
    with capture_logs() as lines:
        asyncio.run(house.until(3))
    assert [(line["event"], line["code"]) for line in lines] == [("leftovers_stay", "UnauthorizedOperation")]


def test_it_waits_while_a_configuration_is_made() -> None:
    house = House()

    async def scenario() -> None:
        async with house.cleanup.configuring:
            task = asyncio.create_task(house.cleanup.run())
            await asyncio.sleep(0.01)
            assert house.tries == 0
        await asyncio.sleep(0.01)
        assert house.tries == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())


def test_a_fenced_daemon_deletes_nothing_and_ends() -> None:
    house = House(is_fenced=True)
    asyncio.run(asyncio.wait_for(house.cleanup.run(), 10))
    assert house.tries == 0
