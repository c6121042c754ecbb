"""The inbox: bounded, ordered, wakes its reader."""

from __future__ import annotations

import asyncio

from clustermgtd.model.ids import NodeName
from clustermgtd.ports.hint_sink import Hint, HintKind
from clustermgtd.reconcile.inbox import Inbox


def a_hint(number: int) -> Hint:
    return Hint(HintKind.SUSPEND, (NodeName("q1-dy-c5-1"),), str(number), float(number))


def nothing() -> None:
    return


def test_a_hint_wakes_the_reader_and_a_quiet_inbox_times_out() -> None:
    async def story() -> None:
        inbox = Inbox()
        assert not await inbox.wait(0.001)
        waiting = asyncio.create_task(inbox.wait(60.0))
        await asyncio.sleep(0)
        assert inbox.offer(a_hint(1), nothing)
        assert await waiting

    asyncio.run(story())


def test_a_full_inbox_refuses_but_still_wakes() -> None:
    async def story() -> None:
        inbox = Inbox(length_max=1)
        assert inbox.offer(a_hint(1), nothing)
        inbox.drain()
        assert inbox.offer(a_hint(2), nothing)
        assert not inbox.offer(a_hint(3), nothing)
        assert await inbox.wait(60.0)
        assert len(inbox) == 1

    asyncio.run(story())


def test_letters_of_a_failed_tick_come_before_newer_ones() -> None:
    inbox = Inbox()
    for number in (1, 2):
        inbox.offer(a_hint(number), nothing)
    letters = inbox.drain()
    inbox.offer(a_hint(3), nothing)
    inbox.put_back(letters)
    assert [letter.hint.id for letter in inbox.drain()] == ["1", "2", "3"]
