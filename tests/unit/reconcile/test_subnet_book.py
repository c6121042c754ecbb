"""The newest reading of subnets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import pytest

from clustermgtd.errors import TransientError
from clustermgtd.model.ids import InstanceType, SubnetId
from clustermgtd.model.offering import Offering, Subnet
from clustermgtd.reconcile.subnet_book import SubnetBook
from tests.builders import a_policy

A, B = SubnetId("subnet-a"), SubnetId("subnet-b")
POLICY = a_policy(offerings=tuple(Offering(InstanceType(t), s) for t in ("c5.large", "m5.large") for s in (A, B)))


class Source:
    """Answers, or does not."""

    def __init__(self) -> None:
        self.asked: list[set[SubnetId]] = []
        self.is_there = True

    async def subnets(self, ids: Iterable[SubnetId]) -> Mapping[SubnetId, Subnet]:
        self.asked.append(set(ids))
        if not self.is_there:
            raise TransientError("nobody there")
        return {A: Subnet(A, "zone-a", 7)}


def test_the_subnets_of_all_offerings_are_read_and_kept_while_ec2_does_not_answer() -> None:
    source = Source()
    book = SubnetBook(source)
    assert book.subnets() == {}
    asyncio.run(book.read(POLICY))
    assert source.asked == [{A, B}]
    assert book.subnets() == {A: Subnet(A, "zone-a", 7)}
    source.is_there = False
    with pytest.raises(TransientError):
        asyncio.run(book.read(POLICY))
    assert book.subnets() == {A: Subnet(A, "zone-a", 7)}
