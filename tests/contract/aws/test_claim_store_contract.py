"""What every `ClaimStore` promises: the fake, and DynamoDB over the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Protocol
from uuid import uuid4

import pytest

from clustermgtd.adapters.aws.dynamodb_claim_store import DynamoDbClaimStore
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import ConflictError, FencedError, ThrottledError, TransientError
from clustermgtd.model.claim import Launch
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.fleet_status import FleetRecord, FleetStatus, ScopeStatus, StopOptions
from clustermgtd.model.ids import ComputeResourceName, InstanceId, LaunchToken, NodeName, QueueName
from clustermgtd.model.offering import Market
from clustermgtd.model.offering_memory import Ban, BanScope, OfferingMemory
from clustermgtd.model.safeguards import BootRecord, HeldBack, Safeguards, Terminated
from clustermgtd.ports.claim_store import ClaimStore
from tests.contract.aws.builders import a_launch, a_request, closed, launched
from tests.contract.aws.wire import Fault, Wire
from tests.fakes.claim_store import FakeClaimStore, FakeTable
from tests.fakes.faults import Faults


class Table(Protocol):
    """One table, and what a test may do to it."""

    def store(self) -> ClaimStore:
        """Another daemon's store over this table."""
        ...

    async def report_boot(self, instance: InstanceId, phases: dict[str, float]) -> None: ...

    def lose_reply_of_put(self, method: str = "put") -> None: ...

    def throttle_put(self) -> None: ...

    def refuse(self, method: str) -> None:
        """The next call of a method of the port finds nobody."""
        ...


class InMemory:
    def __init__(self) -> None:
        self.table = FakeTable()
        self.faults = Faults()

    def store(self) -> ClaimStore:
        return FakeClaimStore(self.table, self.faults)

    async def report_boot(self, instance: InstanceId, phases: dict[str, float]) -> None:
        self.table.phases[instance] = phases

    def lose_reply_of_put(self, method: str = "put") -> None:
        self.faults.lose_reply(method)

    def throttle_put(self) -> None:
        self.faults.fail("put", ThrottledError("slower", code="ThrottlingException"))

    def refuse(self, method: str) -> None:
        self.faults.fail(method, TransientError("nobody there"))


FIRST_OPERATION = {
    "begin_term": "UpdateItem",
    "load": "GetItem",
    "put": "TransactWriteItems",
    "boot_phases": "BatchGetItem",
    "load_offerings": "GetItem",
}


class OverTheWire:
    def __init__(self, session: AwsSession, wire: Wire) -> None:
        self.name = f"claims-{uuid4().hex[:12]}"
        self.session = session
        self.wire = wire

    def store(self) -> DynamoDbClaimStore:
        return DynamoDbClaimStore(self.session, self.name)

    async def report_boot(self, instance: InstanceId, phases: dict[str, float]) -> None:
        item = {
            "Id": {"S": f"boot#{instance}"},
            "Node": {"S": "q1-dy-c5-1"},
            "Phases": {"M": {phase: {"N": str(at)} for phase, at in phases.items()}},
        }
        await self.session.call("dynamodb", "put_item", {"TableName": self.name, "Item": item}, 10)

    def lose_reply_of_put(self, method: str = "put") -> None:
        del method  # every write is a transaction
        self.wire.spoil_next("TransactWriteItems", Fault.REPLY_LOST)

    def throttle_put(self) -> None:
        self.wire.spoil_next("TransactWriteItems", Fault.THROTTLED)

    def refuse(self, method: str) -> None:
        self.wire.spoil_next(FIRST_OPERATION[method], Fault.REFUSED)


Scenario = Callable[[Table], Awaitable[None]]
Play = Callable[[Scenario], None]


@asynccontextmanager
async def in_memory() -> AsyncIterator[Table]:
    yield InMemory()


@asynccontextmanager
async def over_the_wire(endpoint: str) -> AsyncIterator[Table]:
    async with Wire(endpoint) as wire, AwsSession("eu-west-1", endpoint_url=wire.url) as session:
        table = OverTheWire(session, wire)
        await table.store().ensure_table()
        yield table


@pytest.fixture(params=["fake", "dynamodb"])
def play(request: pytest.FixtureRequest) -> Play:
    """Runs a scenario over a new table."""
    opened: Callable[[], AbstractAsyncContextManager[Table]]
    if request.param == "fake":
        opened = in_memory
    else:
        endpoint = request.getfixturevalue("dynamodb_endpoint")
        opened = lambda: over_the_wire(endpoint)  # noqa: E731

    def played(scenario: Scenario) -> None:
        async def run() -> None:
            async with opened() as table:
                await scenario(table)

        asyncio.run(run())

    return played


