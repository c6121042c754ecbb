"""Jobs that keep what arrived: what is held and for how long, what is asked for again, and where."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clustermgtd.decide.outcome import with_failure, with_result
from clustermgtd.decide.plan import decide
from clustermgtd.model.action import Action, Reason, RecordLaunch, RecordOfferings, SetNodesDown, StartLaunch
from clustermgtd.model.claim import ClaimState, Launch, LaunchedInstance, LaunchError, LaunchResult
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.gang import GangEnd, GangOrder, GangPolicy, HeldGang, ShortGang
from clustermgtd.model.ids import ComputeResourceName, InstanceId, InstanceType, JobId, LaunchToken, NodeName, SubnetId
from clustermgtd.model.instance import Instance, InstanceState
from clustermgtd.model.job import Job
from clustermgtd.model.node import Node
from clustermgtd.model.offering import Market, Offering, Subnet
from clustermgtd.model.offering_memory import Ban, BanScope, OfferingMemory
from clustermgtd.model.policy import (
    BanPolicy,
    ComputeResourceKey,
    ComputeResourcePolicy,
    PlacedNode,
    Policy,
    ScalingStrategy,
)
from clustermgtd.model.price import Prices
from clustermgtd.model.snapshot import Plan, Snapshot
from tests.builders import KEY, NOW, POWERING_UP, RUNNING, a_job, a_node, a_policy, dynamic

C5, M5 = InstanceType("c5.large"), InstanceType("m5.large")
A, B = SubnetId("subnet-a"), SubnetId("subnet-b")
HERE, THERE = Offering(C5, A), Offering(C5, B)
ALSO, ALSO_THERE = Offering(M5, A), Offering(M5, B)
SUBNETS = {A: Subnet(A, "zone-a", 4000), B: Subnet(B, "zone-b", 4000)}
KEEP_ALL = GangPolicy(keep_above=0)
JOB = JobId(1)


class Story:
    """One compute resource and its jobs over time: every plan's records and launches take effect, EC2 gives so many."""

    def __init__(self, size: int = 4, policy: Policy | None = None, **facts: object) -> None:
        facts.setdefault("offerings", (HERE,))
        facts.setdefault("gangs", KEEP_ALL)
        self.policy = policy or a_policy(dynamic(size), **facts)
        self.now = NOW
        self.jobs: dict[JobId, Job] = {JOB: a_job(1, dynamic(size))}
        self.up: set[NodeName] = set()
        self.down: set[NodeName] = set()
        self.snapshot = Snapshot(NOW, {}, {}, {}, {}, token_prefix="t-", subnets=SUBNETS)
        self.instances: dict[InstanceId, Instance] = {}

    def tick(
        self, seconds: float = 0.0, *, gives: int = 0, each: int = 0, refuses: FailureKind = FailureKind.CAPACITY
    ) -> Plan:
        """Time passes; EC2 gives at most so many instances in all, or to each new launch, and refuses the rest."""
        self.now += seconds
        nodes = {name: self._node(name) for name in self.policy.nodes}
        snapshot = replace(
            self.snapshot, now=self.now, nodes=nodes, jobs=dict(self.jobs), instances=dict(self.instances)
        )
        plan = decide(snapshot, self.policy)
        launches = dict(snapshot.launches)
        for action in plan.actions:
            if isinstance(action, RecordLaunch):
                launches[action.launch.token] = action.launch
            elif isinstance(action, StartLaunch):
                launch = self._answer(replace(action.launch, attempts=1), each or gives, refuses)
                gives -= len(launch.instances)
                launches[launch.token] = launch
            elif isinstance(action, SetNodesDown):
                self.down |= set(action.nodes)
        self.snapshot = replace(
            snapshot,
            launches={token: launch for token, launch in launches.items() if launch.is_open},
            memory=plan.memory,
            next_launch=plan.next_launch,
            offerings=plan.offerings,
        )
        return plan

    def _node(self, name: NodeName) -> Node:
        if name in self.down:
            return a_node(name, "DOWN+CLOUD+POWERING_DOWN", reason="clustermgtd: gone")
        if any(name in job.nodes for job in self.jobs.values()):
            return a_node(name, RUNNING if name in self.up else POWERING_UP)
        return a_node(name, "IDLE+CLOUD" if name in self.up else "IDLE+CLOUD+POWERED_DOWN")

    def _answer(self, launch: Launch, gives: int, refuses: FailureKind) -> Launch:
        offering = launch.request.offerings[0]
        ids = [InstanceId(f"i-{launch.token}-{n}") for n in range(min(gives, launch.request.count))]
        for id in ids:
            self.instances[id] = Instance(
                id, InstanceState.RUNNING, launch.token, self.now, offering.instance_type, "", offering.subnet
            )
        errors = [LaunchError(o, "Refused", "by EC2", refuses) for o in launch.request.offerings]
        is_short = len(ids) < launch.request.count
        result = LaunchResult(tuple(LaunchedInstance(id, offering) for id in ids), tuple(errors if is_short else ()))
        return with_result(launch, result, self.now)

    @property
    def held(self) -> HeldGang:
        (held,) = self.tick().gangs
        return held


