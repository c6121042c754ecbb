"""What every `BlockSource` promises: the fake, and the lab's EC2 over the wire; and what is the wire's alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any

import pytest

from clustermgtd.adapters.aws.capacity_blocks import AwsBlocks
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import ConfigurationError, ThrottledError, TransientError
from clustermgtd.lab.ec2.scenario import ReservationSpec, Scenario
from clustermgtd.model.capacity_block import BlockState, CapacityBlock
from clustermgtd.model.ids import CapacityReservationId
from tests.contract.aws.scripted import Answer, Form, ScriptedEc2, success
from tests.contract.aws.wire import Fault, Wire
from tests.fakes.facts import FakeBlockSource

Found = Mapping[CapacityReservationId, CapacityBlock]
Read = Callable[[Collection[CapacityReservationId]], Found]

FUTURE, PRESENT, PAST, PLAIN, MISSING = (CapacityReservationId(f"cr-{n}") for n in range(1, 6))
T = 1_700_000_000.0
FAR = 4e9


def _spec(starts_at: float, ends_at: float) -> ReservationSpec:
    return ReservationSpec("p5.48xlarge", "us-east-1a", 4, kind="capacity-block", starts_at=starts_at, ends_at=ends_at)


REGION = Scenario(
    request_buckets={},
    resource_buckets={},
    capacity_reservations={
        FUTURE: _spec(FAR, FAR + 3600),
        PRESENT: _spec(T, FAR),
        PAST: _spec(T, T + 3600),
        PLAIN: ReservationSpec("c5.large", "us-east-1a", 2),
    },
)
BLOCKS = {
    FUTURE: CapacityBlock(FUTURE, BlockState.SCHEDULED, FAR, FAR + 3600, 4, 4),
    PRESENT: CapacityBlock(PRESENT, BlockState.ACTIVE, T, FAR, 4, 4),
    PAST: CapacityBlock(PAST, BlockState.ENDED, T, T + 3600, 4, 4),
}


def _over_the_wire(url: str, ids: Collection[CapacityReservationId]) -> Found:
    async def run() -> Found:
        async with AwsSession("us-east-1", endpoint_url=url) as session:
            return await AwsBlocks(session).blocks(ids)

    return asyncio.run(run())


@pytest.fixture(params=["fake", "wire"])
def read(request: pytest.FixtureRequest, serve: Callable[[Scenario], Any]) -> Any:
    if request.param == "fake":
        yield lambda ids: asyncio.run(FakeBlockSource(BLOCKS).blocks(ids))
        return
    with serve(REGION) as aws:
        yield lambda ids: _over_the_wire(aws.endpoint_url, ids)


def test_blocks_are_told_with_their_state_and_times(read: Read) -> None:
    assert read([FUTURE, PRESENT, PAST]) == BLOCKS


def test_what_is_not_asked_for_is_not_told(read: Read) -> None:
    assert read([PRESENT]) == {PRESENT: BLOCKS[PRESENT]}
    assert read([]) == {}


def test_reservations_of_another_kind_and_unknown_ones_are_left_out(read: Read) -> None:
    assert read([MISSING, PLAIN, PRESENT]) == {PRESENT: BLOCKS[PRESENT]}
    assert read([MISSING]) == {}


def test_no_call_is_made_for_nothing_and_one_for_all_that_exist(serve: Callable[[Scenario], Any]) -> None:
    async def calls(url: str, *ids: CapacityReservationId) -> int:
        async with AwsSession("us-east-1", endpoint_url=url) as session:
            await AwsBlocks(session).blocks(ids)
            return session.calls["ec2:describe_capacity_reservations"]

    with serve(REGION) as aws:
        assert asyncio.run(calls(aws.endpoint_url)) == 0
        assert asyncio.run(calls(aws.endpoint_url, FUTURE, PRESENT, PAST)) == 1
        assert asyncio.run(calls(aws.endpoint_url, FUTURE, MISSING)) == 3


@pytest.mark.parametrize(
    ("fault", "error"),
    [(Fault.REFUSED, TransientError), (Fault.THROTTLED, ThrottledError), (Fault.DENIED, ConfigurationError)],
)
def test_what_goes_wrong_is_an_error_of_our_tree(
    serve: Callable[[Scenario], Any], fault: Fault, error: type[Exception]
) -> None:
    async def run(endpoint: str) -> None:
        async with Wire(endpoint) as wire, AwsSession("us-east-1", endpoint_url=wire.url) as session:
            wire.spoil_next("DescribeCapacityReservations", fault)
            with pytest.raises(error):
                await AwsBlocks(session).blocks([PRESENT])

    with serve(REGION) as aws:
        asyncio.run(run(aws.endpoint_url))


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("payment-pending", BlockState.SCHEDULED),
        ("delayed", BlockState.SCHEDULED),
        ("assessing", BlockState.SCHEDULED),
        ("failed", BlockState.ENDED),
        ("cancelled", BlockState.ENDED),
        ("a-state-of-next-year", BlockState.SCHEDULED),
    ],
)
def test_every_page_is_read_and_every_state_means_something(said: str, state: BlockState) -> None:
    def entry(id: str) -> str:
        return (
            f"<item><capacityReservationId>{id}</capacityReservationId><state>{said}</state>"
            "<reservationType>capacity-block</reservationType><startDate>2030-01-01T00:00:00.000Z</startDate>"
            "<endDate>2030-01-02T00:00:00.000Z</endDate></item>"
        )

    def answer(form: Form) -> Answer:
        is_second = form.get("NextToken") == "more"
        items = entry("cr-b") if is_second else entry("cr-a")
        token = "" if is_second else "<nextToken>more</nextToken>"
        return success(
            "DescribeCapacityReservations", f"<capacityReservationSet>{items}</capacityReservationSet>{token}"
        )

    async def run() -> Found:
        async with ScriptedEc2(answer) as ec2, AwsSession("us-east-1", endpoint_url=ec2.url) as session:
            return await AwsBlocks(session).blocks([CapacityReservationId("cr-a"), CapacityReservationId("cr-b")])

    assert {id: block.state for id, block in asyncio.run(run()).items()} == {"cr-a": state, "cr-b": state}
