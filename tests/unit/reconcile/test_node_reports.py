"""What agents told reaches the snapshot, cheaply, and survives what goes wrong; the heartbeat goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from clustermgtd.decide.plan import decide
from clustermgtd.errors import TransientError
from clustermgtd.model.action import Reason, SetNodesDown
from clustermgtd.model.claim import ClaimState
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.node_report import HealthTrouble, HookState, NodeReport, SlurmdTrouble
from clustermgtd.model.notice import Notice, NoticeAction, NoticeKind, NoticeSource
from clustermgtd.model.snapshot import Memory, Plan
from clustermgtd.reconcile.heartbeat import RETRY_S, Heartbeat
from clustermgtd.reconcile.node_reports import UNSEEN_KEPT_S, NodeReportBook
from clustermgtd.reconcile.notice_book import NoticeBook, Offered
from tests.builders import RUNNING, a_claim, a_launch, a_node, a_policy, a_snapshot, an_instance
from tests.fakes.clock import FakeClock
from tests.fakes.node_agents import FakeNodeAgents

PERIOD_S = 5.0
ONE, TWO = InstanceId("i-1"), InstanceId("i-2")
WARNING = Notice(
    "spot-interruption",
    NoticeKind.SPOT_INTERRUPTION,
    1_700_000_000.0,
    NoticeSource.NODE_AGENT,
    (ONE,),
    action=NoticeAction.TERMINATE,
    effective_at=1_700_000_120.0,
)


class Stage:
    def __init__(self) -> None:
        self.agents = FakeNodeAgents()
        self.clock = FakeClock()
        self.wakes = 0
        self.offered: list[Notice] = []
        self.has_room = True
        self.book = NodeReportBook(self.agents, self.clock, lambda: PERIOD_S, self._wake, self._offer)

    def _offer(self, notices: Sequence[Notice]) -> bool:
        self.offered += notices if self.has_room else ()
        return self.has_room

    def _wake(self) -> None:
        self.wakes += 1

    def tick(self, *live: InstanceId) -> None:
        instances = [an_instance(instance) for instance in live]
        snapshot = a_snapshot(instances=instances, now=self.clock.now())
        self.book.tick_done(snapshot, Plan((), Memory(), 0), 0.1)


def play(story: Callable[[Stage], Awaitable[None]]) -> None:
    """Run the story beside a running book."""

    async def run() -> None:
        stage = Stage()
        reading = asyncio.create_task(stage.book.run())
        try:
            await story(stage)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    asyncio.run(run())


def test_a_warning_wakes_the_loop_and_is_in_the_next_snapshot() -> None:
    async def story(stage: Stage) -> None:
        stage.tick(ONE, TWO)
        await stage.clock.advance(1.0)
        report = NodeReport(ONE, notices=(WARNING,), sequence=1)
        stage.agents.tell(report)
        await stage.clock.advance(PERIOD_S)
        assert stage.book.reports() == {ONE: report}
        assert stage.wakes == 1
        assert stage.offered == [WARNING]
        assert stage.agents.announced == set()

    play(story)


EVENT = replace(
    WARNING,
    id="event-1",
    kind=NoticeKind.SCHEDULED_EVENT,
    action=NoticeAction.REBOOT,
    effective_at=1_700_090_000.0,
    matter="event-1",
)


def test_a_warning_that_only_the_agent_saw_empties_the_node() -> None:
    """The metadata is the third way, beside the queue and DescribeInstanceStatus."""
    launch = a_launch(a_claim("q1-dy-c5-1", ClaimState.READY, instance=ONE))
    seen = a_snapshot(nodes=[a_node("q1-dy-c5-1", RUNNING)], instances=[an_instance(ONE)], launches=[launch])
    agents, clock, wakes = FakeNodeAgents(), FakeClock(), []
    notices = NoticeBook(clock, lambda: wakes.append("loop"))

    def offer(told: Sequence[Notice]) -> bool:
        return notices.offer(told, lambda: None) is not Offered.REFUSED

    async def read() -> None:
        book = NodeReportBook(agents, clock, lambda: PERIOD_S, lambda: None, offer)
        book.tick_done(seen, Plan((), Memory(), 0), 0.1)
        assert notices.view(seen.instances, seen.launches) == {}
        agents.tell(NodeReport(ONE, sequence=1, notices=(WARNING,)))
        await book.read_announced()

    asyncio.run(read())
    known = notices.view(seen.instances, seen.launches)
    made = decide(replace(seen, now=WARNING.announced_at + 3.0, notices=known), a_policy())
    (down,) = [action for action in made.actions if isinstance(action, SetNodesDown)]
    assert (down.nodes, down.reason, wakes) == (("q1-dy-c5-1",), Reason.INTERRUPTION, ["loop"])


def test_reports_are_as_old_as_the_newest_reading_that_left_nothing_out() -> None:
    async def story(stage: Stage) -> None:
        assert stage.book.read_at == 0.0
        stage.tick(ONE)
        await stage.clock.advance(PERIOD_S)
        first = stage.book.read_at
        assert first == stage.clock.now()
        stage.agents.faults.fail("announcements", TransientError("slow"))
        await stage.clock.advance(PERIOD_S)
        assert stage.book.read_at == first

    play(story)


def test_an_event_that_the_metadata_shows_no_more_is_over() -> None:
    async def story(stage: Stage) -> None:
        stage.tick(ONE)
        stage.agents.tell(NodeReport(ONE, sequence=1, notices=(EVENT, WARNING)))
        await stage.book.read_announced()
        stage.agents.tell(NodeReport(ONE, sequence=2))
        await stage.book.read_announced()
        assert stage.offered == [EVENT, WARNING, replace(EVENT, is_over=True)]

    play(story)


def test_only_reports_that_changed_are_read() -> None:
    async def story(stage: Stage) -> None:
        stage.tick(ONE, TWO)
        await stage.clock.advance(10 * PERIOD_S)
        assert stage.agents.read == [ONE, TWO]  # once, at the start
        stage.agents.tell(NodeReport(TWO, sequence=1))
        await stage.clock.advance(10 * PERIOD_S)
        assert stage.agents.read == [ONE, TWO, TWO]

    play(story)


def test_phases_of_a_boot_wake_nobody() -> None:
    async def story(stage: Stage) -> None:
        stage.tick(ONE)
        stage.agents.tell(NodeReport(ONE, phases={"agent-started": 1.0}, sequence=1))
        await stage.clock.advance(PERIOD_S)
        assert stage.book.reports()[ONE].phases == {"agent-started": 1.0}
        assert stage.wakes == 0

    play(story)


def test_what_a_predecessor_has_read_is_read_again_at_the_start() -> None:
    async def story(stage: Stage) -> None:
        stage.agents.tell(NodeReport(ONE, ended="nobody is there", sequence=1))
        stage.agents.announced.clear()
        stage.agents.faults.fail("reports", TransientError("nobody there"))
        stage.tick(ONE)
        await stage.clock.advance(2 * PERIOD_S)
        assert stage.book.reports()[ONE].ended == "nobody is there"

    play(story)


def test_without_instances_nothing_is_read() -> None:
    async def story(stage: Stage) -> None:
        stage.tick()
        stage.agents.faults.fail("announcements", TransientError("must not be asked"))
        await stage.clock.advance(3 * PERIOD_S)
        with pytest.raises(TransientError):
            await stage.agents.announcements()

    play(story)


def test_a_report_that_was_not_read_is_not_acknowledged() -> None:
    async def story(stage: Stage) -> None:
        stage.tick(ONE)
        await stage.clock.advance(1.0)
        stage.agents.tell(NodeReport(ONE, notices=(WARNING,), sequence=1))
        stage.agents.faults.fail("reports", TransientError("nobody there"))
        with capture_logs() as said:
            await stage.clock.advance(PERIOD_S)
            assert len(stage.agents.announced) == 1
            await stage.clock.advance(PERIOD_S)
        assert stage.book.reports()[ONE].spot_interruption == WARNING
        events = [entry["event"] for entry in said]
        assert events == ["node_reports_unreadable", "node_notice", "node_reports_readable_again"]

    play(story)


@pytest.mark.parametrize("is_predecessors", [False, True])
def test_a_notice_for_which_there_is_no_room_is_offered_again(is_predecessors: bool) -> None:
    async def story(stage: Stage) -> None:
        stage.has_room = False
        stage.agents.tell(NodeReport(ONE, notices=(WARNING,), sequence=1))
        if is_predecessors:
            stage.agents.announced.clear()
        stage.tick(ONE)
        await stage.clock.advance(2 * PERIOD_S)
        stage.has_room = True
        await stage.clock.advance(PERIOD_S)
        assert stage.offered
        assert stage.wakes == 1
        assert stage.agents.announced == set()

    play(story)


def test_a_report_goes_with_its_instance() -> None:
    async def story(stage: Stage) -> None:
        stage.tick(ONE)
        stage.agents.tell(NodeReport(ONE, sequence=1))
        await stage.clock.advance(PERIOD_S)
        stage.tick(ONE)
        stage.tick()
        assert stage.book.reports() == {}

    play(story)


def test_a_report_may_be_ahead_of_what_ec2_shows_but_not_for_ever() -> None:
    async def story(stage: Stage) -> None:
        stage.tick(ONE)
        await stage.clock.advance(1.0)
        stage.agents.tell(NodeReport(TWO, sequence=1))
        await stage.clock.advance(PERIOD_S)
        stage.tick(ONE)
        assert TWO in stage.book.reports()
        await stage.clock.advance(UNSEEN_KEPT_S)
        stage.tick(ONE)
        assert TWO not in stage.book.reports()

    play(story)


def test_every_piece_of_news_is_logged_once() -> None:
    async def story(stage: Stage) -> None:
        stage.tick(ONE)
        await stage.clock.advance(1.0)
        news = NodeReport(
            ONE,
            notices=(WARNING,),
            hook=HookState.RUNNING,
            slurmd=SlurmdTrouble(1.0, 4, -9),
            health=HealthTrouble(2.0, 9, "GPU 3: lost"),
            ended="enough",
        )
        with capture_logs() as said:
            for sequence, report in enumerate((news, replace(news, hook=HookState.DONE), NodeReport(ONE))):
                stage.agents.tell(replace(report, sequence=sequence))
                await stage.clock.advance(PERIOD_S)
        assert [entry["event"] for entry in said] == [
            *("node_notice", "node_hook", "node_slurmd", "node_health", "node_ends_itself"),
            "node_hook",
            *("node_hook", "node_slurmd", "node_health"),
        ]

    play(story)


def test_the_heart_beats_each_period_and_soon_after_a_failure() -> None:
    async def story() -> None:
        agents, clock, written = FakeNodeAgents(), FakeClock(), list[float]()
        agents.faults.fail("beat", TransientError("no route"))
        beating = asyncio.create_task(Heartbeat(agents, clock, lambda: 30.0, written.append).run())
        with capture_logs() as said:
            await clock.advance(70.0)
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        assert clock.sleeps[:3] == [RETRY_S, 30.0, 30.0]
        assert agents.beats == len(written) == 3
        assert [entry["event"] for entry in said] == ["heartbeat_not_written", "heartbeat_written_again"]

    asyncio.run(story())