async def a_leader(table: Table, holder: str = "head-1") -> ClaimStore:
    store = table.store()
    await store.begin_term(holder)
    return store


def test_a_stored_launch_comes_back_as_it_was_with_its_version(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = await a_leader(table)
        stored = await store.put(a_launch())
        assert stored == replace(a_launch(), version=1)
        assert await (await a_leader(table)).load() == {stored.token: stored}

    play(scenario)


def test_each_change_of_a_launch_has_the_next_version(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = await a_leader(table)
        first = await store.put(a_launch())
        second = await store.put(launched(first))
        assert second == replace(launched(first), version=2)
        assert await store.load() == {second.token: second}
        assert await (await a_leader(table)).load() == {second.token: second}

    play(scenario)


def test_an_empty_table_has_no_open_launches(play: Play) -> None:
    async def scenario(table: Table) -> None:
        assert await table.store().load() == {}
        assert await (await a_leader(table)).load() == {}

    play(scenario)


def test_a_closed_launch_does_not_come_back(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = await a_leader(table)
        open_one = await store.put(a_launch("clmgtd-0badcafe-1-2"))
        other = await store.put(launched(await store.put(a_launch())))
        ended = await store.put(closed(other))
        assert ended.version == 3
        assert await store.load() == {open_one.token: open_one}
        assert await (await a_leader(table)).load() == {open_one.token: open_one}

    play(scenario)


def test_a_change_of_an_old_version_is_a_conflict_and_stores_nothing(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = await a_leader(table)
        first = await store.put(a_launch())
        second = await store.put(launched(first))
        with pytest.raises(ConflictError) as caught:
            await store.put(replace(first, attempts=7))
        assert not isinstance(caught.value, FencedError)
        assert await store.load() == {second.token: second}

    play(scenario)


def test_a_change_of_a_version_that_was_never_stored_is_a_conflict(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = await a_leader(table)
        first = await store.put(a_launch())
        with pytest.raises(ConflictError):
            await store.put(replace(launched(first), version=4))
        assert await store.load() == {first.token: first}

    play(scenario)


def test_a_token_is_stored_once_only(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = await a_leader(table)
        first = await store.put(a_launch())
        with pytest.raises(ConflictError):
            await store.put(a_launch(request=a_request(count=5)))
        assert await store.load() == {first.token: first}

    play(scenario)


def test_a_version_of_something_never_stored_is_a_conflict(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = await a_leader(table)
        with pytest.raises(ConflictError):
            await store.put(replace(a_launch(), version=3))
        assert await store.load() == {}

    play(scenario)


@pytest.mark.parametrize("kind", ["new", "change", "close"])
def test_a_put_whose_reply_was_lost_may_be_made_again(play: Play, kind: str) -> None:
    async def scenario(table: Table) -> None:
        store = await a_leader(table)
        launch: Launch = a_launch()
        if kind != "new":
            launch = launched(await store.put(launch))
        if kind == "close":
            launch = closed(await store.put(launch))
        table.lose_reply_of_put()
        with pytest.raises(TransientError):
            await store.put(launch)
        again = await store.put(launch)
        assert again == replace(launch, version=launch.version + 1)
        assert await store.load() == ({again.token: again} if kind != "close" else {})

    play(scenario)


def test_a_put_that_did_not_reach_the_table_may_be_made_again(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = await a_leader(table)
        table.refuse("put")
        with pytest.raises(TransientError):
            await store.put(a_launch())
        stored = await store.put(a_launch())
        assert await store.load() == {stored.token: stored}

    play(scenario)


def test_a_throttle_is_told_apart_and_stores_nothing(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = await a_leader(table)
        table.throttle_put()
        with pytest.raises(ThrottledError):
            await store.put(a_launch())
        assert await store.load() == {}

    play(scenario)


def test_a_new_term_fences_the_one_before(play: Play) -> None:
    async def scenario(table: Table) -> None:
        before = await a_leader(table, "head-1")
        first = await before.put(a_launch())
        after = await a_leader(table, "head-2")
        with pytest.raises(FencedError):
            await before.put(launched(first))
        with pytest.raises(FencedError):
            await before.put(a_launch("clmgtd-0badcafe-1-2"))
        taken_over = await after.put(launched(first))
        assert await after.load() == {taken_over.token: taken_over}

    play(scenario)


def test_a_fenced_daemon_learns_it_even_where_the_version_is_old_too(play: Play) -> None:
    async def scenario(table: Table) -> None:
        before = await a_leader(table, "head-1")
        first = await before.put(a_launch())
        after = await a_leader(table, "head-2")
        await after.put(launched(first))
        with pytest.raises(FencedError):
            await before.put(launched(first))

    play(scenario)


def test_a_store_without_a_term_writes_nothing(play: Play) -> None:
    async def scenario(table: Table) -> None:
        with pytest.raises(FencedError):
            await table.store().put(a_launch())
        assert await table.store().load() == {}

    play(scenario)


def test_terms_count_up_under_one_incarnation(play: Play) -> None:
    async def scenario(table: Table) -> None:
        terms = [await table.store().begin_term(holder) for holder in ("a", "b", "a")]
        assert len({term.incarnation for term in terms}) == 1
        assert [term.epoch for term in terms] == [1, 2, 3]
        assert len({term.token_prefix for term in terms}) == 3

    play(scenario)


def test_a_term_whose_reply_was_lost_is_never_used_twice(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = table.store()
        first = await store.begin_term("head-1")
        table.refuse("begin_term")
        with pytest.raises(TransientError):
            await store.begin_term("head-1")
        assert (await store.begin_term("head-1")).epoch > first.epoch
        await store.put(a_launch())

    play(scenario)


def test_load_is_whole_or_an_error(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = await a_leader(table)
        await store.put(a_launch())
        table.refuse("load")
        with pytest.raises(TransientError):
            await store.load()

    play(scenario)


def test_more_launches_than_one_read_takes_all_come_back(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = await a_leader(table)
        stored = [await store.put(a_launch(f"clmgtd-0badcafe-1-{number}")) for number in range(105)]
        assert await store.load() == {launch.token: launch for launch in stored}

    play(scenario)


def test_a_thousand_claims_with_a_long_history_fit_one_record(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = await a_leader(table)
        stored = await store.put(closed_but_one(await store.put(a_launch(request=a_request(count=1000)))))
        assert await (await a_leader(table)).load() == {stored.token: stored}

    play(scenario)


def closed_but_one(launch: Launch) -> Launch:
    running = launched(launch)
    first = running.claims[0]
    return closed(running).with_claims({first.node: first})


def test_boot_phases_of_those_that_reported(play: Play) -> None:
    async def scenario(table: Table) -> None:
        reported = [InstanceId(f"i-{number:017x}") for number in range(3)]
        for number, instance in enumerate(reported):
            await table.report_boot(instance, {"kernel": 1000.5 + number, "slurmd": 1003.25 + number})
        asked = [*reported, reported[0], *(InstanceId(f"i-f{number:016x}") for number in range(120))]
        phases = await table.store().boot_phases(asked)
        assert phases == {
            instance: {"kernel": 1000.5 + number, "slurmd": 1003.25 + number}
            for number, instance in enumerate(reported)
        }
        assert await table.store().boot_phases([]) == {}

    play(scenario)


def some_offerings(held: int = 2) -> OfferingMemory:
    scope = BanScope(FailureKind.CAPACITY, Market.SPOT, "c5.large", "eu-west-1a", "cr-1")
    everywhere = BanScope(FailureKind.CONFIGURATION, place="q1/c5")
    return OfferingMemory(
        (
            Ban(scope, 1000.5, 1045.5, level=2, count=24, code="InsufficientInstanceCapacity"),
            Ban(everywhere, 1000.5, 2800.5, code="UnauthorizedOperation", configuration="0badcafe"),
        ),
        (LaunchToken("clmgtd-0badcafe-1-2"),),
        tuple(NodeName(f"q1-dy-c5-{number}") for number in range(held)),
    )


def test_nothing_is_known_about_offerings_at_first(play: Play) -> None:
    async def scenario(table: Table) -> None:
        assert await (await a_leader(table)).load_offerings() == OfferingMemory()

    play(scenario)


@pytest.mark.parametrize("held", [2, 10_000])
def test_what_is_known_about_offerings_outlives_the_daemon(play: Play, held: int) -> None:
    async def scenario(table: Table) -> None:
        store = await a_leader(table)
        first = await store.put_offerings(some_offerings(held))
        assert first == replace(some_offerings(held), version=1)
        second = await store.put_offerings(replace(first, bans=first.bans[:1]))
        assert second.version == 2
        assert await (await a_leader(table)).load_offerings() == second

    play(scenario)


def test_offerings_of_an_old_version_are_a_conflict(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = await a_leader(table)
        first = await store.put_offerings(some_offerings())
        await store.put_offerings(first)
        for stale in (some_offerings(held=3), replace(first, held=())):
            with pytest.raises(ConflictError) as caught:
                await store.put_offerings(stale)
            assert not isinstance(caught.value, FencedError)

    play(scenario)


def test_a_write_of_offerings_whose_reply_was_lost_may_be_made_again(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = await a_leader(table)
        table.lose_reply_of_put("put_offerings")
        with pytest.raises(TransientError):
            await store.put_offerings(some_offerings())
        assert (await store.put_offerings(some_offerings())).version == 1

    play(scenario)


def test_a_former_daemon_writes_no_offerings(play: Play) -> None:
    async def scenario(table: Table) -> None:
        before = await a_leader(table, "head-1")
        first = await before.put_offerings(some_offerings())
        await a_leader(table, "head-2")
        with pytest.raises(FencedError):
            await before.put_offerings(first)
        with pytest.raises(FencedError):
            await table.store().put_offerings(first)

    play(scenario)


def test_nothing_is_stopped_at_first(play: Play) -> None:
    async def scenario(table: Table) -> None:
        assert await (await a_leader(table)).load_fleet() == FleetRecord()

    play(scenario)


def a_stop(status: FleetStatus = FleetStatus.STOPPING) -> FleetRecord:
    scope = ScopeStatus(QueueName("q1"), status, 1000.5, StopOptions(when_idle=True), "operator@head")
    return FleetRecord((scope,), (QueueName("q1"),))


def test_what_was_stopped_outlives_the_daemon(play: Play) -> None:
    async def scenario(table: Table) -> None:
        stored = await (await a_leader(table)).put_fleet(a_stop())
        assert stored == replace(a_stop(), version=1)
        assert await (await a_leader(table)).load_fleet() == stored

    play(scenario)


def test_a_status_that_was_changed_in_between_is_a_conflict(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = await a_leader(table)
        first = await store.put_fleet(a_stop())
        await store.put_fleet(first)
        for stale in (FleetRecord(), replace(first, closed=())):
            with pytest.raises(ConflictError) as caught:
                await store.put_fleet(stale)
            assert not isinstance(caught.value, FencedError)

    play(scenario)


def test_a_status_whose_reply_was_lost_may_be_written_again(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = await a_leader(table)
        table.lose_reply_of_put("put_fleet")
        with pytest.raises(TransientError):
            await store.put_fleet(a_stop())
        assert (await store.put_fleet(a_stop())).version == 1

    play(scenario)


def test_a_former_daemon_writes_no_status(play: Play) -> None:
    async def scenario(table: Table) -> None:
        before = await a_leader(table, "head-1")
        await a_leader(table, "head-2")
        with pytest.raises(FencedError):
            await before.put_fleet(a_stop())
        with pytest.raises(FencedError):
            await table.store().put_fleet(a_stop())

    play(scenario)


def some_safeguards(count: int = 3) -> Safeguards:
    queue = QueueName("q1")
    boots = BootRecord(queue, ComputeResourceName("c5"), 12, "0badcafe", 1000.5, 1600.5, 2, "ResumeTimeout reached")
    return Safeguards(
        (Terminated(1000.5, queue, "orphan", count),), (HeldBack(queue, "instance-missing", 40),), (boots,)
    )


def test_what_is_held_back_outlives_the_daemon(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = await a_leader(table)
        assert await store.load_safeguards() == Safeguards()
        stored = await store.put_safeguards(some_safeguards())
        assert stored == replace(some_safeguards(), version=1)
        assert await (await a_leader(table)).load_safeguards() == stored

    play(scenario)


def test_safeguards_of_an_old_version_are_a_conflict_and_of_an_old_term_fenced(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = await a_leader(table)
        first = await store.put_safeguards(some_safeguards())
        second = await store.put_safeguards(first)
        with pytest.raises(ConflictError) as caught:
            await store.put_safeguards(some_safeguards(4))
        assert not isinstance(caught.value, FencedError)
        await a_leader(table, "head-2")
        with pytest.raises(FencedError):
            await store.put_safeguards(second)

    play(scenario)


def test_safeguards_whose_reply_was_lost_may_be_written_again(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = await a_leader(table)
        table.lose_reply_of_put("put_safeguards")
        with pytest.raises(TransientError):
            await store.put_safeguards(some_safeguards())
        assert (await store.put_safeguards(some_safeguards())).version == 1

    play(scenario)
