"""Subnets over the wire, as the lab's EC2 describes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.adapters.aws.subnets import BATCH_MAX, AwsSubnets
from clustermgtd.adapters.system.loop_clock import LoopClock
from clustermgtd.errors import TransientError
from clustermgtd.lab.ec2.scenario import Scenario, SubnetSpec
from clustermgtd.model.ids import SubnetId
from clustermgtd.model.offering import Subnet
from tests.contract.aws.wire import Fault, Wire

A, B, MISSING = SubnetId("subnet-0000000000000000a"), SubnetId("subnet-0000000000000000b"), SubnetId("subnet-0f")
REGION = Scenario(subnets={A: SubnetSpec("us-east-1a", "10.1.0.0/24", 5), B: SubnetSpec("us-east-1b", "10.2.0.0/28")})


def read(url: str, ids: Iterable[SubnetId]) -> Mapping[SubnetId, Subnet]:
    async def run() -> Mapping[SubnetId, Subnet]:
        async with AwsSession("us-east-1", endpoint_url=url) as session:
            return await AwsSubnets(session, LoopClock()).subnets(ids)

    return asyncio.run(run())


def test_zones_and_free_addresses_of_those_that_exist(serve: Callable[[Scenario], Any]) -> None:
    with serve(REGION) as aws:
        found = read(aws.endpoint_url, [A, B, MISSING])
    assert {id: (subnet.zone, subnet.free_addresses) for id, subnet in found.items()} == {
        A: ("us-east-1a", 5),
        B: ("us-east-1b", 11),
    }
    assert all(subnet.read_at > 0 for subnet in found.values())


def test_more_subnets_than_one_filter_takes(serve: Callable[[Scenario], Any]) -> None:
    many = [SubnetId(f"subnet-{number:017x}") for number in range(BATCH_MAX)]
    with serve(REGION) as aws:
        assert set(read(aws.endpoint_url, [*many, A, B])) == {A, B}


def test_an_unreachable_ec2_is_a_transient_error(serve: Callable[[Scenario], Any]) -> None:
    async def run(endpoint: str) -> None:
        async with Wire(endpoint) as wire, AwsSession("us-east-1", endpoint_url=wire.url) as session:
            wire.spoil_next("DescribeSubnets", Fault.REFUSED)
            with pytest.raises(TransientError):
                await AwsSubnets(session, LoopClock()).subnets([A])

    with serve(REGION) as aws:
        asyncio.run(run(aws.endpoint_url))
