"""One suite for the queue in memory and for SQS, as the lab serves it; then what only SQS can do."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.adapters.aws.sqs_notice_queue import SqsNoticeQueue
from clustermgtd.adapters.system.loop_clock import LoopClock
from clustermgtd.errors import ConfigurationError, ThrottledError, TransientError
from clustermgtd.model.notice import NoticeKind
from clustermgtd.ports.notice_queue import MESSAGES_MAX, Message, NoticeQueue, Verdict
from tests.contract.aws.wire import Fault, Wire
from tests.contract.conftest import ServedAws
from tests.event_messages import REGION, an_event, instance_id, spot_warning
from tests.fakes.notice_queue import FakeNoticeQueue

VISIBILITY_S = 2.0


@dataclass(frozen=True)
class Stand:
    """A queue, and how to put a message into it."""

    queue: NoticeQueue
    send: Callable[[str], Awaitable[None]]

    async def warn(self, number: int) -> None:
        await self.send(json.dumps(spot_warning(instance_id(number), at=time.time() - 5)))

    async def all(self, wait_s: float = 0.0) -> list[Message]:
        """Everything that is visible."""
        found: list[Message] = []
        while batch := await self.queue.receive(wait_s):
            assert len(batch) <= MESSAGES_MAX
            found += batch
        return found


@asynccontextmanager
async def in_memory(_: ServedAws) -> AsyncIterator[Stand]:
    queue = FakeNoticeQueue(LoopClock(), REGION, VISIBILITY_S)

    async def send(body: str) -> None:
        queue.send(body)

    yield Stand(queue, send)


@asynccontextmanager
async def sqs(aws: ServedAws) -> AsyncIterator[Stand]:
    async with AwsSession(REGION, endpoint_url=aws.endpoint_url) as session:
        made = await session.call("sqs", "create_queue", {"QueueName": f"q-{uuid.uuid4()}"}, 30.0)
        url = made["QueueUrl"]

        async def send(body: str) -> None:
            await session.call("sqs", "send_message", {"QueueUrl": url, "MessageBody": body}, 30.0)

        yield Stand(SqsNoticeQueue(session, url, VISIBILITY_S), send)


Story = Callable[[Stand], Awaitable[None]]


@pytest.fixture(params=[in_memory, sqs], ids=["memory", "sqs"])
def play(request: pytest.FixtureRequest, aws_endpoints: ServedAws) -> Callable[[Story], None]:
    """Run a story over each of them."""

    def run(story: Story) -> None:
        async def main() -> None:
            async with request.param(aws_endpoints) as stand:
                await story(stand)

        asyncio.run(main())

    return run


def numbers(messages: list[Message]) -> list[int]:
    return sorted(int(notice.instances[0][2:], 16) for message in messages for notice in message.notices)


def test_a_message_is_read_and_gone_once_deleted(play: Callable[[Story], None]) -> None:
    async def story(stand: Stand) -> None:
        await stand.warn(7)
        (message,) = await stand.all()
        assert (message.verdict, message.notices[0].kind) == (Verdict.NOTICES, NoticeKind.SPOT_INTERRUPTION)
        assert message.announced_at == message.notices[0].announced_at
        assert message.announced_at is not None
        assert 4 <= message.sent_at - message.announced_at <= 60
        assert await stand.queue.delete([message.receipt]) == 1
        await asyncio.sleep(VISIBILITY_S * 1.2)
        assert await stand.all() == []

    play(story)


def test_a_message_that_nobody_deletes_comes_again(play: Callable[[Story], None]) -> None:
    async def story(stand: Stand) -> None:
        await stand.warn(7)
        assert numbers(await stand.all()) == [7]
        assert await stand.all() == []
        await asyncio.sleep(VISIBILITY_S * 1.2)
        assert numbers(await stand.all()) == [7]

    play(story)


def test_more_messages_than_fit_into_a_call(play: Callable[[Story], None]) -> None:
    async def story(stand: Stand) -> None:
        for number in range(1, 26):
            await stand.warn(number)
        assert await stand.queue.depth() == 25
        found: dict[int, str] = {}
        while len(found) < 25:
            for message in await stand.queue.receive(1.0):
                found[numbers([message])[0]] = message.receipt
        assert sorted(found) == list(range(1, 26))
        assert await stand.queue.delete(list(found.values())) == 25
        assert await stand.queue.depth() == 0

    play(story)


def test_a_receive_waits_for_the_first_message(play: Callable[[Story], None]) -> None:
    async def story(stand: Stand) -> None:
        waiting = asyncio.create_task(stand.queue.receive(20.0))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await stand.warn(7)
        assert numbers(list(await waiting)) == [7]

    play(story)


def test_an_empty_queue_is_an_answer(play: Callable[[Story], None]) -> None:
    async def story(stand: Stand) -> None:
        assert await stand.queue.receive(0.0) == []
        assert await stand.queue.depth() == 0
        assert await stand.queue.delete([]) == 0

    play(story)


def test_a_receipt_that_is_none_deletes_nothing_and_spoils_nothing(play: Callable[[Story], None]) -> None:
    async def story(stand: Stand) -> None:
        await stand.warn(7)
        (message,) = await stand.all()
        assert await stand.queue.delete(["nonsense", message.receipt]) == 1

    play(story)


def test_what_is_no_use_is_delivered_as_such(play: Callable[[Story], None]) -> None:
    async def story(stand: Stand) -> None:
        await stand.send("not a message")
        await stand.send(json.dumps(an_event("Object Created", {}, source="aws.s3", at=time.time())))
        found = await stand.all()
        assert {message.verdict for message in found} == {Verdict.BAD, Verdict.UNKNOWN}
        assert await stand.queue.delete([message.receipt for message in found]) == 2

    play(story)


def on_wire(aws: ServedAws, story: Callable[[Wire, SqsNoticeQueue], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Wire(aws.endpoint_url) as wire, AwsSession(REGION, endpoint_url=wire.url) as session:
            made = await session.call("sqs", "create_queue", {"QueueName": f"q-{uuid.uuid4()}"}, 30.0)
            await story(wire, SqsNoticeQueue(session, made["QueueUrl"], VISIBILITY_S))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.REFUSED, TransientError),
        (Fault.UNAVAILABLE, TransientError),
        (Fault.REPLY_CUT, TransientError),
        (Fault.THROTTLED, ThrottledError),
        (Fault.DENIED, ConfigurationError),
    ],
)
def test_trouble_on_the_wire_has_the_class_that_the_port_promises(
    aws_endpoints: ServedAws, fault: Fault, error: type[Exception]
) -> None:
    async def story(wire: Wire, queue: SqsNoticeQueue) -> None:
        wire.spoil_next("ReceiveMessage", fault)
        with pytest.raises(error):
            await queue.receive(0.0)
        wire.spoil_next("GetQueueAttributes", fault)
        with pytest.raises(error):
            await queue.depth()
        assert await queue.receive(0.0) == []

    on_wire(aws_endpoints, story)


def test_a_delete_whose_reply_is_lost_may_be_repeated(aws_endpoints: ServedAws) -> None:
    async def story(wire: Wire, queue: SqsNoticeQueue) -> None:
        async with AwsSession(REGION, endpoint_url=wire.url) as session:
            parameters = {"QueueUrl": queue._url, "MessageBody": "{}"}
            await session.call("sqs", "send_message", parameters, 30.0)
        (message,) = await queue.receive(5.0)
        wire.spoil_next("DeleteMessageBatch", Fault.REPLY_LOST)
        with pytest.raises(TransientError):
            await queue.delete([message.receipt])
        assert await queue.delete([message.receipt]) in (0, 1)
        await asyncio.sleep(VISIBILITY_S * 1.2)
        assert await queue.receive(0.0) == []

    on_wire(aws_endpoints, story)


def test_a_queue_that_does_not_exist_is_for_a_human(aws_endpoints: ServedAws) -> None:
    async def main() -> None:
        async with AwsSession(REGION, endpoint_url=aws_endpoints.endpoint_url) as session:
            queue = SqsNoticeQueue(session, f"{aws_endpoints.endpoint_url}/123456789012/nowhere", VISIBILITY_S)
            with pytest.raises(ConfigurationError):
                await queue.receive(0.0)

    asyncio.run(main())


def test_a_message_that_is_dated_ahead_is_bad(aws_endpoints: ServedAws) -> None:
    async def main() -> None:
        async with sqs(aws_endpoints) as stand:
            await stand.send(json.dumps(spot_warning(instance_id(1), at=time.time() + 3600)))
            (message,) = await stand.queue.receive(5.0)
            assert (message.verdict, message.notices, message.problem) == (Verdict.BAD, (), "time: ahead")

    asyncio.run(main())
