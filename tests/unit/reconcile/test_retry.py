"""Calls are made again when that may help, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustermgtd.errors import CapacityError, PermanentError, ThrottledError, TransientError
from clustermgtd.reconcile.retry import Retry, RetryPolicy
from tests.fakes.clock import FakeClock


class Flaky:
    """A call that raises what it was given, one after the other, and then answers."""

    def __init__(self, *failures: Exception, on_call: Callable[[], None] = lambda: None) -> None:
        self._failures = list(failures)
        self._on_call = on_call
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        self._on_call()
        if self._failures:
            raise self._failures.pop(0)
        return "answer"


def transient(count: int) -> list[Exception]:
    return [TransientError(f"failure {number}") for number in range(1, count + 1)]


def test_a_transient_error_is_forgotten_when_a_later_attempt_answers() -> None:
    clock = FakeClock(is_automatic=True)
    call = Flaky(TransientError("no answer"), ThrottledError("slow down"))
    assert asyncio.run(Retry(RetryPolicy(), clock, lambda: 0.0)("put", call)) == "answer"
    assert call.calls == 3


def test_pauses_double_and_are_bounded() -> None:
    clock = FakeClock(is_automatic=True)
    policy = RetryPolicy(attempts_max=6, deadline_s=100, first_delay_s=1, delay_max_s=5)
    asyncio.run(Retry(policy, clock, lambda: 0.0)("put", Flaky(*transient(5))))
    assert clock.sleeps == [0.5, 1.0, 2.0, 2.5, 2.5]


@pytest.mark.parametrize("error", [PermanentError("no"), CapacityError("short"), ValueError("our bug")])
def test_other_errors_are_raised_at_once(error: Exception) -> None:
    clock = FakeClock(is_automatic=True)
    call = Flaky(error)
    with pytest.raises(type(error)):
        asyncio.run(Retry(RetryPolicy(), clock, lambda: 0.0)("put", call))
    assert call.calls == 1 and clock.sleeps == []


def test_the_last_attempts_own_error_comes_out_after_the_last_attempt() -> None:
    clock = FakeClock(is_automatic=True)
    call = Flaky(*transient(9))
    with pytest.raises(TransientError, match="failure 3"):
        asyncio.run(Retry(RetryPolicy(attempts_max=3), clock, lambda: 0.0)("put", call))
    assert call.calls == 3 and len(clock.sleeps) == 2


def test_no_attempt_begins_after_the_deadline_however_many_are_left() -> None:
    clock = FakeClock(is_automatic=True)
    call = Flaky(*transient(99), on_call=lambda: clock.move(4))
    policy = RetryPolicy(attempts_max=99, deadline_s=10, first_delay_s=0.1, delay_max_s=0.1)
    with pytest.raises(TransientError):
        asyncio.run(Retry(policy, clock, lambda: 0.0)("put", call))
    assert call.calls == 3


def test_cancelling_ends_a_pause() -> None:
    async def story() -> None:
        clock = FakeClock()
        task = asyncio.create_task(Retry(RetryPolicy(), clock, lambda: 0.0)("put", Flaky(*transient(3))))
        await clock.advance(0)
        assert clock.sleeping == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())


@given(attempt=st.integers(1, 10_000), random=st.floats(0, 1, exclude_max=True))
def test_a_pause_is_between_half_and_all_of_its_step(attempt: int, random: float) -> None:
    policy = RetryPolicy(first_delay_s=0.2, delay_max_s=5.0)
    longest = min(5.0, 0.2 * 2 ** min(attempt - 1, 10))
    assert longest / 2 <= policy.delay_s(attempt, random) <= longest


def test_a_callable_that_returns_an_awaitable_is_awaited() -> None:
    async def answer(what: str) -> str:
        return what

    clock = FakeClock(is_automatic=True)
    assert asyncio.run(Retry(RetryPolicy(), clock, lambda: 0.0)("put", lambda: answer("stored"))) == "stored"