def starts(plan: Plan) -> list[StartLaunch]:
    return [action for action in plan.actions if isinstance(action, StartLaunch)]


def downs(plan: Plan) -> list[SetNodesDown]:
    return [action for action in plan.actions if isinstance(action, SetNodesDown)]


def lasting(plan: Plan) -> list[Action]:
    return [action for action in plan.actions if not isinstance(action, RecordOfferings)]


class TestKeeping:
    def test_a_job_that_came_short_keeps_what_arrived_and_nothing_else_is_done(self) -> None:
        story = Story()
        story.tick(gives=3)
        plan = story.tick(1)
        assert lasting(plan) == []
        assert plan.gangs == (HeldGang(ShortGang(JOB, 0, story.now), 4, 1, 0.0),)
        assert lasting(story.tick(1)) == []

    def test_a_job_below_the_bound_is_served_whole_or_not_at_all(self) -> None:
        story = Story(gangs=GangPolicy(keep_above=4))
        plan = story.tick()
        assert starts(plan)[0].launch.request.minimum == 4

    def test_a_job_that_got_nothing_is_given_back_at_once(self) -> None:
        story = Story()
        story.tick(gives=0)
        assert [(d.nodes, d.reason) for d in downs(story.tick(1))] == [(tuple(dynamic(4)), Reason.LAUNCH_FAILED)]

    @pytest.mark.parametrize("strategy", list(ScalingStrategy))
    def test_every_scaling_strategy_keeps(self, strategy: ScalingStrategy) -> None:
        story = Story(scaling=strategy)
        story.tick(gives=3)
        assert story.held.end is None

    def test_what_no_time_can_mend_ends_the_wait_at_once(self) -> None:
        for kind in (FailureKind.UNKNOWN, FailureKind.UNSUPPORTED, FailureKind.CONFIGURATION):
            story = Story()
            story.tick(gives=3, refuses=kind)
            plan = story.tick(1)
            assert [gang.end for gang in plan.gangs] == [GangEnd.REFUSED]
            assert [d.reason for d in downs(plan)] == [Reason.HOLD_OVER]

    def test_a_throttle_is_no_shortage(self) -> None:
        story = Story()
        story.tick(gives=3, refuses=FailureKind.THROTTLED)
        assert story.tick(1).gangs == ()
        assert [s.launch.request.count for s in starts(story.tick(6, gives=1))] == [1]

    def test_a_cancelled_job_holds_nothing(self) -> None:
        story = Story()
        story.tick(gives=3)
        story.tick(1)
        story.jobs.clear()
        plan = story.tick(1)
        assert [gang.end for gang in plan.gangs] == [GangEnd.GONE]
        assert plan.offerings.short == ()
        assert story.tick(1).gangs == ()

    def test_a_later_attempt_of_the_job_has_a_time_of_its_own(self) -> None:
        story = Story()
        story.tick(gives=3)
        story.tick(1)
        story.up = set(dynamic(4)[:3])
        story.jobs[JOB] = a_job(1, dynamic(4), restarts=1)
        plan = story.tick(900)
        assert [gang.end for gang in plan.gangs] == [GangEnd.GONE]


