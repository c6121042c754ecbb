"""Several capacity tiers: which one is asked, how long one is waited for, and what is remembered of going on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clustermgtd.decide.offerings import Availability, Choice
from clustermgtd.decide.plan import decide
from clustermgtd.model.action import RecordLaunch, RecordOfferings, SetNodesDown, StartLaunch
from clustermgtd.model.claim import AllocationStrategy, ClaimState, Gang, Launch, LaunchOutcome, LaunchTemplate, Refusal
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import InstanceType, JobId, SubnetId
from clustermgtd.model.offering import Market, Offering
from clustermgtd.model.offering_memory import Ban, BanScope, Fall, OfferingMemory
from clustermgtd.model.policy import CapacityTier, ComputeResourcePolicy, Policy
from clustermgtd.model.snapshot import Plan, Snapshot
from tests.builders import KEY, NOW, POWERING_UP, a_claim, a_job, a_launch, a_node, a_policy, a_snapshot, dynamic

A = SubnetId("subnet-a")
C5 = InstanceType("c5.large")
SPOT, ON_DEMAND = Offering(C5, A, Market.SPOT), Offering(C5, A)
OTHER_ZONE = Offering(C5, SubnetId("subnet-b"))
NODES = dynamic(4)


def a_tier(*offerings: Offering, wait_s: float = 0.0) -> CapacityTier:
    return CapacityTier(
        LaunchTemplate(f"lt-{offerings[0].market}-{offerings[0].subnet}", "1"),
        offerings,
        offerings[0].market,
        AllocationStrategy.LOWEST_PRICE,
        max_wait_s=wait_s,
    )


def policy_of(*tiers: CapacityTier, **facts: object) -> Policy:
    return replace(a_policy(NODES, **facts), compute_resources={KEY: ComputeResourcePolicy(KEY, tiers)})


def a_ban(offering: Offering, *, ends_in: float = 30.0, count: int = 1) -> Ban:
    scope = BanScope(FailureKind.CAPACITY, offering.market, offering.instance_type, offering.subnet)
    return Ban(scope, NOW - 15, NOW + ends_in, count=count, code="InsufficientInstanceCapacity")


def a_fall(tier: int = 1, *, ends_in: float = 300.0, count: int = 1, level: int = 0) -> Fall:
    return Fall(KEY.queue, KEY.name, tier, count, NOW - 300, NOW + ends_in, level)


def chosen(policy: Policy, *bans: Ban, since: float = NOW, minimum: int = 1, falls: tuple[Fall, ...] = ()) -> Choice:
    return Availability(NOW, bans, falls=falls).choose(policy.compute_resources[KEY], minimum, since)


def decided(policy: Policy, known: OfferingMemory | None = None, **facts: object) -> Plan:
    facts.setdefault("nodes", [a_node(name, POWERING_UP) for name in NODES])
    facts.setdefault("jobs", [a_job(7, NODES, started_at=NOW)])
    snapshot: Snapshot = replace(a_snapshot(**facts), offerings=known or OfferingMemory())  # type: ignore[arg-type]
    return decide(snapshot, policy)


def starts(plan: Plan) -> list[Launch]:
    return [action.launch for action in plan.actions if isinstance(action, StartLaunch)]


def downs(plan: Plan) -> list[SetNodesDown]:
    return [action for action in plan.actions if isinstance(action, SetNodesDown)]


WAITING = policy_of(a_tier(SPOT, wait_s=60), a_tier(ON_DEMAND))
HURRIED = policy_of(a_tier(SPOT), a_tier(ON_DEMAND))


class TestChoice:
    def test_the_first_tier_that_has_something_is_asked(self) -> None:
        assert chosen(HURRIED).offerings == (SPOT,)
        choice = chosen(HURRIED, a_ban(SPOT))
        assert (choice.tier, choice.offerings) == (1, (ON_DEMAND,))

    def test_a_tier_is_waited_for_until_its_time_is_over(self) -> None:
        early, late = chosen(WAITING, a_ban(SPOT), since=NOW - 1), chosen(WAITING, a_ban(SPOT), since=NOW - 60)
        assert (early.is_waiting, early.offerings, early.wait_until) == (True, (), NOW + 59)
        assert late.offerings == (ON_DEMAND,)

    def test_a_tier_is_not_waited_for_if_it_stays_banned_for_longer(self) -> None:
        assert chosen(WAITING, a_ban(SPOT, ends_in=61)).offerings == (ON_DEMAND,)

    def test_it_is_if_one_of_its_offerings_comes_back_in_time(self) -> None:
        other = Offering(InstanceType("m5.large"), A, Market.SPOT)
        policy = policy_of(a_tier(SPOT, other, wait_s=60), a_tier(ON_DEMAND))
        assert chosen(policy, a_ban(SPOT, ends_in=600), a_ban(other)).is_waiting

    def test_the_waits_add_up(self) -> None:
        policy = policy_of(a_tier(SPOT, wait_s=60), a_tier(ON_DEMAND, wait_s=30), a_tier(OTHER_ZONE))
        bans = (a_ban(SPOT, ends_in=600), a_ban(ON_DEMAND, ends_in=10))
        assert chosen(policy, *bans, since=NOW - 70).wait_until == NOW + 20
        assert chosen(policy, *bans, since=NOW - 90).offerings == (OTHER_ZONE,)

    def test_after_the_last_one_every_tiers_reason_is_in_front(self) -> None:
        more = tuple(Offering(InstanceType(f"c5{letter}.large"), A, Market.SPOT) for letter in "abcd")
        policy = policy_of(a_tier(SPOT, *more), a_tier(ON_DEMAND), a_tier(OTHER_ZONE))
        choice = chosen(policy, *(a_ban(offering) for offering in (SPOT, *more, ON_DEMAND, OTHER_ZONE)))
        assert not choice.offerings
        assert [ban.scope.place for ban in choice.bans[:3]] == ["subnet-a", "subnet-a", "subnet-b"]
        assert choice.bans[1].scope.market == Market.ON_DEMAND
        assert len(choice.bans) == 7

    def test_the_last_one_is_waited_for_too_if_it_says_so(self) -> None:
        policy = policy_of(a_tier(SPOT), a_tier(ON_DEMAND, wait_s=60))
        assert chosen(policy, a_ban(SPOT), a_ban(ON_DEMAND)).is_waiting
        assert chosen(policy, a_ban(SPOT), a_ban(ON_DEMAND), since=NOW - 60).bans

    def test_smaller_demands_may_find_something_in_a_higher_tier(self) -> None:
        bans = (a_ban(SPOT, count=3),)
        assert chosen(HURRIED, *bans, minimum=2).tier == 0
        assert chosen(HURRIED, *bans, minimum=3).tier == 1

    def test_a_probe_under_way_is_waited_for_only_in_time_or_if_there_is_nothing_else(self) -> None:
        ended = a_ban(SPOT, ends_in=-1)
        both = (ended, a_ban(ON_DEMAND))

        def probed(policy: Policy, *bans: Ban) -> Choice:
            availability = Availability(NOW, bans, probed=frozenset({ended.scope}))
            return availability.choose(policy.compute_resources[KEY], 1, NOW)

        assert probed(WAITING, *both).is_waiting
        assert probed(HURRIED, *both).is_waiting
        assert probed(HURRIED, ended).offerings == (ON_DEMAND,)
        assert probed(HURRIED, ended).passed == ()


class TestFall:
    def test_going_on_is_remembered_with_the_reason_before_the_launch(self) -> None:
        plan = decided(HURRIED, OfferingMemory((a_ban(SPOT),)))
        (fall,) = plan.offerings.falls
        assert (fall.tier, fall.count, fall.since, fall.until) == (1, 4, NOW, NOW + 600)
        assert "no capacity for spot c5.large in subnet-a" in fall.cause
        kinds = [type(action) for action in plan.actions]
        assert kinds.index(RecordOfferings) < kinds.index(StartLaunch)

    def test_demands_of_that_size_begin_in_the_lower_tier(self) -> None:
        assert chosen(WAITING, falls=(a_fall(count=3),), minimum=3).tier == 1
        assert chosen(WAITING, falls=(a_fall(count=3),), minimum=2).tier == 0
        assert chosen(WAITING, falls=(a_fall(ends_in=-1),)).tier == 0

    def test_the_higher_tiers_are_asked_if_the_lower_ones_have_nothing(self) -> None:
        choice = chosen(HURRIED, a_ban(ON_DEMAND), falls=(a_fall(),))
        assert (choice.tier, choice.offerings, choice.passed) == (0, (SPOT,), ())

    def test_they_are_rather_than_that_the_lower_one_is_waited_for(self) -> None:
        policy = policy_of(a_tier(SPOT), a_tier(ON_DEMAND, wait_s=60), a_tier(OTHER_ZONE))
        choice = chosen(policy, a_ban(ON_DEMAND), falls=(a_fall(),))
        assert (choice.tier, choice.offerings) == (0, (SPOT,))
        waiting = chosen(policy, a_ban(ON_DEMAND), a_ban(SPOT), falls=(a_fall(),))
        assert (waiting.tier, waiting.is_waiting) == (1, True)

    def test_it_is_not_made_longer_while_it_holds(self) -> None:
        memory = OfferingMemory((a_ban(SPOT),), falls=(a_fall(count=2),))
        assert decided(HURRIED, memory).offerings.falls == memory.falls
        smaller = decided(
            HURRIED, memory, jobs=[a_job(7, NODES[:1], started_at=NOW)], nodes=[a_node(NODES[0], POWERING_UP)]
        )
        (fall,) = smaller.offerings.falls
        assert (fall.count, fall.until) == (1, memory.falls[0].until)

    @pytest.mark.parametrize(("level", "lasts"), [(0, 1200), (1, 2400), (2, 4800), (3, 4800)])
    def test_falling_again_lasts_twice_as_long_up_to_eight_times(self, level: int, lasts: float) -> None:
        memory = OfferingMemory((a_ban(SPOT),), falls=(a_fall(ends_in=-1, level=level),))
        (fall,) = decided(HURRIED, memory).offerings.falls
        assert fall.until - fall.since == lasts

    def test_it_is_over_when_a_higher_tier_gives_as_much(self) -> None:
        memory = OfferingMemory(falls=(a_fall(ends_in=-1, count=2),))
        for count, left in ((1, 1), (2, 0)):
            claims = [a_claim(name, ClaimState.LAUNCHED, f"i-{name}") for name in NODES]
            launch = replace(a_launch(*claims), outcome=LaunchOutcome(NOW - 1, ((SPOT, count),)))
            plan = decided(HURRIED, memory, launches=[launch])
            assert len(plan.offerings.falls) == left

    def test_it_is_void_when_the_configuration_has_other_tiers(self) -> None:
        memory = OfferingMemory(falls=(replace(a_fall(), configuration="old"),))
        assert decided(HURRIED, memory).offerings.falls == ()

    def test_a_fall_to_a_tier_that_is_no_more_is_passed_over(self) -> None:
        assert chosen(HURRIED, falls=(a_fall(tier=5),)).tier == 0


def refused(*states: ClaimState, gang: bool = True, offering: Offering = SPOT) -> Launch:
    """A launch in the first tier that EC2 has refused just now, claims in these states."""
    claims = [
        a_claim(name, state, "i-" + name if state is ClaimState.TERMINATING else "", failure=FailureKind.CAPACITY)
        for name, state in zip(NODES, states, strict=True)
    ]
    launch = a_launch(*claims)
    refusal = Refusal(offering, FailureKind.CAPACITY, "InsufficientInstanceCapacity")
    return replace(
        launch,
        request=replace(launch.request, offerings=(offering,), market=offering.market, count=4, minimum=4),
        gangs=(Gang(JobId(7), tuple(NODES)),) if gang else (),
        outcome=LaunchOutcome(NOW, refusals=(refusal,)),
    )


FAILED = ClaimState.LAUNCH_FAILED


class TestRefusal:
    def test_a_refused_job_is_asked_for_in_the_next_tier_in_the_same_tick(self) -> None:
        plan = decided(HURRIED, launches=[refused(FAILED, FAILED, FAILED, FAILED)])
        (launch,) = starts(plan)
        assert (launch.request.tier, launch.request.template.id) == (1, "lt-on-demand-subnet-a")
        assert launch.request.market is Market.ON_DEMAND
        (record,) = [action.launch for action in plan.actions if isinstance(action, RecordLaunch)]
        assert not record.is_open
        assert not downs(plan)

    def test_while_the_tier_is_waited_for_its_nodes_stay_and_the_loop_knows_when_to_wake(self) -> None:
        plan = decided(WAITING, launches=[refused(FAILED, FAILED, FAILED, FAILED)])
        assert (starts(plan), downs(plan)) == ([], [])
        assert plan.wake_at == NOW + 60
        (ban,) = plan.offerings.bans
        assert ban.until < plan.wake_at

    def test_the_wait_counts_from_the_jobs_allocation_and_not_from_what_we_remember(self) -> None:
        launches = [refused(FAILED, FAILED, FAILED, FAILED)]
        plan = decided(WAITING, launches=launches, jobs=[a_job(7, NODES, started_at=NOW - 60)])
        assert [launch.request.tier for launch in starts(plan)] == [1]

    def test_nodes_without_a_job_wait_from_when_they_were_first_seen(self) -> None:
        first = decided(WAITING, OfferingMemory((a_ban(SPOT),)), jobs=[])
        assert (starts(first), set(first.memory.wanted_since.values())) == ([], {NOW})
        later = replace(first.memory, wanted_since=dict.fromkeys(NODES, NOW - 60))
        assert starts(decided(WAITING, OfferingMemory((a_ban(SPOT),)), jobs=[], memory=later))[0].request.tier == 1

    def test_a_demand_does_not_wait_longer_because_of_a_younger_one(self) -> None:
        jobs = [a_job(7, NODES[:2], started_at=NOW - 60), a_job(8, NODES[2:], started_at=NOW)]
        plan = decided(WAITING, OfferingMemory((a_ban(SPOT),)), jobs=jobs)
        assert [claim.node for launch in starts(plan) for claim in launch.claims] == NODES[:2]

    def test_a_job_whose_instances_came_in_vain_waits_until_they_are_gone(self) -> None:
        launch = refused(ClaimState.TERMINATING, FAILED, FAILED, FAILED)
        plan = decided(HURRIED, launches=[launch])
        assert (starts(plan), downs(plan)) == ([], [])
        gone = replace(launch, claims=(replace(launch.claims[0], state=ClaimState.TERMINATED), *launch.claims[1:]))
        assert starts(decided(HURRIED, launches=[gone]))[0].request.count == 4

    def test_it_learns_at_once_that_no_tier_is_left(self) -> None:
        memory = OfferingMemory((a_ban(ON_DEMAND),))
        plan = decided(HURRIED, memory, launches=[refused(ClaimState.TERMINATING, FAILED, FAILED, FAILED)])
        assert {node for action in downs(plan) for node in action.nodes} == set(NODES)

    def test_after_the_last_tier_the_nodes_are_given_back_with_every_reason(self) -> None:
        memory = OfferingMemory((a_ban(ON_DEMAND),))
        (down,) = downs(decided(HURRIED, memory, launches=[refused(FAILED, FAILED, FAILED, FAILED)]))
        assert down.nodes == tuple(NODES)
        assert "spot c5.large" in down.detail
        assert "on-demand c5.large" in down.detail

    def test_with_one_tier_a_refusal_is_the_last_word(self) -> None:
        plan = decided(policy_of(a_tier(SPOT)), launches=[refused(FAILED, FAILED, FAILED, FAILED)])
        assert downs(plan)
        assert plan.memory.wanted_since == {}

    def test_a_launch_of_a_tier_that_is_no_more_is_dealt_with_as_any_other(self) -> None:
        launch = refused(FAILED, FAILED, FAILED, FAILED)
        gone = replace(launch, request=replace(launch.request, tier=7))
        assert [launch.request.tier for launch in starts(decided(HURRIED, launches=[gone]))] == [1]
        assert downs(decided(policy_of(a_tier(SPOT)), launches=[gone]))

    def test_a_configuration_that_ec2_refuses_is_banned_in_its_tier_alone(self) -> None:
        launch = refused(FAILED, FAILED, FAILED, FAILED)
        cause = Refusal(SPOT, FailureKind.CONFIGURATION, "InvalidCapacityReservationId.NotFound")
        claims = tuple(replace(claim, failure=FailureKind.CONFIGURATION) for claim in launch.claims)
        launch = replace(launch, claims=claims, outcome=LaunchOutcome(NOW, refusals=(cause,)))
        assert [launch.request.tier for launch in starts(decided(HURRIED, launches=[launch]))] == [1]
        in_second = replace(launch, request=replace(launch.request, tier=1, offerings=(ON_DEMAND,)))
        plan = decided(HURRIED, launches=[in_second])
        assert [ban.scope.place for ban in plan.offerings.bans] == ["q1/c5[1]"]
        assert [launch.request.tier for launch in starts(plan)] == [0]
