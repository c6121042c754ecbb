"""The newest prices shape the policy, and changes are told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from structlog.testing import capture_logs

from clustermgtd.adapters.aws.list_prices import LIST_REGION, ListPrices
from clustermgtd.errors import TransientError
from clustermgtd.model.ids import InstanceType, QueueName, SubnetId
from clustermgtd.model.offering import Market, Offering
from clustermgtd.model.policy import Policy
from clustermgtd.reconcile.price_book import PriceBook
from tests.builders import KEY, a_policy
from tests.fakes.facts import FakePriceSource

C5, M5 = InstanceType("c5.large"), InstanceType("m5.large")
SUBNET = SubnetId("subnet-1")
SPOT = (Offering(C5, SUBNET, Market.SPOT), Offering(M5, SUBNET, Market.SPOT))


class Site:
    """A book over a fake source, and what it reported."""

    def __init__(self, region: str = LIST_REGION) -> None:
        self.source = FakePriceSource()
        self.reports: list[Mapping[QueueName, int]] = []
        self.book = PriceBook(self.source, ListPrices(region, lambda name: 2), self.reports.append)

    def offerings(self, policy: Policy) -> tuple[Offering, ...]:
        return self.book.policy(policy).compute_resources[KEY].offerings


def test_without_aws_the_built_in_list_orders_offerings() -> None:
    policy = a_policy(offerings=(Offering(M5, SUBNET), Offering(C5, SUBNET)))
    assert Site().offerings(policy) == (Offering(C5, SUBNET), Offering(M5, SUBNET))


def test_what_aws_says_replaces_the_built_in_price() -> None:
    site = Site()
    site.source.listed = {C5: 0.2}
    policy = a_policy(offerings=(Offering(C5, SUBNET), Offering(M5, SUBNET)))
    assert site.offerings(policy)[0].instance_type == C5
    asyncio.run(site.book.read_on_demand(policy))
    assert site.offerings(policy)[0].instance_type == M5


def test_a_spot_offering_that_becomes_too_dear_is_told_once_per_change() -> None:
    site = Site()
    policy = a_policy(offerings=SPOT)
    with capture_logs() as said:
        for price in (0.05, 0.3, 0.3, 0.05):
            site.source.pools = {(C5, SUBNET): price, (M5, SUBNET): 0.06}
            asyncio.run(site.book.read_spot(policy))
            assert len(site.offerings(policy)) == (1 if price > 0.1 else 2)
            site.book.policy(policy)
    assert [entry["offerings"] for entry in said] == [["c5.large spot subnet-1 0.3"], []]
    assert site.reports == [{KEY.queue: 0}, {KEY.queue: 1}, {KEY.queue: 1}, {KEY.queue: 0}]


def test_in_another_region_only_the_price_list_refuses_spot() -> None:
    site = Site("eu-central-1")
    site.source.pools = {(C5, SUBNET): 0.09, (M5, SUBNET): 0.06}
    site.source.listed = {C5: 0.08}
    policy = a_policy(offerings=SPOT)
    asyncio.run(site.book.read_spot(policy))
    assert set(site.offerings(policy)) == set(SPOT)
    asyncio.run(site.book.read_on_demand(policy))
    assert site.offerings(policy) == (SPOT[1],)


def test_a_cluster_without_spot_asks_for_no_spot_price() -> None:
    site = Site()
    asyncio.run(site.book.read_spot(a_policy()))
    assert site.source.asked == []


def test_what_cannot_be_read_leaves_what_was_known() -> None:
    site = Site()
    site.source.pools = {(C5, SUBNET): 0.3, (M5, SUBNET): 0.06}
    policy = a_policy(offerings=SPOT)
    asyncio.run(site.book.read_spot(policy))
    site.source.faults.fail("spot", TransientError("no answer"))
    with pytest.raises(TransientError):
        asyncio.run(site.book.read_spot(policy))
    assert site.offerings(policy) == (SPOT[1],)


def test_an_unchanged_world_gives_the_same_policy_object() -> None:
    site, policy = Site(), a_policy()
    assert site.book.policy(policy) is site.book.policy(policy)