class TestBounds:
    def test_when_the_time_is_over_the_missing_nodes_are_given_back_and_the_rest_stays(self) -> None:
        story = Story(prices=Prices({C5: 36.0}), bans=BanPolicy(steps_s=(900.0,)))
        story.tick(gives=3)
        story.tick()
        assert downs(story.tick(599)) == []
        (down,) = downs(story.tick(1))
        assert down.nodes == (dynamic(4)[3],)
        assert down.reason is Reason.HOLD_OVER
        assert down.detail.startswith("job 1 is given back (time): 3 of 4 arrived in 600 s, $18.00; (Code:Refused)")
        assert len(story.instances) == 3

    def test_when_the_money_is_spent_likewise(self) -> None:
        gangs = replace(KEEP_ALL, hold_cost_max=9.0)
        story = Story(prices=Prices({C5: 36.0}), bans=BanPolicy(steps_s=(900.0,)), gangs=gangs)
        story.tick(gives=3)
        story.tick()
        assert downs(story.tick(299)) == []
        plan = story.tick(1)
        assert [(gang.end, gang.cost) for gang in plan.gangs] == [(GangEnd.COST, 9.0)]

    def test_instances_of_unknown_price_count_against_the_time_alone(self) -> None:
        story = Story(gangs=replace(KEEP_ALL, hold_cost_max=0.01), bans=BanPolicy(steps_s=(900.0,)))
        story.tick(gives=3)
        story.tick()
        assert downs(story.tick(599)) == []

    def test_the_time_outlives_the_daemon(self) -> None:
        story = Story(bans=BanPolicy(steps_s=(900.0,)))
        story.tick(gives=3)
        story.tick()
        story.snapshot = replace(story.snapshot, memory=type(story.snapshot.memory)())
        assert [gang.held_s for gang in story.tick(500).gangs] == [500.0]

    def test_it_goes_on_while_the_rest_is_asked_for_again(self) -> None:
        story = Story()
        story.tick(gives=3)
        story.tick()
        for _ in range(60):
            plan = story.tick(10)
        assert [gang.end for gang in plan.gangs] == [GangEnd.TIME]

    def test_and_begins_anew_when_everything_had_arrived(self) -> None:
        story = Story(size=5)
        story.tick(gives=4)
        story.tick()
        story.tick(50, gives=1)
        assert [gang.end for gang in story.tick(1).gangs] == [GangEnd.COMPLETE]
        story.instances.popitem()
        for seconds in (125, 125, 1):
            assert story.tick(seconds).gangs == ()
        assert story.held.held_s == 0

    def test_but_not_when_what_arrived_last_was_lost_at_once(self) -> None:
        story = Story(size=5)
        story.tick(gives=4)
        story.tick()
        story.tick(50, gives=1)
        last = next(reversed(story.instances))
        story.instances[last] = replace(story.instances[last], state=InstanceState.TERMINATED)
        assert [gang.held_s for gang in story.tick(1).gangs] == [51.0]
        assert [gang.held_s for gang in story.tick(1).gangs] == [52.0]

    def test_no_hold_time_is_no_hold(self) -> None:
        story = Story(gangs=replace(KEEP_ALL, hold_s=0.0))
        story.tick(gives=3)
        assert [gang.end for gang in story.tick(1).gangs] == [GangEnd.TIME]

    def test_launches_that_still_wait_for_their_turn_are_given_up_with_the_rest(self) -> None:
        story = Story(size=4, launch_batch_max=2, gangs=replace(KEEP_ALL, hold_s=100.0))
        story.tick(gives=1)
        first, second = sorted(story.snapshot.launches)
        unanswered = story.snapshot.launches[second]
        waiting = replace(
            unanswered, claims=tuple(replace(c, state=ClaimState.REQUESTED, failure=None) for c in unanswered.claims)
        )
        story.snapshot = replace(
            story.snapshot,
            launches={first: story.snapshot.launches[first], second: waiting},
            in_flight=frozenset({second}),
            waiting=frozenset({second}),
        )
        story.tick()
        story.policy = replace(story.policy, bans=BanPolicy(steps_s=(900.0,)))
        (down,) = downs(story.tick(100))
        assert set(down.nodes) == {*dynamic(4)[1:]}


