"""A queue in memory behind the port `NoticeQueue`: messages come again until they are deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from clustermgtd.adapters.aws.messages import read
from clustermgtd.ports.clock import Clock
from clustermgtd.ports.notice_queue import MESSAGES_MAX, Message
from tests.fakes.faults import Faults

LOOK_S = 0.05


@dataclass
class _Stored:
    body: str
    sent_at: float
    visible_at: float
    receipts: int = 0


class FakeNoticeQueue:
    """As much of SQS as the port promises. `call_s` is what each call takes."""

    def __init__(self, clock: Clock, region: str, visibility_s: float = 120.0, call_s: float = 0.0) -> None:
        self._clock = clock
        self._region = region
        self._visibility_s = visibility_s
        self._call_s = call_s
        self._stored: dict[int, _Stored] = {}
        self._sent = 0
        self.faults = Faults()
        """By method: `receive`, `delete`, `depth`."""
        self.receiving_max = 0
        """The most calls that were waiting at one time."""
        self._receiving = 0

    def __len__(self) -> int:
        """Messages that are not deleted."""
        return len(self._stored)

    def send(self, body: str) -> None:
        now = self._clock.now()
        self._stored[self._sent] = _Stored(body, now, now)
        self._sent += 1

    async def receive(self, wait_s: float) -> Sequence[Message]:
        self._receiving += 1
        self.receiving_max = max(self.receiving_max, self._receiving)
        try:
            with self.faults.around("receive"):
                await self._take_time()
                deadline = self._clock.monotonic() + wait_s
                while not (found := self._visible()) and self._clock.monotonic() < deadline:
                    await self._clock.sleep(LOOK_S)
                return [self._received(number) for number in found]
        finally:
            self._receiving -= 1

    async def delete(self, receipts: Collection[str]) -> int:
        with self.faults.around("delete"):
            await self._take_time()
            numbers = [int(receipt.split("/")[0]) for receipt in receipts if "/" in receipt]
            return sum(self._stored.pop(number, None) is not None for number in numbers)

    async def depth(self) -> int:
        with self.faults.around("depth"):
            await self._take_time()
            now = self._clock.now()
            return sum(stored.visible_at <= now for stored in self._stored.values())

    async def _take_time(self) -> None:
        if self._call_s:
            await self._clock.sleep(self._call_s)
        else:
            await asyncio.sleep(0)

    def _visible(self) -> list[int]:
        """The first ones in no order that anybody may count on: those that came last."""
        now = self._clock.now()
        found = []
        for number in reversed(self._stored):
            if self._stored[number].visible_at <= now:
                found.append(number)
                if len(found) == MESSAGES_MAX:
                    break
        return found

    def _received(self, number: int) -> Message:
        stored = self._stored[number]
        stored.visible_at = self._clock.now() + self._visibility_s
        stored.receipts += 1
        reading = read(stored.body, self._region)
        return Message(
            f"{number}/{stored.receipts}",
            stored.sent_at,
            reading.verdict,
            reading.notices,
            reading.announced_at,
            reading.kind,
            reading.problem,
        )
