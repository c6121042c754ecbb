"""When capacity blocks are read, and what a reading says."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from clustermgtd.errors import ThrottledError
from clustermgtd.model.capacity_block import BlockState, CapacityBlock
from clustermgtd.model.ids import CapacityReservationId
from clustermgtd.model.policy import BlockPolicy
from clustermgtd.reconcile.block_book import LATE_S, BlockBook
from tests.builders import KEY, a_policy
from tests.fakes.clock import FakeClock
from tests.fakes.facts import FakeBlockSource

ID = CapacityReservationId("cr-1")
POLICY = a_policy([], blocks=BlockPolicy({KEY: ID}))


def a_block(state: BlockState = BlockState.SCHEDULED) -> CapacityBlock:
    return CapacityBlock(ID, state, 1000.0, 9000.0, 4, 4)


def a_book(now: float, *blocks: CapacityBlock) -> tuple[BlockBook, FakeBlockSource, list[str]]:
    reads: list[str] = []
    source = FakeBlockSource({block.id: block for block in blocks})
    return BlockBook(source, FakeClock(now=now), 300.0, lambda: reads.append("read")), source, reads


def test_without_a_block_in_the_configuration_nothing_is_asked() -> None:
    book, source, reads = a_book(5.0, a_block())
    asyncio.run(book.read(a_policy([])))
    assert (source.asked, reads, book.reading().blocks) == ([], [], {})


def test_a_reading_says_what_was_asked_and_when_and_wakes_the_loop() -> None:
    book, _, reads = a_book(5.0, a_block())
    assert book.reading().asked == frozenset()
    asyncio.run(book.read(POLICY))
    reading = book.reading()
    assert (reading.blocks, reading.asked, reading.read_at) == ({ID: a_block()}, {ID}, 5.0)
    assert reads == ["read"]


def test_what_was_known_stays_if_ec2_does_not_answer() -> None:
    book, source, _ = a_book(5.0, a_block())
    asyncio.run(book.read(POLICY))
    source.faults.fail("blocks", ThrottledError("later"))
    with pytest.raises(ThrottledError):
        asyncio.run(book.read(POLICY))
    assert book.reading().blocks == {ID: a_block()}


@pytest.mark.parametrize(
    ("now", "state", "pause_s"),
    [
        (5.0, BlockState.SCHEDULED, 300.0),
        (900.0, BlockState.SCHEDULED, 101.0),
        (1000.5, BlockState.SCHEDULED, LATE_S),
        (1000.5, BlockState.ACTIVE, 300.0),
        (9000.5, BlockState.SCHEDULED, 300.0),
    ],
)
def test_it_is_read_again_just_after_its_start_and_often_while_it_is_late(
    now: float, state: BlockState, pause_s: float
) -> None:
    book, _, _ = a_book(now, a_block(state))
    asyncio.run(book.read(POLICY))
    assert book.pause_s() == pytest.approx(pause_s)


def test_news_are_logged_once() -> None:
    book, source, _ = a_book(5.0, a_block())
    with capture_logs() as logs:
        for state in (BlockState.SCHEDULED, BlockState.SCHEDULED, BlockState.ACTIVE):
            source.known[ID] = a_block(state)
            asyncio.run(book.read(POLICY))
        source.known.clear()
        asyncio.run(book.read(POLICY))
        asyncio.run(book.read(POLICY))
    assert [(line["event"], line.get("state")) for line in logs] == [
        ("capacity_block_read", "scheduled"),
        ("capacity_block_read", "active"),
        ("capacity_block_unknown", None),
    ]
