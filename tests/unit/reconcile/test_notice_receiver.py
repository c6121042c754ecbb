"""Messages from the queue to the snapshot, and their deletion after it, under virtual time."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from enum import StrEnum
from typing import Any

import async_solipsism
from structlog.testing import capture_logs

from clustermgtd.errors import ConfigurationError, TransientError
from clustermgtd.model.ids import InstanceId, NodeName
from clustermgtd.model.notice import Notices
from clustermgtd.ports.hint_sink import Hint, HintKind
from clustermgtd.reconcile.ledger import Ledger
from clustermgtd.reconcile.loop import Loop, Pace
from clustermgtd.reconcile.notice_book import UNSTORED_MAX, NoticeBook
from clustermgtd.reconcile.notice_receiver import NoticeReceiver, Polling
from clustermgtd.reconcile.status_watch import StatusWatch
from tests.builders import a_policy, an_instance, dynamic
from tests.event_messages import REGION, an_event, instance_id, rebalance, spot_warning, state_change
from tests.fakes.claim_store import FakeClaimStore, FakeTable
from tests.fakes.fleet import FakeFleet
from tests.fakes.notice_queue import FakeNoticeQueue
from tests.fakes.scheduler import FakeScheduler
from tests.simulation.shell import VirtualClock
from tests.unit.reconcile.test_loop import Recorder

A = InstanceId(instance_id(1))


class Counts:
    """What was reported."""

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.ages: list[float] = []
        self.deleted = 0
        self.oldest: list[float] = []
        self.depth = -1

    def notice_message(self, kind: str, outcome: StrEnum, age_s: float) -> None:
        self.outcomes[kind, outcome] += 1
        self.ages.append(age_s)

    def notice_messages_deleted(self, count: int) -> None:
        self.deleted += count

    def notice_queue_oldest(self, age_s: float) -> None:
        self.oldest.append(age_s)

    def notice_queue_depth(self, messages: int) -> None:
        self.depth = messages


class Desk:
    """A queue, its receiver, and a book over one live instance."""

    def __init__(self, polling: Polling | None = None) -> None:
        self.clock = VirtualClock()
        self.queue = FakeNoticeQueue(self.clock, REGION)
        self.counts = Counts()
        self.woken = asyncio.Event()
        self.book = NoticeBook(self.clock, self.woken.set)
        self.book.view({A: an_instance(A)}, {})
        self.receiver = NoticeReceiver(
            self.queue, self.book, self.clock, self.counts, polling or Polling(4, 20.0), random.Random(1).random
        )

    def send(self, *events: dict[str, Any]) -> None:
        for event in events:
            self.queue.send(json.dumps(event))

    def tick(self) -> None:
        """A round that ends well."""
        for on_stored in self.book.drain():
            on_stored()


def play(story: Callable[[Desk], Awaitable[None]], **facts: Any) -> Desk:
    async def run() -> Desk:
        desk = Desk(**facts)
        receiving = asyncio.create_task(desk.receiver.run())
        await story(desk)
        receiving.cancel()
        with suppress(asyncio.CancelledError):
            await receiving
        return desk

    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        return runner.run(run())


def test_a_message_is_deleted_only_after_a_tick_that_ended_well() -> None:
    async def story(desk: Desk) -> None:
        desk.send(spot_warning(A, at=desk.clock.now()))
        await desk.woken.wait()
        assert desk.clock.monotonic() < 1.0
        await asyncio.sleep(30.0)
        assert len(desk.queue) == 1
        failed = desk.book.drain()
        desk.book.put_back(failed)
        await asyncio.sleep(1.0)
        assert len(desk.queue) == 1
        desk.tick()
        await asyncio.sleep(1.0)
        assert len(desk.queue) == 0

    assert play(story).counts.deleted == 1


def test_a_message_that_comes_again_before_its_effect_was_stored_is_not_deleted_either() -> None:
    async def story(desk: Desk) -> None:
        desk.send(spot_warning(A, at=desk.clock.now()))
        await asyncio.sleep(300.0)
        assert len(desk.queue) == 1
        assert desk.counts.outcomes["spot-interruption", "repeated"] == 2
        desk.tick()
        await asyncio.sleep(1.0)
        assert len(desk.queue) == 0

    play(story)


def test_what_is_of_no_use_is_deleted_at_once_and_said_once_a_kind() -> None:
    async def story(desk: Desk) -> None:
        with capture_logs() as lines:
            for _ in range(3):
                desk.queue.send("no message")
                desk.send(an_event("Object Created", {}, source="aws.s3"), spot_warning("i-no"))
                desk.send(spot_warning(A) | {"region": "eu-west-1"})
            await asyncio.sleep(5.0)
        assert len(desk.queue) == 0
        assert sorted((line["event"], line["message"]) for line in lines) == [
            ("notice_message_bad", ""),
            ("notice_message_bad", "aws.ec2 EC2 Spot Instance Interruption Warning"),
            ("notice_message_unknown", "aws.s3 Object Created"),
        ]

    desk = play(story)
    assert desk.counts.outcomes == {("", "bad"): 6, ("", "unknown"): 3, ("", "no-news"): 3}
    assert not desk.woken.is_set()


def test_an_unreachable_queue_costs_time_and_one_line() -> None:
    async def story(desk: Desk) -> None:
        desk.queue.faults.fail("receive", TransientError("no reply"), times=4)
        desk.queue.faults.fail("receive", ConfigurationError("not allowed"), times=4)
        with capture_logs() as lines:
            await asyncio.sleep(1.0)
            desk.send(spot_warning(A, at=desk.clock.now()))
            await desk.woken.wait()
            assert 60.0 < desk.clock.monotonic() < 250.0
            desk.tick()
            await asyncio.sleep(30.0)
        events = [line["event"] for line in lines]
        assert events == ["notice_queue_unreachable", "notice_queue_reachable_again", "notices_received"]
        assert len(desk.queue) == 0

    play(story)


def test_a_delete_that_failed_is_made_again() -> None:
    async def story(desk: Desk) -> None:
        desk.queue.faults.fail("delete", TransientError("no reply"), times=2)
        desk.queue.faults.lose_reply("delete")
        for number in range(25):
            desk.send(rebalance(instance_id(number), at=desk.clock.now()))
        await asyncio.sleep(3.0)
        desk.tick()
        await asyncio.sleep(60.0)
        assert len(desk.queue) == 0

    play(story)


def test_one_call_waits_while_the_queue_is_quiet_and_several_work_while_it_is_deep() -> None:
    async def story(desk: Desk) -> None:
        await asyncio.sleep(100.0)
        assert desk.queue.receiving_max == 1
        for number in range(200):
            desk.send(rebalance(instance_id(number), at=desk.clock.now()))
        await asyncio.sleep(5.0)
        assert desk.queue.receiving_max == 4
        assert len(desk.book) == 200
        desk.queue.receiving_max = 0
        await asyncio.sleep(25.0)
        assert desk.queue.receiving_max == 1

    play(story)


def test_a_full_book_leaves_messages_in_the_queue() -> None:
    async def story(desk: Desk) -> None:
        for _ in range(UNSTORED_MAX):
            desk.book.offer((), lambda: None)
        desk.send(*(rebalance(instance_id(number)) for number in range(30)))
        await asyncio.sleep(200.0)
        assert len(desk.queue) == 30
        desk.tick()
        await asyncio.sleep(200.0)
        desk.tick()
        await asyncio.sleep(1.0)
        assert len(desk.queue) == 0

    play(story)


def test_ages_and_depth_are_reported() -> None:
    async def story(desk: Desk) -> None:
        desk.queue.faults.fail("receive", TransientError("no reply"))
        desk.send(spot_warning(A, at=desk.clock.now() - 7))
        await desk.receiver.read_depth(a_policy())
        await asyncio.sleep(30.0)

    desk = play(story)
    assert desk.counts.depth == 1
    assert 7 <= desk.counts.ages[0] <= 9
    assert 0 < desk.counts.oldest[0] < 2
    assert desk.counts.oldest[-1] == 0.0


def test_the_status_watch_asks_about_running_instances_only() -> None:
    class Source:
        async def statuses(self, ids: Collection[InstanceId]) -> Notices:
            asked.extend(ids)
            return {}

    asked: list[InstanceId] = []
    book = NoticeBook(VirtualClock(), lambda: None)

    async def run() -> None:
        book.view({A: an_instance(A), InstanceId("i-2"): an_instance("i-2", "pending")}, {})
        await StatusWatch(Source(), book).read(a_policy())

    asyncio.run(run())
    assert asked == [A]


NODES = 300
MESSAGES = 15_000
FLOOD_S = 60
CALL_S = 0.02


class Seen(Recorder):
    """Instances with a notice, and when ticks ended."""

    def __init__(self) -> None:
        super().__init__()
        self.instances: set[InstanceId] = set()
        self.ticks_at: list[float] = []

    def tick_done(self, snapshot: Any, plan: Any, duration_s: float) -> None:
        self.instances |= snapshot.notices.keys()
        self.ticks_at.append(asyncio.get_running_loop().time())


class SlowFleet(FakeFleet):
    """EC2 answers after a while."""

    async def instances(self) -> Any:
        await asyncio.sleep(0.3)
        return await super().instances()


def flood(rng: random.Random, ours: list[InstanceId], at: float) -> str:
    """One of the messages of a bad minute: ours, others' and nobody's, mostly told before."""
    draw = rng.random()
    mine, other = rng.choice(ours), instance_id(10**6 + rng.randrange(2000))
    if draw < 0.3:
        return json.dumps(spot_warning(mine, at=at))
    if draw < 0.4:
        return json.dumps(rebalance(mine, at=at - rng.randrange(60)))
    if draw < 0.9:
        return json.dumps(state_change(other, rng.choice(["pending", "running", "stopped", "terminated"]), at=at))
    return json.dumps(an_event("Object Created", {}, source="aws.s3")) if draw < 0.95 else "garbage"


def test_fifteen_thousand_messages_in_a_minute_leave_no_backlog_and_hold_no_tick_up() -> None:
    rng = random.Random(4)
    clock, recorder, hints = VirtualClock(), Seen(), list[float]()
    queue = FakeNoticeQueue(clock, REGION, call_s=CALL_S)
    fleet = SlowFleet(now=clock.now)
    scheduler = FakeScheduler(dynamic(NODES))

    async def run() -> None:
        ledger = Ledger(FakeClaimStore(FakeTable()))
        await ledger.begin("test")
        loop = Loop(fleet, scheduler, ledger, clock, recorder)
        receiver = NoticeReceiver(queue, loop.notices, clock, Counts(), Polling(4, 20.0), rng.random)
        policy = a_policy(dynamic(NODES))
        tasks = [
            asyncio.create_task(receiver.run()),
            asyncio.create_task(loop.run(lambda: policy, Pace)),
        ]
        scheduler.submit(NODES, seconds=10_000)
        scheduler.advance(1.0)
        loop.inbox.wake()
        await asyncio.sleep(10.0)
        scheduler.boot(*dynamic(NODES))
        scheduler.advance(1.0)
        await asyncio.sleep(10.0)
        ours = [claim.instance for launch in ledger.launches.values() for claim in launch.claims]
        assert len(ours) == NODES
        recorder.ticks_at.clear()
        begun = clock.monotonic()
        for second in range(FLOOD_S):
            for _ in range(MESSAGES // FLOOD_S):
                queue.send(flood(rng, ours, clock.now()))
            if second % 10 == 0:
                sent = clock.monotonic()
                hint = Hint(HintKind.SUSPEND, (NodeName("q1-dy-c5-1"),), str(second), clock.now())
                loop.inbox.offer(hint, lambda sent=sent: hints.append(clock.monotonic() - sent))
            await asyncio.sleep(1.0)
        await asyncio.sleep(3.0)
        assert len(queue) == 0
        assert await queue.depth() == 0
        gaps = [b - a for a, b in zip([begun, *recorder.ticks_at], recorder.ticks_at, strict=False)]
        assert max(gaps) < 2.0
        assert len(hints) == FLOOD_S // 10
        assert max(hints) < 2.0
        assert recorder.instances == set(ours)
        loop.stop()
        await tasks[1]
        tasks[0].cancel()
        with suppress(asyncio.CancelledError):
            await tasks[0]

    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        runner.run(run())
