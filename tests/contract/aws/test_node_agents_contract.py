"""What every `NodeAgents` promises: the fake, and DynamoDB over the wire, where the agents' own client writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol
from uuid import uuid4

import pytest

from clustermgtd.adapters.aws.claim_table import ensure_table
from clustermgtd.adapters.aws.dynamodb_node_agents import DynamoDbNodeAgents
from clustermgtd.adapters.aws.node_variables import store_variables
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import ConfigurationError, NotFoundError, TransientError
from clustermgtd.model.ids import InstanceId, NodeName
from clustermgtd.model.node_report import (
    HealthTrouble,
    HookState,
    NodeReport,
    SlurmdTrouble,
    announcement_shard,
)
from clustermgtd.model.notice import Notice, NoticeAction, NoticeKind, NoticeSource
from clustermgtd.node.record import DynamoDbRecord
from clustermgtd.ports.node_agents import Announcement, NodeAgents
from tests.contract.aws.wire import Fault, Wire
from tests.fakes.node_agents import FakeNodeAgents

INSTANCE = InstanceId("i-00000000000000001")
SPOT = Notice(
    "spot-interruption",
    NoticeKind.SPOT_INTERRUPTION,
    1_700_000_000.0,
    NoticeSource.NODE_AGENT,
    (INSTANCE,),
    action=NoticeAction.TERMINATE,
    effective_at=1_700_000_120.0,
)
REPORT = NodeReport(
    INSTANCE,
    NodeName("q1-dy-c5-1"),
    sequence=3,
    at=1_700_000_000.5,
    phases={"agent-started": 1_700_000_000.25},
    notices=(
        SPOT,
        replace(SPOT, kind=NoticeKind.SCHEDULED_EVENT, matter="instance-event-1", is_over=True, detail="system-reboot"),
    ),
    hook=HookState.KILLED,
    slurmd=SlurmdTrouble(1_700_000_001.0, 4, -9),
    health=HealthTrouble(1_700_000_002.0, None, "GPU 3: lost\nrow remap failed"),
    ended="nobody manages this node any more",
)


class Cluster(Protocol):
    """A daemon's side and the agents' side of one table."""

    daemon: NodeAgents

    async def tell(self, report: NodeReport) -> None:
        """An agent stores and announces a report."""
        ...

    async def heartbeat(self) -> int | None:
        """What an agent reads."""
        ...

    def refuse(self, method: str) -> None:
        """The next call of a method of the port finds nobody."""
        ...


class InMemory:
    def __init__(self) -> None:
        self.daemon = FakeNodeAgents()

    async def tell(self, report: NodeReport) -> None:
        self.daemon.tell(report)

    async def heartbeat(self) -> int | None:
        return self.daemon.beats or None

    def refuse(self, method: str) -> None:
        self.daemon.faults.fail(method, TransientError("nobody there"))


OPERATIONS = {
    "beat": "UpdateItem",
    "announcements": "BatchGetItem",
    "reports": "BatchGetItem",
    "acknowledge": "UpdateItem",
}


class OverTheWire:
    def __init__(self, session: AwsSession, wire: Wire, record: DynamoDbRecord, table: str) -> None:
        self.daemon = DynamoDbNodeAgents(session, table)
        self.session = session
        self.table = table
        self._wire = wire
        self.record = record

    async def tell(self, report: NodeReport) -> None:
        await asyncio.to_thread(self.record.report, report)

    async def heartbeat(self) -> int | None:
        return await asyncio.to_thread(self.record.heartbeat)

    def refuse(self, method: str) -> None:
        self._wire.spoil_next(OPERATIONS[method], Fault.REFUSED)


@asynccontextmanager
async def in_memory() -> AsyncIterator[InMemory]:
    yield InMemory()


@asynccontextmanager
async def over_the_wire(endpoint: str) -> AsyncIterator[OverTheWire]:
    table = f"agents-{uuid4().hex[:12]}"
    async with Wire(endpoint) as wire, AwsSession("eu-west-1", endpoint_url=wire.url) as session:
        await ensure_table(session, table, {})
        record = await asyncio.to_thread(DynamoDbRecord, table, "eu-west-1", endpoint)
        try:
            yield OverTheWire(session, wire, record, table)
        finally:
            record.close()


Scenario = Callable[[Any], Awaitable[None]]
Play = Callable[[Scenario], None]


@pytest.fixture(params=["fake", "dynamodb"])
def play(request: pytest.FixtureRequest) -> Play:
    """Runs a scenario over a new table."""
    opened: Callable[[], AbstractAsyncContextManager[Cluster]]
    if request.param == "fake":
        opened = in_memory
    else:
        endpoint = request.getfixturevalue("dynamodb_endpoint")
        opened = lambda: over_the_wire(endpoint)  # noqa: E731
    return lambda scenario: asyncio.run(_played(opened, scenario))


async def _played(opened: Callable[[], AbstractAsyncContextManager[Cluster]], scenario: Scenario) -> None:
    async with opened() as cluster:
        await scenario(cluster)


def test_a_report_arrives_as_it_was_told(play: Play) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.tell(REPORT)
        assert await cluster.daemon.announcements() == [Announcement(REPORT.instance, 3)]
        assert await cluster.daemon.reports([REPORT.instance]) == {REPORT.instance: REPORT}

    play(scenario)


def test_reports_of_many_instances_and_none_of_those_that_said_nothing(play: Play) -> None:
    async def scenario(cluster: Cluster) -> None:
        told = [replace(REPORT, instance=InstanceId(f"i-{number:017x}"), notices=()) for number in range(30)]
        for report in told:
            await cluster.tell(report)
        silent = [InstanceId(f"i-f{number:016x}") for number in range(120)]
        assert await cluster.daemon.reports([report.instance for report in told] + silent) == {
            report.instance: report for report in told
        }
        assert list(await cluster.daemon.announcements()) == [Announcement(report.instance, 3) for report in told]
        assert len({announcement_shard(report.instance) for report in told}) > 4
        assert await cluster.daemon.reports([]) == {}

    play(scenario)


def test_what_is_acknowledged_is_not_announced_again(play: Play) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.tell(REPORT)
        announced = await cluster.daemon.announcements()
        await cluster.daemon.acknowledge(announced)
        await cluster.daemon.acknowledge(announced)
        assert list(await cluster.daemon.announcements()) == []
        assert await cluster.daemon.reports([REPORT.instance]) == {REPORT.instance: REPORT}

    play(scenario)


def test_a_report_that_is_told_between_reading_and_acknowledging_is_announced_still(play: Play) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.tell(REPORT)
        announced = await cluster.daemon.announcements()
        await cluster.tell(replace(REPORT, sequence=4, hook=HookState.DONE))
        await cluster.daemon.acknowledge(announced)
        assert list(await cluster.daemon.announcements()) == [Announcement(REPORT.instance, 4)]

    play(scenario)


def test_the_heartbeat_changes_with_each_beat(play: Play) -> None:
    async def scenario(cluster: Cluster) -> None:
        assert await cluster.heartbeat() is None
        seen = []
        for _ in range(3):
            await cluster.daemon.beat()
            seen.append(await cluster.heartbeat())
        assert len(set(seen)) == 3

    play(scenario)


@pytest.mark.parametrize("method", ["beat", "announcements", "reports", "acknowledge"])
def test_a_call_without_an_answer_may_be_made_again(play: Play, method: str) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.tell(REPORT)
        calls = {
            "beat": cluster.daemon.beat,
            "announcements": cluster.daemon.announcements,
            "reports": lambda: cluster.daemon.reports([REPORT.instance]),
            "acknowledge": lambda: cluster.daemon.acknowledge([Announcement(REPORT.instance, 3)]),
        }
        cluster.refuse(method)
        with pytest.raises(TransientError):
            await calls[method]()
        await calls[method]()

    play(scenario)


def test_an_instance_reads_the_variables_that_the_daemon_stored(dynamodb_endpoint: str) -> None:
    async def scenario() -> None:
        async with over_the_wire(dynamodb_endpoint) as cluster:
            for _ in range(2):
                await store_variables(cluster.session, cluster.table, {"d1": '{"a":1}', "d2": '{"a":2}'})
            assert await asyncio.to_thread(cluster.record.variables, "d2") == '{"a":2}'
            with pytest.raises(NotFoundError, match="has no variables#d3"):
                await asyncio.to_thread(cluster.record.variables, "d3")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "body",
    ["", "{", "{}", '{"instance":"i-other"}', '{"instance":"i-1","notices":[{"kind":"new","at":1}]}'],
)
def test_a_report_that_nobody_understands_hides_no_other(dynamodb_endpoint: str, body: str) -> None:
    async def scenario() -> None:
        async with over_the_wire(dynamodb_endpoint) as cluster:
            await cluster.tell(REPORT)
            item = {"Id": {"S": "boot#i-1"}, "Body": {"S": body}}
            await cluster.session.call("dynamodb", "put_item", {"TableName": cluster.table, "Item": item}, 10)
            found = await cluster.daemon.reports([REPORT.instance, InstanceId("i-1")])
            assert list(found) == [REPORT.instance]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "forged",
    [
        replace(SPOT, instances=(InstanceId("i-2"),)),
        replace(SPOT, instances=(INSTANCE, InstanceId("i-2"))),
        replace(SPOT, kind=NoticeKind.RESERVATION_ENDING, reservation="cr-1"),
        replace(SPOT, source=NoticeSource.QUEUE),
        replace(SPOT, detail="x" * 3000),
    ],
)
def test_a_report_speaks_of_its_own_instance_only(dynamodb_endpoint: str, forged: Notice) -> None:
    async def scenario() -> None:
        async with over_the_wire(dynamodb_endpoint) as cluster:
            await cluster.tell(replace(REPORT, notices=(SPOT, forged)))
            assert await cluster.daemon.reports([INSTANCE]) == {}

    asyncio.run(scenario())


def test_a_mark_that_is_none_is_taken_away(dynamodb_endpoint: str) -> None:
    async def scenario() -> None:
        async with over_the_wire(dynamodb_endpoint) as cluster:
            item = {"Id": {"S": "announcements#3"}, "Marks": {"SS": ["nonsense", "i-1#x", "#4"]}}
            await cluster.session.call("dynamodb", "put_item", {"TableName": cluster.table, "Item": item}, 10)
            assert await cluster.daemon.announcements() == []
            key = {"TableName": cluster.table, "Key": {"Id": {"S": "announcements#3"}}}
            assert "Marks" not in (await cluster.session.call("dynamodb", "get_item", key, 10))["Item"]

    asyncio.run(scenario())


def test_a_table_that_is_gone_is_a_person_s_business(dynamodb_endpoint: str) -> None:
    async def scenario() -> None:
        async with AwsSession("eu-west-1", endpoint_url=dynamodb_endpoint) as session:
            with pytest.raises(ConfigurationError, match="no-such-table"):
                await DynamoDbNodeAgents(session, "no-such-table").beat()

    asyncio.run(scenario())