class TestToppingUp:
    def test_the_rest_is_asked_for_when_the_ban_has_ended(self) -> None:
        story = Story(size=5)
        story.tick(gives=3)
        story.tick()
        assert starts(story.tick(44)) == []
        (probe,) = starts(story.tick(1, gives=1))
        assert (probe.reason, probe.launch.request.count) == (Reason.PROBE, 1)
        (rest,) = starts(story.tick(1, gives=1))
        assert (rest.reason, rest.launch.request.count) == (Reason.TOP_UP, 1)
        assert [gang.end for gang in story.tick(1).gangs] == [GangEnd.COMPLETE]
        assert story.tick(1).gangs == ()
        claims = [claim for launch in story.snapshot.launches.values() for claim in launch.claims if claim.is_open]
        assert sorted(claim.node for claim in claims) == dynamic(5)

    def test_another_offering_of_the_zone_is_asked_at_once(self) -> None:
        story = Story(offerings=(HERE, ALSO))
        story.tick(gives=3)
        launch = next(iter(story.snapshot.launches.values()))
        refusals = tuple(r for r in launch.outcome.refusals if r.offering == HERE) if launch.outcome else ()
        assert launch.outcome is not None
        first = replace(launch, outcome=replace(launch.outcome, refusals=refusals))
        story.snapshot = replace(story.snapshot, launches={first.token: first})
        assert starts(story.tick(1)) == [], "not faster than a call is repeated"
        (top_up,) = starts(story.tick(5))
        assert top_up.launch.request.offerings == (ALSO,)

    def test_a_short_job_is_served_before_one_of_higher_priority_that_has_nothing(self) -> None:
        story = Story(size=8, offerings=(HERE,))
        story.jobs = {JOB: a_job(1, dynamic(8)[:4], priority=1)}
        story.tick(gives=3)
        story.tick(1)
        story.jobs[JobId(2)] = a_job(2, dynamic(8)[4:], priority=9)
        assert [s.launch.request.jobs for s in starts(story.tick(45, gives=1))] == [(1,)]

    def test_a_job_that_waits_does_not_use_up_the_answer_of_another_s_probe(self) -> None:
        """Two short jobs of one offering: the first in order asks, the other waits, both within their time."""
        story = Story(size=8)
        story.jobs = {JobId(n): a_job(n, dynamic(8)[4 * n - 4 : 4 * n], priority=n) for n in (1, 2)}
        story.tick(each=3)
        plan = story.tick(5)
        while not starts(plan):
            plan = story.tick(5, gives=0)
        assert [s.launch.request.jobs for s in starts(plan)] == [(2,)]
        ended: dict[JobId, GangEnd] = {}
        for _ in range(130):
            for gang in story.tick(5).gangs:
                if gang.end is not None:
                    ended.setdefault(gang.gang.job, gang.end)
        assert ended == {1: GangEnd.TIME, 2: GangEnd.TIME}


class TestOneZone:
    def test_all_launches_of_a_kept_job_ask_in_one_zone(self) -> None:
        story = Story(size=6, offerings=(HERE, THERE), launch_batch_max=4)
        assert {o for s in starts(story.tick(gives=9)) for o in s.launch.request.offerings} == {HERE}

    def test_what_arrived_decides_where_the_rest_is_asked(self) -> None:
        story = Story(offerings=(HERE, THERE))
        story.tick(gives=3)
        story.tick(1)
        assert starts(story.tick(10)) == [], "the other zone has room, and is of no use"
        (probe,) = starts(story.tick(40))
        assert probe.launch.request.offerings == (HERE,)

    def test_while_nothing_has_arrived_the_zone_may_change(self) -> None:
        story = Story(offerings=(HERE, THERE))
        story.tick(gives=0)
        assert lasting(story.tick(1)) == []
        (other,) = starts(story.tick(5, gives=4))
        assert other.launch.request.offerings == (THERE,)
        assert all(c.is_open for launch in story.snapshot.launches.values() for c in launch.claims)

    def test_and_when_no_zone_is_left_the_job_learns_at_once(self) -> None:
        story = Story(offerings=(HERE, THERE))
        story.tick(gives=0)
        story.tick(1)
        story.tick(5, gives=0)
        assert [d.reason for d in downs(story.tick(1))] == [Reason.LAUNCH_FAILED]

    def test_a_zone_without_addresses_for_all_of_it_is_not_the_first_choice(self) -> None:
        story = Story(size=6, offerings=(HERE, THERE), launch_batch_max=4)
        story.snapshot = replace(story.snapshot, subnets={**SUBNETS, A: replace(SUBNETS[A], free_addresses=5)})
        assert {o for s in starts(story.tick(gives=9)) for o in s.launch.request.offerings} == {THERE}

    @pytest.mark.parametrize("kind", [FailureKind.UNSUPPORTED, FailureKind.CAPACITY])
    def test_a_zone_that_has_nothing_for_other_nodes_of_the_job_is_not_the_first_choice(
        self, kind: FailureKind
    ) -> None:
        story = two_kinds_of_nodes(kind)
        asked = [s.launch.request for s in starts(story.tick(gives=9))]
        assert [request.offerings for request in asked] == [(ALSO,), (HERE,)]
        assert lasting(story.tick(1)) == []

    def test_a_job_that_no_zone_can_have_whole_is_spread(self) -> None:
        story = two_kinds_of_nodes(FailureKind.UNSUPPORTED, alt=(ALSO_THERE,))
        asked = [s.launch.request for s in starts(story.tick(gives=9))]
        assert [request.offerings for request in asked] == [(ALSO_THERE,), (HERE,)]
        assert lasting(story.tick(1)) == []

    def test_a_zone_that_was_refused_lately_is_not_the_first_choice(self) -> None:
        story = Story(size=8, offerings=(HERE, THERE))
        story.jobs = {JobId(2): a_job(2, dynamic(8)[:2])}
        story.tick(gives=1)
        story.tick(1)
        story.jobs[JobId(3)] = a_job(3, dynamic(8)[4:])
        last = starts(story.tick(45))[-1]
        assert (last.launch.request.jobs, last.launch.request.offerings) == ((3,), (THERE,))


