"""What is asked for while some of it is banned, and which nodes are kept out of scheduling."""

from __future__ import annotations

from dataclasses import replace

from clustermgtd.decide.offerings import OVERRIDES_MAX, Availability, sentence
from clustermgtd.decide.plan import decide
from clustermgtd.model.action import HoldNodes, Reason, ReleaseNodes, SetNodesDown, StartLaunch
from clustermgtd.model.claim import AllocationStrategy, ClaimState, LaunchOutcome
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import InstanceType, SubnetId
from clustermgtd.model.node import HOLD_MARK, REASON_PREFIX, Node
from clustermgtd.model.offering import Market, Offering, Subnet
from clustermgtd.model.offering_memory import Ban, BanScope, OfferingMemory
from clustermgtd.model.policy import BanPolicy, ComputeResourcePolicy, Policy, ScalingStrategy
from clustermgtd.model.snapshot import Plan, Snapshot
from tests.builders import (
    NOW,
    POWERED_DOWN,
    POWERING_UP,
    RUNNING,
    a_claim,
    a_job,
    a_launch,
    a_node,
    a_policy,
    a_snapshot,
    dynamic,
)

A, A2, B, C = (SubnetId(f"subnet-{name}") for name in ("a", "a2", "b", "c"))
HELD = f"{POWERED_DOWN}+DRAIN"
MARK = f"{HOLD_MARK} because"


def offering(instance_type: str = "c5.large", subnet: SubnetId = A, market: Market = Market.ON_DEMAND) -> Offering:
    return Offering(InstanceType(instance_type), subnet, market)


def a_ban(place: str = A, *, instance_type: str = "c5.large", ends_in: float = 30.0, count: int = 1) -> Ban:
    scope = BanScope(FailureKind.CAPACITY, Market.ON_DEMAND, instance_type, place)
    return Ban(scope, NOW - 15, NOW + ends_in, count=count, code="InsufficientInstanceCapacity")


def over(*offerings: Offering, **facts: object) -> Policy:
    return a_policy(dynamic(6), offerings=offerings or (offering(),), **facts)


def resource(policy: Policy) -> ComputeResourcePolicy:
    (found,) = policy.compute_resources.values()
    return found


def chosen(policy: Policy, *bans: Ban, subnets: tuple[Subnet, ...] = (), minimum: int = 1) -> tuple[Offering, ...]:
    availability = Availability(NOW, bans, {s.id: s for s in subnets})
    return availability.choose(resource(policy), minimum).offerings


def decided(policy: Policy, nodes: list[Node], *bans: Ban, held: tuple[str, ...] = (), **facts: object) -> Plan:
    memory = OfferingMemory(bans, held=tuple(held), version=1)  # type: ignore[arg-type]
    snapshot: Snapshot = replace(a_snapshot(nodes=nodes, **facts), offerings=memory)  # type: ignore[arg-type]
    return decide(snapshot, policy)


def of(plan: Plan, kind: type) -> list:  # type: ignore[type-arg]
    return [action for action in plan.actions if isinstance(action, kind)]


