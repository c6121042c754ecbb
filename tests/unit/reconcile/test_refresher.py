"""Slow facts are read now and then; what cannot be read disturbs nobody."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from clustermgtd.errors import ClustermgtdError, ConfigurationError
from clustermgtd.reconcile.refresher import Refresher
from tests.fakes.clock import FakeClock


class Facts:
    """Fails as often as it is told to."""

    def __init__(self, *failures: ClustermgtdError) -> None:
        self._failures = list(failures)
        self.reads = 0
        self.done: list[float] = []

    async def read(self) -> None:
        self.reads += 1
        if self._failures:
            raise self._failures.pop(0)


async def until(facts: Facts, reads: int, refresher: Refresher, *, wakes: int = 0) -> None:
    """Run until there were so many reads; wake it that often."""
    task = asyncio.create_task(refresher.run())
    try:
        async with asyncio.timeout(10):
            while facts.reads < reads:
                await asyncio.sleep(0.001)
                if wakes:
                    wakes -= 1
                    refresher.wake()
            await asyncio.sleep(0.001)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def refresher_of(facts: Facts, period_s: float) -> Refresher:
    return Refresher("prices", facts.read, period_s, FakeClock(now=5.0), facts.done.append)


def test_it_reads_at_once_and_again_each_period() -> None:
    facts = Facts()
    asyncio.run(until(facts, 3, refresher_of(facts, 0.001)))
    assert facts.done[:3] == [5.0, 5.0, 5.0]


def test_a_wake_up_reads_before_the_period_is_over() -> None:
    facts = Facts()
    asyncio.run(until(facts, 2, refresher_of(facts, 3600.0), wakes=1))
    assert facts.reads == 2


def test_a_failure_is_said_once_and_its_end_once() -> None:
    denied = ConfigurationError("AccessDenied: no")
    facts = Facts(denied, denied, denied)
    with capture_logs() as said:
        asyncio.run(until(facts, 5, refresher_of(facts, 0.001)))
    assert [(entry["event"], entry["facts"]) for entry in said] == [
        ("facts_unreadable", "prices"),
        ("facts_readable_again", "prices"),
    ]
    assert len(facts.done) == facts.reads - 3
