"""What refusals teach: how far a ban reaches, how long it lasts, and what ends it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clustermgtd.decide.bans import learn
from clustermgtd.decide.outcome import with_failure
from clustermgtd.decide.plan import decide
from clustermgtd.model.action import RecordLaunch, RecordOfferings
from clustermgtd.model.claim import ClaimState, Launch, LaunchOutcome, Refusal
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import InstanceId, InstanceType, LaunchToken, SubnetId
from clustermgtd.model.instance import Instance, InstanceState
from clustermgtd.model.offering import Market, Offering, Subnet
from clustermgtd.model.offering_memory import Ban, BanScope, OfferingMemory
from clustermgtd.model.policy import Policy
from clustermgtd.model.snapshot import Snapshot
from tests.builders import NOW, RUNNING, a_claim, a_launch, a_node, a_policy, a_snapshot

C5_A = Offering(InstanceType("c5.large"), SubnetId("subnet-a"))
C5_B = Offering(InstanceType("c5.large"), SubnetId("subnet-b"))
SPOT_A = replace(C5_A, market=Market.SPOT)
SUBNETS = {SubnetId(f"subnet-{name}"): Subnet(SubnetId(f"subnet-{name}"), f"zone-{name}", 100, NOW) for name in "ab"}
NOTHING = OfferingMemory()
CAPACITY_A = BanScope(FailureKind.CAPACITY, Market.ON_DEMAND, "c5.large", "zone-a")


def refused(
    kind: FailureKind,
    offering: Offering = C5_A,
    *,
    at: float = NOW,
    obtained: int = 0,
    minimum: int = 1,
    token: str = "t-1",
) -> Launch:
    """A launch whose reply refuses one offering, and gave `obtained` instances of another."""
    launch = a_launch(a_claim("q1-dy-c5-1", ClaimState.LAUNCH_FAILED), token=token)
    outcome = LaunchOutcome(at, ((C5_B, obtained),) if obtained else (), (Refusal(offering, kind, "Code"),))
    return replace(launch, outcome=outcome, request=replace(launch.request, minimum=minimum, count=minimum))


def gave(offering: Offering, count: int, *, at: float = NOW, token: str = "t-9") -> Launch:
    launch = a_launch(a_claim("q1-dy-c5-9", ClaimState.READY, "i-9"), token=token)
    return replace(launch, outcome=LaunchOutcome(at, ((offering, count),)))


def after(
    *launches: Launch, memory: OfferingMemory = NOTHING, now: float = NOW, policy: Policy | None = None
) -> OfferingMemory:
    """What is known once those launches were seen."""
    snapshot = replace(a_snapshot(launches=list(launches), now=now), offerings=memory, subnets=SUBNETS)
    return learn(snapshot, snapshot.launches, policy or a_policy())


def bans(memory: OfferingMemory) -> dict[BanScope, Ban]:
    return {ban.scope: ban for ban in memory.bans}


@pytest.mark.parametrize(
    ("kind", "scope"),
    [
        (FailureKind.CAPACITY, CAPACITY_A),
        (FailureKind.QUOTA, BanScope(FailureKind.QUOTA, Market.ON_DEMAND, "standard")),
        (FailureKind.SUBNET_ADDRESSES, BanScope(FailureKind.SUBNET_ADDRESSES, place="subnet-a")),
        (FailureKind.UNSUPPORTED, BanScope(FailureKind.UNSUPPORTED, "", "c5.large", "zone-a")),
        (FailureKind.CONFIGURATION, BanScope(FailureKind.CONFIGURATION, place="q1/c5")),
    ],
)
def test_a_refusal_reaches_as_far_as_its_kind(kind: FailureKind, scope: BanScope) -> None:
    assert [ban.scope for ban in after(refused(kind)).bans] == [scope]


@pytest.mark.parametrize("kind", [FailureKind.THROTTLED, FailureKind.SERVICE, FailureKind.UNKNOWN])
def test_what_says_nothing_about_the_offering_bans_nothing(kind: FailureKind) -> None:
    launch = with_failure(a_launch(a_claim("q1-dy-c5-1", ClaimState.REQUESTED)), kind, "Code", "words", NOW)
    assert after(launch).bans == ()


def test_a_configuration_error_beside_instances_is_about_its_own_offering() -> None:
    (ban,) = after(refused(FailureKind.CONFIGURATION, obtained=2)).bans
    assert ban.scope == BanScope(FailureKind.CONFIGURATION, Market.ON_DEMAND, "c5.large", "subnet-a")


def test_bans_grow_with_each_refusal_that_follows_an_ended_one() -> None:
    memory, now, lengths = OfferingMemory(), NOW, []
    for number in range(5):
        memory = after(refused(FailureKind.CAPACITY, at=now, token=f"t-{number}"), memory=memory, now=now)
        (ban,) = memory.bans
        lengths.append(ban.until - ban.since)
        now = ban.until + 1
    assert lengths == [45.0, 180.0, 600.0, 1800.0, 1800.0]


def test_a_refusal_during_a_ban_does_not_lengthen_it() -> None:
    memory = after(refused(FailureKind.CAPACITY))
    late = refused(FailureKind.CAPACITY, at=NOW + 20, token="t-2")
    assert after(late, memory=memory, now=NOW + 20).bans == memory.bans


def test_what_was_learned_once_is_not_learned_again() -> None:
    launch = refused(FailureKind.CAPACITY)
    memory = after(launch)
    assert after(launch, memory=memory) is memory
    assert after(launch, memory=memory, now=NOW + 100).bans == memory.bans
    forgotten = after(launch, memory=memory, now=NOW + 45 + 1800)
    assert forgotten.bans == ()
    assert after(launch, memory=forgotten, now=NOW + 5000).bans == ()


def test_a_success_ends_the_ban_and_the_next_refusal_is_a_first_one() -> None:
    memory = after(refused(FailureKind.CAPACITY))
    recovered = after(gave(C5_A, 1, at=NOW + 50), memory=memory, now=NOW + 50)
    assert recovered.bans == ()
    again = after(refused(FailureKind.CAPACITY, at=NOW + 60, token="t-3"), memory=recovered, now=NOW + 60)
    assert again.bans[0].level == 0


def test_a_success_before_the_refusal_or_elsewhere_ends_nothing() -> None:
    memory = after(refused(FailureKind.CAPACITY))
    assert after(gave(C5_A, 1, at=NOW - 1), memory=memory).bans == memory.bans
    assert after(gave(C5_B, 1, at=NOW + 1), memory=memory, now=NOW + 1).bans == memory.bans
    assert after(gave(SPOT_A, 1, at=NOW + 1), memory=memory, now=NOW + 1).bans == memory.bans


def test_a_gang_that_was_refused_bans_only_as_many_at_once() -> None:
    memory = after(refused(FailureKind.CAPACITY, minimum=24))
    assert bans(memory)[CAPACITY_A].count == 24
    assert after(gave(C5_A, 2, at=NOW + 1), memory=memory, now=NOW + 1).bans == memory.bans
    smaller = after(refused(FailureKind.CAPACITY, at=NOW + 2, minimum=3, token="t-2"), memory=memory, now=NOW + 2)
    assert bans(smaller)[CAPACITY_A].count == 3
    assert after(gave(C5_A, 3, at=NOW + 3), memory=smaller, now=NOW + 3).bans == ()


def test_a_shortage_in_a_reservation_says_nothing_about_everybodys_capacity() -> None:
    policy = a_policy()
    ((key, resource),) = policy.compute_resources.items()
    tiers = tuple(replace(tier, pool="cr-1") for tier in resource.tiers)
    reserved = replace(policy, compute_resources={key: replace(resource, tiers=tiers)})
    memory = after(refused(FailureKind.CAPACITY), policy=reserved)
    assert memory.bans[0].scope.pool == "cr-1"
    assert after(gave(C5_A, 1, at=NOW + 1), memory=memory, now=NOW + 1).bans == memory.bans


def test_a_changed_configuration_voids_its_ban() -> None:
    def configured(text: str) -> Policy:
        policy = a_policy()
        (key,) = policy.compute_resources
        return replace(policy, compute_resources={key: replace(policy.compute_resources[key], configuration=text)})

    launch = refused(FailureKind.CONFIGURATION)
    memory = after(launch, policy=configured("one"))
    assert after(launch, memory=memory, policy=configured("one"), now=NOW + 60) is memory
    assert after(launch, memory=memory, policy=configured("two"), now=NOW + 60).bans == ()


def taken_back(state_reason: str) -> Snapshot:
    """A spot instance under a running node that EC2 ended."""
    claim = a_claim("q1-dy-c5-1", ClaimState.READY, "i-1")
    instance = Instance(
        InstanceId("i-1"),
        InstanceState.TERMINATED,
        LaunchToken("t-1"),
        instance_type=InstanceType("c5.large"),
        subnet=SubnetId("subnet-a"),
        is_spot=True,
        state_reason=state_reason,
    )
    node = a_node("q1-dy-c5-1", RUNNING)
    snapshot = a_snapshot(nodes=[node], instances=[instance], launches=[a_launch(claim)])
    return replace(snapshot, subnets=SUBNETS)


def test_an_interruption_bans_its_offering_in_the_tick_that_loses_the_claim() -> None:
    snapshot = taken_back("Server.SpotInstanceTermination")
    plan = decide(snapshot, a_policy())
    assert [type(action) for action in plan.actions[:2]] == [RecordOfferings, RecordLaunch]
    (ban,) = plan.offerings.bans
    assert ban.scope == BanScope(FailureKind.CAPACITY, Market.SPOT, "c5.large", "zone-a")


def test_an_instance_that_ended_for_another_reason_bans_nothing() -> None:
    assert decide(taken_back("Client.UserInitiatedShutdown"), a_policy()).offerings.bans == ()
