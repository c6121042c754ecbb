"""Operators' requests and the daemon over one item of one table."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import uuid4

import pytest

from clustermgtd.adapters.aws.dynamodb_claim_store import DynamoDbClaimStore
from clustermgtd.adapters.aws.fleet_item import FleetRequests
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import ConfigurationError, ConflictError, FencedError
from clustermgtd.model.fleet_status import CLUSTER, FleetRecord, FleetRequestError, FleetStatus, ScopeStatus, requested
from tests.contract.aws.wire import Fault, Wire

Story = Callable[[DynamoDbClaimStore, FleetRequests, Wire], Awaitable[None]]


@pytest.fixture
def play(dynamodb_endpoint: str) -> Callable[[Story], None]:
    """Runs a story over a new table."""

    def played(story: Story) -> None:
        async def run() -> None:
            table = f"claims-{uuid4().hex[:12]}"
            async with Wire(dynamodb_endpoint) as wire, AwsSession("eu-west-1", endpoint_url=wire.url) as session:
                store = DynamoDbClaimStore(session, table)
                await store.ensure_table()
                await store.begin_term("head")
                await story(store, FleetRequests(session, table), wire)

        asyncio.run(run())

    return played


def a_request(status: FleetStatus) -> Callable[[FleetRecord], FleetRecord]:
    return lambda before: requested(before, ScopeStatus(CLUSTER, status, 1000.0, by="operator@head"))


STOP, START = a_request(FleetStatus.STOP_REQUESTED), a_request(FleetStatus.START_REQUESTED)


def test_the_daemon_sees_what_an_operator_asks_and_the_operator_what_became_of_it(
    play: Callable[[Story], None],
) -> None:
    async def story(store: DynamoDbClaimStore, requests: FleetRequests, wire: Wire) -> None:
        await requests.change(STOP)
        seen = await store.load_fleet()
        assert seen.scope().status is FleetStatus.STOP_REQUESTED
        stopping = replace(seen.scope(), status=FleetStatus.STOPPING)
        written = await store.put_fleet(seen.with_scope(stopping))
        assert await requests.read() == written

    play(story)


def test_a_request_in_between_makes_the_daemon_decide_again(play: Callable[[Story], None]) -> None:
    async def story(store: DynamoDbClaimStore, requests: FleetRequests, wire: Wire) -> None:
        await requests.change(STOP)
        seen = await store.load_fleet()
        await requests.change(START)
        with pytest.raises(ConflictError) as caught:
            await store.put_fleet(replace(seen, closed=()))
        assert not isinstance(caught.value, FencedError)
        assert (await requests.read()).scope().status is FleetStatus.START_REQUESTED

    play(story)


def test_a_request_is_made_anew_when_the_daemon_was_faster(play: Callable[[Story], None]) -> None:
    async def story(store: DynamoDbClaimStore, requests: FleetRequests, wire: Wire) -> None:
        calls = 0
        await requests.change(STOP)
        raced = await store.load_fleet()

        def slow(before: FleetRecord) -> FleetRecord:
            nonlocal calls
            calls += 1
            return START(before)

        wire.spoil_next("PutItem", Fault.REFUSED)
        assert (await requests.change(slow)).scope().status is FleetStatus.START_REQUESTED
        assert calls == 2
        assert raced.version + 1 == (await requests.read()).version

    play(story)


def test_a_refused_request_writes_nothing(play: Callable[[Story], None]) -> None:
    async def story(store: DynamoDbClaimStore, requests: FleetRequests, wire: Wire) -> None:
        with pytest.raises(FleetRequestError, match="it is RUNNING already"):
            await requests.change(START)
        assert await requests.read() == FleetRecord()

    play(story)


def test_a_table_that_is_not_there_is_a_sentence_for_people(dynamodb_endpoint: str) -> None:
    async def run() -> None:
        async with AwsSession("eu-west-1", endpoint_url=dynamodb_endpoint) as session:
            with pytest.raises(ConfigurationError, match="there is no DynamoDB table nowhere in eu-west-1"):
                await FleetRequests(session, "nowhere").read()

    asyncio.run(run())
