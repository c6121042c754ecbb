"""The EC2 model by itself: time, determinism, lag, faults, limits."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from clustermgtd.lab.ec2.buckets import MUTATING, NON_MUTATING, UNFILTERED, Bucket
from clustermgtd.lab.ec2.model import Ec2Model
from clustermgtd.lab.ec2.records import (
    SPOT,
    Ec2Error,
    EventKind,
    FleetConfig,
    FleetOverride,
    FleetReply,
    FleetRequest,
    LaunchData,
    MarketOptions,
    ReplyLost,
    RunRequest,
)
from clustermgtd.lab.ec2.scenario import Faults, Scenario, SubnetSpec

A, B, C = (f"subnet-0000000000000000{z}" for z in "abc")
FREE = Scenario(request_buckets={}, resource_buckets={}, boot_delay_s=30.0, terminate_delay_s=20.0)


def a_model(seed: int = 0, **changes: Any) -> Ec2Model:
    """A Region without throttling: 30 s to boot, 20 s to end."""
    return Ec2Model(replace(FREE, **changes), random.Random(seed))


def a_fleet(*pools: tuple[str, str], total: int = 1, **more: Any) -> FleetRequest:
    overrides = tuple(FleetOverride(t, s) for t, s in pools or (("c5.large", A),))
    return FleetRequest(total=total, configs=(FleetConfig(None, overrides),), **more)


def states(model: Ec2Model, now: float) -> list[str]:
    return [r.state for r in model.describe_instances(now)]


def changes(model: Ec2Model, now: float) -> list[tuple[float, str]]:
    return [(e.at, e.state) for e in model.advance(now) if e.kind is EventKind.STATE_CHANGE]


class TestTime:
    def test_an_instance_boots_at_its_time_and_not_before(self) -> None:
        model = a_model()
        model.create_fleet(a_fleet(), 100.0)
        assert states(model, 129.9) == ["pending"]
        assert model.next_event_at() == 100.0
        assert changes(model, 129.9) == [(100.0, "pending")]
        assert model.next_event_at() == 130.0
        assert changes(model, 200.0) == [(130.0, "running")]

    def test_an_answer_is_right_even_if_nobody_called_advance(self) -> None:
        model = a_model()
        model.create_fleet(a_fleet(), 100.0)
        assert states(model, 130.0) == ["running"]

    def test_a_termination_while_pending_leaves_no_later_boot(self) -> None:
        model = a_model()
        reply = model.create_fleet(a_fleet(), 100.0)
        model.terminate_instances(reply.ids, 110.0)
        assert changes(model, 1000.0) == [(100.0, "pending"), (110.0, "shutting-down"), (130.0, "terminated")]

    def test_an_ended_instance_is_forgotten_after_an_hour(self) -> None:
        model = a_model()
        reply = model.create_fleet(a_fleet(), 0.0)
        model.terminate_instances(reply.ids, 100.0)
        assert states(model, 3719.0) == ["terminated"]
        assert states(model, 3720.0) == []
        with pytest.raises(Ec2Error, match=r"InvalidInstanceID\.NotFound"):
            model.instance(reply.ids[0])
        model.advance(3720.0)
        assert model.next_event_at() is None

    def test_time_never_goes_back(self) -> None:
        model = a_model()
        model.create_fleet(a_fleet(), 100.0)
        assert states(model, 140.0) == ["running"]
        assert states(model, 50.0) == ["running"]

    def test_two_runs_are_identical(self) -> None:
        def run(seed: int) -> list[Any]:
            model = a_model(seed, boot_jitter_s=10.0, faults=Faults(death_while_pending_rate=0.3))
            trace: list[Any] = [model.create_fleet(a_fleet(("c5.large", A), ("m5.large", B), total=20), 0.0)]
            trace.append(model.terminate_instances(trace[0].ids[::3], 20.0))
            return [*trace, model.advance(100.0), model.instances()]

        assert run(1) == run(1)
        assert run(1) != run(2)


class TestReadLag:
    def test_a_new_instance_is_missing_from_reads_until_the_lag_is_over(self) -> None:
        model = a_model(read_lag_s=10.0)
        reply = model.create_fleet(a_fleet(), 100.0)
        assert states(model, 109.0) == []
        with pytest.raises(Ec2Error, match="NotFound"):
            model.describe_instances(109.0, ids=reply.ids)
        assert states(model, 110.0) == ["pending"]
        assert model.instance(reply.ids[0]).state == "pending"

    def test_an_ended_instance_is_still_shown_running_until_the_lag_is_over(self) -> None:
        model = a_model(read_lag_s=10.0)
        reply = model.create_fleet(a_fleet(), 0.0)
        model.terminate_instances(reply.ids, 100.0)
        assert model.live_instances() == []
        assert states(model, 109.0) == ["running"]
        assert states(model, 110.0) == ["shutting-down"]
        assert states(model, 129.0) == ["shutting-down"]
        assert states(model, 130.0) == ["terminated"]

    def test_writes_do_not_lag(self) -> None:
        model = a_model(read_lag_s=10.0)
        reply = model.create_fleet(a_fleet(), 100.0)
        (change,) = model.terminate_instances(reply.ids, 101.0)
        assert (change.previous, change.current) == ("pending", "shutting-down")

    def test_tags_lag_too(self) -> None:
        model = a_model(read_lag_s=10.0)
        reply = model.create_fleet(a_fleet(instance_tags={"a": "old"}), 0.0)
        model.create_tags(reply.ids, {"a": "new"}, 100.0)
        assert len(model.describe_instances(105.0, filters={"tag:a": ["old"]})) == 1
        assert model.describe_instances(105.0, filters={"tag:a": ["new"]}) == []
        assert len(model.describe_instances(110.0, filters={"tag:a": ["new"]})) == 1
        assert model.describe_instances(110.0, filters={"tag:a": ["old"]}) == []

    def test_an_address_is_missing_for_a_while_longer(self) -> None:
        model = a_model(address_lag_s=15.0)
        model.create_fleet(a_fleet(), 100.0)
        assert [r.private_address for r in model.describe_instances(114.0)] == [""]
        assert [r.private_address for r in model.describe_instances(115.0)] == ["10.1.0.4"]


class TestWhatTheWorldDoes:
    def test_a_reclaim_warns_two_minutes_ahead(self) -> None:
        model = a_model()
        (id,) = model.create_fleet(a_fleet(default_market=SPOT), 0.0).ids
        model.advance(50.0)
        model.spot_reclaim(id, 100.0)
        assert model.reclaim_at(id) == 220.0
        assert [(e.at, e.kind) for e in model.advance(219.0)] == [(100.0, EventKind.SPOT_INTERRUPTION)]
        assert changes(model, 300.0) == [(220.0, "shutting-down"), (240.0, "terminated")]
        assert model.instance(id).state_reason_code == "Server.SpotInstanceTermination"

    def test_a_reclaim_without_notice_is_only_seen_by_its_state(self) -> None:
        model = a_model()
        (id,) = model.create_fleet(a_fleet(default_market=SPOT), 0.0).ids
        model.advance(50.0)
        model.spot_reclaim(id, 100.0, notice_s=0)
        assert [(e.kind, e.state) for e in model.advance(100.0)] == [(EventKind.STATE_CHANGE, "shutting-down")]

    def test_an_instance_ended_by_its_owner_is_not_reclaimed_any_more(self) -> None:
        model = a_model()
        (id,) = model.create_fleet(a_fleet(default_market=SPOT), 0.0).ids
        model.spot_reclaim(id, 100.0)
        model.terminate_instances([id], 110.0)
        model.advance(500.0)
        assert model.instance(id).state_reason_code == "Client.UserInitiatedShutdown"

    def test_a_killed_instance_is_gone_at_once_and_gives_everything_back(self) -> None:
        model = a_model(
            pools={("c5.large", "us-east-1a", "on-demand"): 1},
            subnets={A: SubnetSpec("us-east-1a", "10.0.0.0/24", free_addresses=1)},
        )
        (id,) = model.create_fleet(a_fleet(), 0.0).ids
        model.kill_instance(id, 5.0)
        assert model.instance(id).state == "terminated"
        assert len(model.create_fleet(a_fleet(), 6.0).ids) == 1
        model.kill_instance(id, 7.0)

    def test_a_stopped_instance_keeps_its_address_and_frees_its_capacity(self) -> None:
        pool = ("c5.large", "us-east-1a", "on-demand")
        model = a_model(pools={pool: 1})
        (id,) = model.create_fleet(a_fleet(), 0.0).ids
        model.stop_instances([id], 50.0)
        assert model.capacity.free(pool) == 0
        model.advance(100.0)
        assert (model.instance(id).state, model.capacity.free(pool)) == ("stopped", 1)
        model.terminate_instances([id], 110.0)
        model.advance(200.0)
        assert model.capacity.free(pool) == 1

    def test_lowering_the_capacity_below_what_runs_ends_nothing(self) -> None:
        model = a_model()
        model.create_fleet(a_fleet(total=3), 0.0)
        model.set_capacity("c5.large", "us-east-1a", "on-demand", 1)
        assert len(model.live_instances()) == 3
        assert model.create_fleet(a_fleet(), 1.0).ids == ()


class TestFaults:
    def test_a_lost_reply_took_effect(self) -> None:
        model = a_model(faults=Faults(reply_lost_rate=1.0))
        request = a_fleet(total=2, client_token="t")
        with pytest.raises(ReplyLost):
            model.create_fleet(request, 0.0)
        assert model.create_fleet(request, 1.0).ids == tuple(r.id for r in model.live_instances())

    def test_an_internal_error_has_no_effect(self) -> None:
        model = a_model(faults=Faults(internal_error_rate=1.0))
        with pytest.raises(Ec2Error) as caught:
            model.create_fleet(a_fleet(), 0.0)
        assert (caught.value.code, caught.value.http_status) == ("InternalError", 500)
        assert model.instances() == []

    def test_an_ignored_termination_answers_well_and_does_nothing(self) -> None:
        model = a_model(faults=Faults(terminate_ignored_rate=1.0))
        reply = model.create_fleet(a_fleet(), 0.0)
        (change,) = model.terminate_instances(reply.ids, 50.0)
        assert change.current == "shutting-down"
        assert [r.state for r in model.instances()] == ["running"]

    def test_an_instance_may_die_while_pending(self) -> None:
        model = a_model(faults=Faults(death_while_pending_rate=1.0))
        model.create_fleet(a_fleet(), 0.0)
        assert changes(model, 100.0) == [(0.0, "pending"), (30.0, "terminated")]
        assert model.instances()[0].state_reason_code == "Server.InternalError"


class TestBuckets:
    def test_requests_refill_with_time(self) -> None:
        model = a_model(request_buckets={MUTATING: Bucket(2, 0.5)})
        model.create_fleet(a_fleet(), 0.0)
        model.create_fleet(a_fleet(), 0.0)
        with pytest.raises(Ec2Error, match="RequestLimitExceeded"):
            model.create_fleet(a_fleet(), 1.0)
        model.create_fleet(a_fleet(), 2.0)

    def test_bare_reads_have_a_smaller_bucket_than_filtered_ones(self) -> None:
        model = a_model(request_buckets={NON_MUTATING: Bucket(1, 0.0), UNFILTERED: Bucket(1, 0.0)})
        model.describe_instances(0.0)
        with pytest.raises(Ec2Error, match="RequestLimitExceeded"):
            model.describe_instances(0.0)
        model.describe_instances(0.0, filters={"instance-state-name": ["running"]})
        with pytest.raises(Ec2Error, match="RequestLimitExceeded"):
            model.describe_instances_page(0.0, {}, 100)

    def test_the_documented_defaults_let_a_thousand_through_and_then_two_a_second(self) -> None:
        model = Ec2Model(Scenario(), random.Random(0))
        assert len(model.create_fleet(a_fleet(total=1200), 0.0).ids) == 1000
        assert len(model.create_fleet(a_fleet(total=1200), 10.0).ids) == 20

    def test_a_replay_costs_no_launch_token(self) -> None:
        model = a_model(resource_buckets={"RunInstances": Bucket(2, 0.0)})
        request = a_fleet(total=2, client_token="t")
        assert model.create_fleet(request, 0.0) == model.create_fleet(request, 1.0)

    def test_a_limit_can_be_set_and_lifted_while_it_runs(self) -> None:
        model = a_model()
        model.set_bucket("resource", "RunInstances", Bucket(1, 0.0), 0.0)
        assert [e.code for e in model.create_fleet(a_fleet(total=2), 0.0).errors] == ["RequestLimitExceeded"]
        model.set_bucket("resource", "RunInstances", None, 0.0)
        assert model.create_fleet(a_fleet(total=2), 0.0).errors == ()


class TestFleets:
    def counts(self, reply: FleetReply) -> dict[int, int]:
        return {g.override_index: len(g.ids) for g in reply.instances}

    def test_what_several_pools_share_is_not_given_out_twice(self) -> None:
        model = a_model(quotas={"on-demand": 8}, subnets={A: SubnetSpec("us-east-1a", "10.0.0.0/24", free_addresses=3)})
        reply = model.create_fleet(a_fleet(("c5.large", A), ("m5.large", A), total=10), 0.0)
        assert len(reply.ids) == 3
        assert {e.code for e in reply.errors} == {"InsufficientFreeAddressesInSubnet"}

    def test_no_two_live_instances_have_one_address(self) -> None:
        model = a_model()
        first = model.create_fleet(a_fleet(total=5), 0.0)
        model.terminate_instances(first.ids[:3], 1.0)
        model.advance(100.0)
        model.create_fleet(a_fleet(total=5), 101.0)
        addresses = [r.private_address for r in model.live_instances()]
        assert len(addresses) == len(set(addresses)) == 7

    def test_a_refused_minimum_names_every_pool_and_uses_nothing(self) -> None:
        pool = ("c5.large", "us-east-1a", "on-demand")
        model = a_model(pools={pool: 2}, default_capacity=0)
        options = MarketOptions(min_target=5, single_zone=True)
        reply = model.create_fleet(a_fleet(("c5.large", A), ("m5.large", A), total=5, on_demand=options), 0.0)
        assert reply.ids == ()
        assert [(e.override_index, e.code) for e in reply.errors] == [
            (0, "InsufficientInstanceCapacity"),
            (1, "InsufficientInstanceCapacity"),
        ]
        assert model.capacity.free(pool) == 2

    def test_a_pool_that_could_have_helped_says_that_the_minimum_is_unfulfillable(self) -> None:
        model = a_model(pools={("c5.large", "us-east-1a", "on-demand"): 2}, quotas={"on-demand": 8})
        options = MarketOptions(min_target=6, single_zone=True)
        reply = model.create_fleet(a_fleet(("c5.large", A), ("m5.large", A), total=6, on_demand=options), 0.0)
        assert {e.code for e in reply.errors} == {"InsufficientInstanceCapacity", "VcpuLimitExceeded"}

    def test_a_single_type_fleet_takes_the_type_that_has_all_of_it(self) -> None:
        model = a_model(pools={("c5.large", f"us-east-1{z}", "on-demand"): 2 for z in "ab"})
        options = MarketOptions(single_instance_type=True)
        pools = (("c5.large", A), ("c5.large", B), ("m5.large", A), ("m5.large", B))
        assert self.counts(model.create_fleet(a_fleet(*pools, total=4, on_demand=options), 0.0)) == {0: 2, 1: 2}
        assert self.counts(model.create_fleet(a_fleet(*pools, total=4, on_demand=options), 0.0)) == {2: 4}

    def test_a_token_is_at_most_64_ascii_characters(self) -> None:
        model = a_model()
        with pytest.raises(Ec2Error, match="ClientToken"):
            model.create_fleet(a_fleet(client_token="x" * 65), 0.0)
        with pytest.raises(Ec2Error, match="ClientToken"):
            model.create_fleet(a_fleet(client_token="é"), 0.0)

    def test_a_type_that_does_not_exist_fails_the_fleet(self) -> None:
        with pytest.raises(Ec2Error, match="InvalidFleetConfig"):
            a_model().create_fleet(a_fleet(("c5.huge", A)), 0.0)

    def test_run_instances_takes_its_market_from_the_request(self) -> None:
        data = LaunchData(image_id="ami-1", instance_type="c5.large", subnet=C, market=SPOT)
        (record,) = a_model().run_instances(RunRequest(1, 1, data), 0.0)
        assert (record.zone, record.market) == ("us-east-1c", SPOT)


class TestScale:
    def test_a_tag_filter_finds_its_own_among_thousands(self) -> None:
        model = a_model()
        for n in range(50):
            model.create_fleet(a_fleet(total=100, instance_tags={"token": f"t-{n}", "cluster": "q"}), 0.0)
        found = model.describe_instances(0.0, filters={"tag:cluster": ["q"], "tag:token": ["t-8", "t-7"]})
        assert [r.tags["token"] for r in found] == ["t-7"] * 100 + ["t-8"] * 100