class TestChoice:
    def test_banned_offerings_are_left_out(self) -> None:
        policy = over(offering(), offering("m5.large"), offering(subnet=B))
        assert chosen(policy, a_ban()) == (offering(subnet=B), offering("m5.large"))

    def test_a_ban_on_many_at_once_leaves_room_for_fewer(self) -> None:
        assert chosen(over(), a_ban(count=24), minimum=23) == (offering(),)
        assert chosen(over(), a_ban(count=24), minimum=24) == ()

    def test_one_subnet_of_a_zone_is_used_and_it_is_the_roomier_one(self) -> None:
        policy = over(offering(), offering(subnet=A2), offering(subnet=B))
        subnets = (Subnet(A, "a", 5), Subnet(A2, "a", 50), Subnet(B, "b", 500))
        assert chosen(policy, subnets=subnets) == (offering(subnet=B), offering(subnet=A2))

    def test_a_full_subnet_is_skipped_unless_there_is_no_other(self) -> None:
        policy = over(offering(), offering(subnet=B))
        assert chosen(policy, subnets=(Subnet(A, "a", 0), Subnet(B, "b", 1))) == (offering(subnet=B),)
        assert len(chosen(policy, subnets=(Subnet(A, "a", 0), Subnet(B, "b", 0)))) == 2

    def test_addresses_of_launches_under_way_are_gone_before_ec2_says_so(self) -> None:
        policy = over(offering(), offering(subnet=B))
        under_way = a_launch(*(a_claim(n, ClaimState.REQUESTED) for n in dynamic(6)))
        under_way = replace(under_way, request=replace(under_way.request, offerings=(offering(),)))
        availability = Availability(NOW, (), {A: Subnet(A, "a", 8, NOW - 60), B: Subnet(B, "b", 5, NOW - 60)})
        assert availability.choose(resource(policy)).offerings[0].subnet == A
        assert availability.after(under_way).choose(resource(policy)).offerings[0].subnet == B
        answered = replace(
            under_way,
            claims=tuple(a_claim(n, ClaimState.READY, f"i-{n}") for n in dynamic(6)),
            outcome=LaunchOutcome(NOW, ((offering(), 6),)),
        )
        assert availability.after(answered).subnets[A].free_addresses == 2
        seen = replace(availability, subnets={A: Subnet(A, "a", 8, NOW + 1)})
        assert seen.after(answered).subnets[A].free_addresses == 8

    def test_spot_at_the_lowest_price_keeps_the_order_of_prices(self) -> None:
        spot = over(offering(market=Market.SPOT), offering(subnet=B, market=Market.SPOT))
        tier = replace(resource(spot).tiers[0], market=Market.SPOT, strategy=AllocationStrategy.LOWEST_PRICE)
        cheapest = replace(resource(spot), tiers=(tier,))
        availability = Availability(NOW, (), {A: Subnet(A, "a", 1), B: Subnet(B, "b", 100)})
        assert [o.subnet for o in availability.choose(cheapest).offerings] == [A, B]
        roomiest = replace(cheapest, tiers=(replace(tier, strategy=AllocationStrategy.CAPACITY_OPTIMIZED),))
        assert [o.subnet for o in availability.choose(roomiest).offerings] == [B, A]

    def test_a_request_names_no_more_pools_than_ec2_takes_well(self) -> None:
        many = over(*(offering(f"c{n}.large", subnet) for n in range(40) for subnet in (A, B)))
        assert len(chosen(many)) == OVERRIDES_MAX

    def test_a_sentence_names_the_code_the_offering_and_when_it_is_asked_again(self) -> None:
        told = sentence([a_ban("zone-a")])
        assert told.startswith("(Code:InsufficientInstanceCapacity) no capacity for on-demand c5.large in zone-a until")
        assert told.endswith(" until 2023-11-14T22:13:50Z")
        assert sentence([a_ban(str(n)) for n in range(5)]).endswith("; and 2 more")


class TestLaunches:
    def test_nodes_get_their_answer_without_a_call_while_everything_is_banned(self) -> None:
        plan = decided(over(), [a_node(n, POWERING_UP) for n in dynamic(2)], a_ban())
        assert of(plan, StartLaunch) == []
        (down,) = of(plan, SetNodesDown)
        assert (down.nodes, down.reason) == (tuple(dynamic(2)), Reason.NO_CAPACITY)
        assert "until 2023-11-14T22:13:50Z" in down.detail

    def test_an_operators_mark_stays_even_then(self) -> None:
        node = a_node(dynamic(1)[0], f"{POWERING_UP}+DRAIN", reason="bad dimm")
        assert of(decided(over(), [node], a_ban()), SetNodesDown) == []

    def test_an_ended_ban_is_tried_with_one_node_and_the_others_wait(self) -> None:
        plan = decided(over(), [a_node(n, POWERING_UP) for n in dynamic(4)], a_ban(ends_in=-1))
        (start,) = of(plan, StartLaunch)
        assert (start.reason, start.launch.request.count) == (Reason.PROBE, 1)
        assert of(plan, SetNodesDown) == []
        trying = replace(start.launch, version=1, last_attempt_at=NOW, attempts=1)
        again = decided(over(), [a_node(n, POWERING_UP) for n in dynamic(4)], a_ban(ends_in=-1), launches=[trying])
        assert of(again, StartLaunch) == []
        assert of(again, SetNodesDown) == []

    def test_the_size_of_a_probe_is_a_setting(self) -> None:
        policy = over(bans=BanPolicy(probe_nodes=3))
        plan = decided(policy, [a_node(n, POWERING_UP) for n in dynamic(4)], a_ban(ends_in=-1))
        assert [start.launch.request.count for start in of(plan, StartLaunch)] == [3]

    def test_a_job_that_takes_all_or_nothing_is_tried_whole(self) -> None:
        nodes = [a_node(n, POWERING_UP) for n in dynamic(4)]
        plan = decided(over(), nodes, a_ban(ends_in=-1), jobs=[a_job(1, dynamic(4))])
        assert [start.launch.request.minimum for start in of(plan, StartLaunch)] == [4]
        part = decided(over(scaling=ScalingStrategy.BEST_EFFORT), nodes, a_ban(ends_in=-1), jobs=[a_job(1, dynamic(4))])
        assert [start.launch.request.count for start in of(part, StartLaunch)] == [1]

    def test_a_large_job_is_refused_while_a_small_one_is_launched(self) -> None:
        nodes = [a_node(n, POWERING_UP) for n in dynamic(5)]
        jobs = [a_job(1, dynamic(5)[:4]), a_job(2, dynamic(5)[4:])]
        plan = decided(over(), nodes, a_ban(count=4), jobs=jobs)
        assert [down.nodes for down in of(plan, SetNodesDown)] == [tuple(dynamic(4))]
        assert [start.launch.request.jobs for start in of(plan, StartLaunch)] == [(2,)]

    def test_an_ended_ban_beside_a_free_offering_needs_no_small_launch(self) -> None:
        policy = over(offering(), offering(subnet=B))
        plan = decided(policy, [a_node(n, POWERING_UP) for n in dynamic(4)], a_ban(ends_in=-1))
        (start,) = of(plan, StartLaunch)
        assert (start.reason, start.launch.request.count) == (Reason.DEMAND, 4)
        assert set(start.launch.request.offerings) == {offering(), offering(subnet=B)}

    def test_a_static_node_is_not_powered_up_for_nothing(self) -> None:
        policy = a_policy([], static=("q1-st-c5-1",), offerings=(offering(),))
        plan = decided(policy, [a_node("q1-st-c5-1", HELD, reason=MARK)], a_ban(), held=("q1-st-c5-1",))
        assert plan.actions == ()


