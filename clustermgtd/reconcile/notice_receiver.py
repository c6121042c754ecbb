"""Fetches messages from the queue, hands their notices to the book, deletes what was stored."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Protocol, TypeVar

import structlog

from clustermgtd.errors import ClustermgtdError
from clustermgtd.model.policy import Policy
from clustermgtd.ports.clock import Clock
from clustermgtd.ports.notice_queue import MESSAGES_MAX, Message, NoticeQueue, Verdict
from clustermgtd.reconcile.notice_book import NoticeBook, Offered
from clustermgtd.reconcile.retry import RetryPolicy

log = structlog.get_logger(__name__)
T = TypeVar("T")

BACK_OFF = RetryPolicy(first_delay_s=1.0, delay_max_s=60.0)
DONE_MAX = 20_000
"""Messages that wait to be deleted; beyond, the oldest are left to come again."""
DEEP_WAIT_S = 1.0
"""A receive that does not wait at all asks only some of SQS's machines."""
FULL_PAUSE_S = 1.0
LOGGED_KINDS_MAX = 100
"""So many kinds of bad or unknown messages are logged; who makes kinds up cannot fill the log or the memory."""


@dataclass(frozen=True, slots=True)
class Polling:
    """How the queue is read."""

    receivers: int
    """Calls at a time while the queue is deep; half as many delete. Each holds the event loop for some two milliseconds
    when it is answered."""
    wait_s: float
    """Longest wait of a call for the first message."""


class NoticeReport(Protocol):
    """Who counts."""

    def notice_message(self, kind: str, outcome: StrEnum, age_s: float) -> None:
        """`kind` is a `NoticeKind` or empty; `outcome` an `Offered` or another `Verdict` than `NOTICES`."""
        ...

    def notice_messages_deleted(self, count: int) -> None: ...

    def notice_queue_oldest(self, age_s: float) -> None: ...

    def notice_queue_depth(self, messages: int) -> None: ...


class NoticeReceiver:
    """One call waits for the first message; while the queue is deep several calls are made at once.

    A queue that cannot be reached is asked again with growing pauses, and said once. What cannot be used (bad, unknown,
    nothing in it for us) is deleted at once; what can, after the tick that knew of it.
    """

    def __init__(
        self,
        queue: NoticeQueue,
        book: NoticeBook,
        clock: Clock,
        report: NoticeReport,
        polling: Polling,
        random: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._book = book
        self._clock = clock
        self._report = report
        self._polling = polling
        self._random = random
        self._done: deque[str] = deque(maxlen=DONE_MAX)
        self._has_done = asyncio.Event()
        self._logged: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat("receive", self._receive), name="notice receiver")
            group.create_task(self._repeat("delete", self._delete), name="notice deleter")

    async def read_depth(self, policy: Policy) -> None:
        """Report how many messages wait.

        Raises:
            ClustermgtdError: the queue could not be asked.
        """
        del policy
        self._report.notice_queue_depth(await self._queue.depth())

    async def _repeat(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """`work` for ever; while it fails, with pauses that grow."""
        failures = 0
        while True:
            try:
                await work()
            except ClustermgtdError as error:
                failures += 1
                if failures == 1:
                    log.warning("notice_queue_unreachable", call=name, error=str(error), code=error.code)
                await self._clock.sleep(BACK_OFF.delay_s(failures, self._random()))
            else:
                if failures:
                    log.info("notice_queue_reachable_again", call=name, failures=failures)
                failures = 0

    async def _receive(self) -> None:
        """One long poll; when it comes back full, short ones side by side until none is full any more."""
        is_deep = await self._fetch(self._polling.wait_s)
        while is_deep:
            calls = (self._fetch(DEEP_WAIT_S) for _ in range(self._polling.receivers))
            is_deep = any(_all_of(await asyncio.gather(*calls, return_exceptions=True)))

    async def _fetch(self, wait_s: float) -> bool:
        """Take what one call brings; True if it brought as much as it could."""
        batch = await self._queue.receive(wait_s)
        now = self._clock.now()
        self._report.notice_queue_oldest(max((now - message.sent_at for message in batch), default=0.0))
        outcomes = [self._take(message, now) for message in batch]
        if Offered.REFUSED in outcomes:
            await self._clock.sleep(FULL_PAUSE_S)
        return len(batch) == MESSAGES_MAX

    def _take(self, message: Message, now: float) -> Offered | Verdict:
        outcome: Offered | Verdict = message.verdict
        if message.verdict is Verdict.NOTICES:
            outcome = self._book.offer(message.notices, partial(self._finish, message.receipt))
        else:
            self._say(message)
            self._finish(message.receipt)
        kind = message.notices[0].kind if message.notices else ""
        announced_at = message.sent_at if message.announced_at is None else message.announced_at
        self._report.notice_message(kind, outcome, max(0.0, now - announced_at))
        return outcome

    def _say(self, message: Message) -> None:
        """One line for each kind of message that is of no use, the first time that it comes."""
        key = (message.verdict, message.kind)
        if message.verdict is Verdict.NO_NEWS or key in self._logged or len(self._logged) >= LOGGED_KINDS_MAX:
            return
        self._logged.add(key)
        if message.verdict is Verdict.BAD:
            log.warning("notice_message_bad", message=message.kind, problem=message.problem)
        else:
            log.info("notice_message_unknown", message=message.kind)

    def _finish(self, receipt: str) -> None:
        """The message has had its effect, or has none."""
        self._done.append(receipt)
        self._has_done.set()

    async def _delete(self) -> None:
        """Delete what is finished. What could not be deleted is tried again; SQS may have sent it again by then."""
        await self._has_done.wait()
        while self._done:
            parts = [self._next_part() for _ in range((self._polling.receivers + 1) // 2)]
            parts = [part for part in parts if part]
            replies = await asyncio.gather(*map(self._queue.delete, parts), return_exceptions=True)
            for part, reply in zip(parts, replies, strict=True):
                if isinstance(reply, BaseException):
                    self._done.extend(part)
            self._report.notice_messages_deleted(sum(_all_of(replies)))
        self._has_done.clear()

    def _next_part(self) -> list[str]:
        return [self._done.popleft() for _ in range(min(MESSAGES_MAX, len(self._done)))]


def _all_of(replies: Sequence[T | BaseException]) -> list[T]:
    """The results of calls that were made side by side.

    Raises:
        BaseException: what one of them raised; all have ended by then.
    """
    for reply in replies:
        if isinstance(reply, BaseException):
            raise reply
    return [reply for reply in replies if not isinstance(reply, BaseException)]
