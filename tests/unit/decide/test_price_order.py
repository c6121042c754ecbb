"""Which offerings are worth their price, and in which order."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from clustermgtd.decide.price_order import PriceChoice, by_price, priced
from clustermgtd.model.claim import AllocationStrategy
from clustermgtd.model.ids import InstanceType, SubnetId
from clustermgtd.model.offering import Market, Offering
from clustermgtd.model.price import Prices
from tests.builders import KEY, a_policy

A, B = SubnetId("subnet-a"), SubnetId("subnet-b")
C5, M5 = InstanceType("c5.large"), InstanceType("m5.large")


def spot(name: InstanceType = C5, subnet: SubnetId = A) -> Offering:
    return Offering(name, subnet, Market.SPOT)


def on_demand(name: InstanceType = C5, subnet: SubnetId = A) -> Offering:
    return Offering(name, subnet)


def choose(
    *offerings: Offering,
    prices: Prices,
    strategy: AllocationStrategy = AllocationStrategy.LOWEST_PRICE,
    max_price: float | None = None,
) -> PriceChoice:
    return by_price(offerings, prices, strategy, max_price)


def test_the_cheapest_is_asked_for_first() -> None:
    prices = Prices({C5: 0.085, M5: 0.096}, {(C5, A): 0.05, (C5, B): 0.04, (M5, A): 0.03})
    chosen = choose(spot(C5, A), spot(C5, B), spot(M5, A), prices=prices)
    assert chosen == PriceChoice((spot(M5, A), spot(C5, B), spot(C5, A)))


def test_equal_prices_keep_the_sites_order_and_unknown_ones_come_last() -> None:
    chosen = choose(on_demand(M5, A), on_demand(C5, B), on_demand(C5, A), prices=Prices({C5: 0.085}))
    assert chosen.accepted == (on_demand(C5, B), on_demand(C5, A), on_demand(M5, A))


def test_a_strategy_that_knows_better_keeps_its_order() -> None:
    prices = Prices({C5: 0.085, M5: 0.03})
    for strategy in set(AllocationStrategy) - {AllocationStrategy.LOWEST_PRICE}:
        assert choose(on_demand(C5), on_demand(M5), prices=prices, strategy=strategy).accepted == (
            on_demand(C5),
            on_demand(M5),
        )


def test_spot_dearer_than_the_same_type_on_demand_is_left_out_whatever_the_strategy() -> None:
    prices = Prices({C5: 0.085, M5: 0.096}, {(C5, A): 0.09, (C5, B): 0.085, (M5, A): 0.09})
    for strategy in AllocationStrategy:
        chosen = choose(spot(C5, A), spot(C5, B), spot(M5, A), prices=prices, strategy=strategy)
        assert chosen == PriceChoice((spot(C5, B), spot(M5, A)), (spot(C5, A),))


def test_another_regions_price_refuses_nothing() -> None:
    prices = Prices({C5: 0.085}, {(C5, A): 0.09, (C5, B): 0.08}, approximate=frozenset({C5}))
    assert choose(spot(C5, A), spot(C5, B), prices=prices) == PriceChoice((spot(C5, B), spot(C5, A)))


def test_the_sites_own_bound_leaves_out_what_is_dearer() -> None:
    prices = Prices({C5: 0.085}, {(C5, A): 0.05, (C5, B): 0.03})
    assert choose(spot(C5, A), spot(C5, B), prices=prices, max_price=0.04).rejected == (spot(C5, A),)


def test_a_bound_above_on_demand_is_honoured_where_nothing_is_cheaper() -> None:
    prices = Prices({C5: 0.085}, {(C5, A): 0.09, (C5, B): 0.2})
    assert choose(spot(C5, A), spot(C5, B), prices=prices, max_price=0.1) == PriceChoice((spot(C5, A),), (spot(C5, B),))


def test_if_everything_costs_too_much_ec2_decides_by_the_price_of_the_moment() -> None:
    prices = Prices({C5: 0.085}, {(C5, A): 0.2, (C5, B): 0.1})
    assert choose(spot(C5, A), spot(C5, B), prices=prices) == PriceChoice((spot(C5, B), spot(C5, A)))


def test_on_demand_and_capacity_blocks_are_never_left_out() -> None:
    block = Offering(C5, A, Market.CAPACITY_BLOCK)
    assert choose(on_demand(), block, prices=Prices({C5: 9.0}), max_price=0.01).rejected == ()


def test_without_prices_nothing_changes() -> None:
    offerings = (spot(M5), on_demand(C5), spot(C5))
    assert choose(*offerings, prices=Prices(), max_price=0.01) == PriceChoice(offerings)


_PRICE = st.one_of(st.none(), st.sampled_from([0.01, 0.05, 0.1, 0.5]))


@given(on_demand_prices=st.tuples(_PRICE, _PRICE), pools=st.tuples(_PRICE, _PRICE, _PRICE, _PRICE), bound=_PRICE)
def test_every_offering_is_accepted_or_rejected_once_and_something_is_always_left(
    on_demand_prices: tuple[float | None, ...], pools: tuple[float | None, ...], bound: float | None
) -> None:
    offerings = tuple(spot(name, subnet) for name in (C5, M5) for subnet in (A, B))
    prices = Prices(
        {name: price for name, price in zip((C5, M5), on_demand_prices, strict=True) if price is not None},
        {(o.instance_type, o.subnet): p for o, p in zip(offerings, pools, strict=True) if p is not None},
    )
    chosen = choose(*offerings, prices=prices, max_price=bound)
    assert sorted((*chosen.accepted, *chosen.rejected)) == sorted(offerings)
    assert chosen.accepted
    assert choose(*chosen.accepted, prices=prices, max_price=bound) == PriceChoice(chosen.accepted)


def test_the_policy_as_decisions_see_it_has_its_offerings_chosen() -> None:
    policy = a_policy(offerings=(on_demand(M5), on_demand(C5)))
    seen = priced(policy, Prices({C5: 0.085, M5: 0.096}))
    assert seen.compute_resources[KEY].offerings == (on_demand(C5), on_demand(M5))
    assert seen.prices == Prices({C5: 0.085, M5: 0.096})
    assert replace(seen, compute_resources=policy.compute_resources, prices=policy.prices) == policy