class TestHolds:
    def test_unused_nodes_are_held_while_everything_is_banned(self) -> None:
        nodes = [a_node(n, POWERED_DOWN) for n in dynamic(3)]
        nodes[2] = a_node(dynamic(3)[2], RUNNING)
        plan = decided(over(), nodes, a_ban())
        (hold,) = of(plan, HoldNodes)
        assert hold.nodes == tuple(dynamic(2))
        assert plan.offerings.held == tuple(dynamic(2))

    def test_as_many_nodes_stay_free_as_may_be_had_at_once(self) -> None:
        plan = decided(over(), [a_node(n, POWERED_DOWN) for n in dynamic(6)], a_ban(count=3))
        assert [len(hold.nodes) for hold in of(plan, HoldNodes)] == [4]

    def test_held_nodes_stay_held_without_another_action(self) -> None:
        nodes = [a_node(n, HELD, reason=MARK) for n in dynamic(6)]
        assert decided(over(), nodes, a_ban(), held=tuple(dynamic(6))).actions == ()

    def test_nothing_is_held_while_one_offering_is_free(self) -> None:
        policy = over(offering(), offering(subnet=B))
        assert decided(policy, [a_node(n, POWERED_DOWN) for n in dynamic(3)], a_ban()).actions == ()

    def test_nodes_are_released_when_the_ban_ends_also_by_a_daemon_that_knows_nothing(self) -> None:
        nodes = [a_node(n, HELD, reason=MARK) for n in dynamic(2)]
        for plan in (decided(over(), nodes, a_ban(ends_in=-1), held=tuple(dynamic(2))), decided(over(), nodes)):
            assert [release.nodes for release in of(plan, ReleaseNodes)] == [tuple(dynamic(2))]

    def test_a_node_that_left_the_configuration_is_released(self) -> None:
        plan = decided(over(), [a_node("q9-dy-old-1", HELD, reason=MARK)], a_ban(), held=("q9-dy-old-1",))
        assert [release.nodes for release in of(plan, ReleaseNodes)] == [("q9-dy-old-1",)]

    def test_a_held_node_that_an_operator_powers_up_is_released_though_slurm_dropped_the_reason(self) -> None:
        name = dynamic(1)[0]
        policy = over(offering(), offering(subnet=B))
        plan = decided(policy, [a_node(name, f"{POWERING_UP}+DRAIN")], a_ban(), held=(name,))
        assert [release.nodes for release in of(plan, ReleaseNodes)] == [(name,)]

    def test_an_operators_drain_is_neither_replaced_nor_lifted(self) -> None:
        nodes = [a_node(n, HELD, reason="bad dimm") for n in dynamic(2)]
        for bans in ((a_ban(),), ()):
            plan = decided(over(), nodes, *bans)
            assert of(plan, HoldNodes) == of(plan, ReleaseNodes) == []

    def test_holding_can_be_switched_off(self) -> None:
        policy = over(bans=BanPolicy(holds_nodes=False))
        assert of(decided(policy, [a_node(n, POWERED_DOWN) for n in dynamic(2)], a_ban()), HoldNodes) == []
        marked = [a_node(n, HELD, reason=MARK) for n in dynamic(2)]
        assert len(of(decided(policy, marked, a_ban(), held=tuple(dynamic(2))), ReleaseNodes)) == 1

    def test_the_mark_is_what_the_reason_becomes_in_slurm(self) -> None:
        assert f"{REASON_PREFIX} {Reason.NO_CAPACITY}" == HOLD_MARK
