"""The DynamoDB table itself: how it comes to be, what its items look like to others, and two daemons at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from clustermgtd.adapters.aws.dynamodb_claim_store import CLOSED_KEPT_S, DynamoDbClaimStore
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import (
    ConfigurationError,
    ConflictError,
    IncompleteObservationError,
    PermanentError,
    TransientError,
)
from tests.contract.aws.builders import a_launch, closed, launched
from tests.contract.aws.wire import Fault, Wire

NOW = 1_700_000_000.0


@dataclass
class Table:
    """A name that no table has yet."""

    session: AwsSession
    wire: Wire
    name: str

    def store(self) -> DynamoDbClaimStore:
        return DynamoDbClaimStore(self.session, self.name, now=lambda: NOW)

    async def call(self, operation: str, **parameters: Any) -> Any:
        return await self.session.call("dynamodb", operation, {"TableName": self.name} | parameters, 10)

    async def item(self, id: str) -> Any:
        return (await self.call("get_item", Key={"Id": {"S": id}}))["Item"]


Play = Callable[[Callable[[Table], Awaitable[None]]], None]


@pytest.fixture
def play(dynamodb_endpoint: str) -> Play:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Table]:
        async with Wire(dynamodb_endpoint) as wire, AwsSession("eu-west-1", endpoint_url=wire.url) as session:
            yield Table(session, wire, f"claims-{uuid4().hex[:12]}")

    def played(scenario: Callable[[Table], Awaitable[None]]) -> None:
        async def run() -> None:
            async with opened() as table:
                await scenario(table)

        asyncio.run(run())

    return played


def test_a_missing_table_is_made_on_demand_with_a_time_to_live_and_tags(play: Play) -> None:
    async def scenario(table: Table) -> None:
        await table.store().ensure_table({"parallelcluster:cluster-name": "demo"})
        made = (await table.call("describe_table"))["Table"]
        assert made["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
        assert made["KeySchema"] == [{"AttributeName": "Id", "KeyType": "HASH"}]
        expiry = (await table.call("describe_time_to_live"))["TimeToLiveDescription"]
        assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ExpiresAt"}
        tags = await table.session.call("dynamodb", "list_tags_of_resource", {"ResourceArn": made["TableArn"]}, 10)
        assert tags["Tags"] == [{"Key": "parallelcluster:cluster-name", "Value": "demo"}]

    play(scenario)


def test_a_table_that_is_there_is_only_looked_at(play: Play) -> None:
    async def scenario(table: Table) -> None:
        await table.store().ensure_table()
        table.session.calls.clear()
        await table.store().ensure_table()
        assert set(table.session.calls) == {"dynamodb:describe_table", "dynamodb:describe_time_to_live"}

    play(scenario)


def test_two_daemons_may_make_the_table_at_once(play: Play) -> None:
    async def scenario(table: Table) -> None:
        await asyncio.gather(table.store().ensure_table(), table.store().ensure_table())
        assert (await table.store().begin_term("head-1")).epoch == 1

    play(scenario)


@pytest.mark.parametrize(("operation", "action"), [("DescribeTable", "DescribeTable"), ("CreateTable", "CreateTable")])
def test_a_missing_permission_names_the_table_and_what_to_allow(play: Play, operation: str, action: str) -> None:
    async def scenario(table: Table) -> None:
        table.wire.spoil_next(operation, Fault.DENIED)
        with pytest.raises(ConfigurationError, match=rf"{table.name}.*dynamodb:{action}.*head node's policy"):
            await table.store().ensure_table()

    play(scenario)


def test_a_time_to_live_that_may_not_be_set_does_not_stop_the_daemon(play: Play) -> None:
    async def scenario(table: Table) -> None:
        table.wire.spoil_next("UpdateTimeToLive", Fault.DENIED)
        await table.store().ensure_table()
        assert (await table.store().begin_term("head-1")).epoch == 1

    play(scenario)


def test_a_table_with_another_key_is_refused(play: Play) -> None:
    async def scenario(table: Table) -> None:
        await table.call(
            "create_table",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "Name", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "Name", "KeyType": "HASH"}],
        )
        with pytest.raises(ConfigurationError, match="another key"):
            await table.store().ensure_table()

    play(scenario)


def test_a_table_that_vanishes_is_a_human_s_business(play: Play) -> None:
    async def scenario(table: Table) -> None:
        with pytest.raises(ConfigurationError, match=table.name):
            await table.store().load()

    play(scenario)


def test_a_record_tells_a_node_agent_its_name(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = table.store()
        await store.ensure_table()
        await store.begin_term("head-1")
        stored = await store.put(launched(await store.put(a_launch())))
        item = await table.item(f"launch#{stored.token}")
        assert item["Nodes"] == {"M": {claim.instance: {"S": claim.node} for claim in stored.claims}}
        assert (item["Version"], item["IsOpen"], item["Epoch"]) == ({"N": "2"}, {"BOOL": True}, {"N": "1"})
        assert "ExpiresAt" not in item

    play(scenario)


def test_a_closed_record_expires_after_a_week(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = table.store()
        await store.ensure_table()
        await store.begin_term("head-1")
        stored = await store.put(closed(await store.put(launched(await store.put(a_launch())))))
        item = await table.item(f"launch#{stored.token}")
        assert item["IsOpen"] == {"BOOL": False}
        assert item["ExpiresAt"] == {"N": str(int(NOW) + CLOSED_KEPT_S)}
        assert "OpenLaunches" not in await table.item("leader")

    play(scenario)


def test_a_record_of_a_newer_release_is_not_guessed_at(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = table.store()
        await store.ensure_table()
        await store.begin_term("head-1")
        stored = await store.put(a_launch())
        await table.call(
            "update_item",
            Key={"Id": {"S": f"launch#{stored.token}"}},
            UpdateExpression="SET Body = :body, Version = :version",
            ExpressionAttributeValues={":body": {"S": '{"body_version": 2, "plan": []}'}, ":version": {"N": "2"}},
        )
        with pytest.raises(PermanentError, match="body version 2"):
            await store.load()

    play(scenario)


def test_of_two_writers_of_one_version_one_wins(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = table.store()
        await store.ensure_table()
        await store.begin_term("head-1")
        first = await store.put(a_launch())
        outcomes = await asyncio.gather(
            store.put(launched(first)), store.put(closed(launched(first))), return_exceptions=True
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConflictError", "Launch"]

    play(scenario)


def test_daemons_that_start_together_get_different_terms(play: Play) -> None:
    async def scenario(table: Table) -> None:
        await table.store().ensure_table()
        terms = await asyncio.gather(*(table.store().begin_term(f"head-{number}") for number in range(5)))
        assert sorted(term.epoch for term in terms) == [1, 2, 3, 4, 5]
        assert len({term.incarnation for term in terms}) == 1

    play(scenario)


@pytest.mark.parametrize("fault", [Fault.UNAVAILABLE, Fault.REPLY_CUT, Fault.REFUSED, Fault.REPLY_LOST])
def test_a_broken_reply_is_a_transient_error(play: Play, fault: Fault) -> None:
    async def scenario(table: Table) -> None:
        store = table.store()
        await store.ensure_table()
        await store.begin_term("head-1")
        await store.put(a_launch())
        table.wire.spoil_next("BatchGetItem", fault)
        with pytest.raises(TransientError):
            await store.load()
        assert len(await store.load()) == 1

    play(scenario)


def test_a_conflict_costs_one_read(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = table.store()
        await store.ensure_table()
        await store.begin_term("head-1")
        table.session.calls.clear()
        await store.put(a_launch())
        assert table.session.calls == {"dynamodb:transact_write_items": 1}
        with pytest.raises(ConflictError):
            await store.put(launched(a_launch()))
        assert table.session.calls == {"dynamodb:transact_write_items": 2, "dynamodb:get_item": 1}

    play(scenario)


def test_a_listed_launch_that_is_not_there_makes_the_observation_incomplete(play: Play) -> None:
    async def scenario(table: Table) -> None:
        store = table.store()
        await store.ensure_table()
        await store.begin_term("head-1")
        stored = await store.put(a_launch())
        await table.call("delete_item", Key={"Id": {"S": f"launch#{stored.token}"}})
        with pytest.raises(IncompleteObservationError, match=stored.token):
            await store.load()

    play(scenario)
