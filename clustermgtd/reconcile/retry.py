"""The one place where a call is made again. The loop is the outer retry: what fails here is rediscovered next tick."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from clustermgtd.errors import TransientError
from clustermgtd.ports.clock import Clock

log = structlog.get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and for how long; both bounds hold."""

    attempts_max: int = 4
    deadline_s: float = 10.0
    """No attempt begins later than this after the first one began. What one attempt may take is the adapter's bound."""
    first_delay_s: float = 0.2
    """Before the second attempt; doubles with each one."""
    delay_max_s: float = 5.0

    def delay_s(self, attempt: int, random: float) -> float:
        """The pause after attempt number `attempt` (from 1): between half and all of the exponential step.

        `random` is drawn from [0, 1).
        """
        # 2**30 seconds are beyond every delay_max_s, and a float has no trouble with it
        step = min(self.delay_max_s, self.first_delay_s * 2.0 ** min(attempt - 1, 30))
        return step * (0.5 + random / 2)


class Retry:
    """Makes calls again that raise TransientError, and no others."""

    def __init__(self, policy: RetryPolicy, clock: Clock, random: Callable[[], float]) -> None:
        self._policy = policy
        self._clock = clock
        self._random = random

    async def __call__(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        """The result of the first attempt that gives one; `name` is for the log.

        Raises:
            TransientError: the last attempt's own error, after `attempts_max` attempts or when the next one would begin
                past the deadline.
            Exception: whatever else an attempt raised, at once.
        """
        deadline = self._clock.monotonic() + self._policy.deadline_s

        def is_last(state: RetryCallState) -> bool:
            return (
                state.attempt_number >= self._policy.attempts_max
                or self._clock.monotonic() + state.upcoming_sleep > deadline
            )

        def note(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            log.debug("call_retried", call=name, attempt=state.attempt_number, error=str(error))

        retrying = AsyncRetrying(
            sleep=self._clock.sleep,
            stop=is_last,
            wait=lambda state: self._policy.delay_s(state.attempt_number, self._random()),
            retry=retry_if_exception_type(TransientError),
            before_sleep=note,
            reraise=True,
        )

        async def attempt() -> T:
            """A coroutine function for tenacity, which would not await what a plain callable returns."""
            return await call()

        return await retrying(attempt)