def two_kinds_of_nodes(kind: FailureKind, alt: tuple[Offering, ...] = (ALSO_THERE, ALSO)) -> Story:
    """A job with nodes of two compute resources, one of which has nothing in B's zone for an hour."""
    first = a_policy(dynamic(4), offerings=(HERE, THERE), gangs=KEEP_ALL)
    other = ComputeResourceKey(KEY.queue, ComputeResourceName("alt"))
    tier = replace(first.compute_resources[KEY].tiers[0], offerings=alt)
    # the order in which a job's parts are served is that of their nodes' names
    nodes = {name: PlacedNode(other if n < 2 else KEY, is_static=False) for n, name in enumerate(dynamic(4))}
    resources = {KEY: first.compute_resources[KEY], other: ComputeResourcePolicy(other, (tier,))}
    story = Story(policy=replace(first, compute_resources=resources, nodes=nodes))
    scope = BanScope(kind, Market.ON_DEMAND if kind is FailureKind.CAPACITY else "", C5, SUBNETS[B].zone)
    memory = OfferingMemory(bans=(Ban(scope, NOW, NOW + 3600.0),))
    story.snapshot = replace(story.snapshot, offerings=memory)
    return story


@pytest.mark.parametrize(
    ("order", "jobs"),
    [
        (GangOrder.PRIORITY, [3, 2, 1]),
        (GangOrder.PRIORITY_LARGEST_FIRST, [3, 1, 2]),
        (GangOrder.LARGEST_FIRST, [1, 3, 2]),
        (GangOrder.SMALLEST_FIRST, [2, 3, 1]),
        (GangOrder.ARRIVAL, [1, 2, 3]),
    ],
)
def test_the_order_of_serving_is_the_site_s(order: GangOrder, jobs: list[int]) -> None:
    story = Story(size=9, gangs=GangPolicy(keep_above=0, order=order))
    nodes = dynamic(9)
    story.jobs = {
        JobId(1): a_job(1, nodes[:4]),
        JobId(2): a_job(2, nodes[4:6]),
        JobId(3): a_job(3, nodes[6:], priority=9),
    }
    assert [s.launch.request.jobs for s in starts(story.tick(gives=9))] == [(job,) for job in jobs]


def test_a_refusal_of_the_whole_call_for_lack_of_permission_gives_the_job_back() -> None:
    story = Story()
    story.tick(gives=0)
    launch = next(iter(story.snapshot.launches.values()))
    requested = replace(
        launch, outcome=None, claims=tuple(replace(c, state=ClaimState.REQUESTED, failure=None) for c in launch.claims)
    )
    refused = with_failure(requested, FailureKind.CONFIGURATION, "UnauthorizedOperation", "not allowed", NOW)
    story.snapshot = replace(story.snapshot, launches={LaunchToken(refused.token): refused})
    assert [d.reason for d in downs(story.tick(1))] == [Reason.LAUNCH_FAILED]


def test_capacity_blocks_are_paid_for_in_advance() -> None:
    block = Offering(C5, A, Market.CAPACITY_BLOCK)
    assert Prices({C5: 1.0}).of(block) is None
