"""Nodes that schedules want up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clustermgtd.decide.offerings import Availability
from clustermgtd.decide.plan import decide
from clustermgtd.decide.warm import Warmth, warmth
from clustermgtd.model.action import DrainNodes, PowerDownNodes, PowerUpNodes, Reason
from clustermgtd.model.claim import ClaimState, Launch
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.fleet_status import CLUSTER, FleetRecord, FleetStatus, ScopeStatus
from clustermgtd.model.ids import InstanceId, InstanceType, NodeName
from clustermgtd.model.node import Node
from clustermgtd.model.node_report import HealthTrouble, NodeReport
from clustermgtd.model.offering import Market
from clustermgtd.model.offering_memory import Ban, BanScope, OfferingMemory
from clustermgtd.model.policy import Policy
from clustermgtd.model.price import Prices
from clustermgtd.model.schedule import ScheduleName, ScheduleTime, WarmNodes
from clustermgtd.model.snapshot import Memory, Snapshot
from tests.builders import (
    KEY,
    NOW,
    POWERED_DOWN,
    POWERING_DOWN,
    POWERING_UP,
    RUNNING,
    a_claim,
    a_job,
    a_launch,
    a_node,
    a_policy,
    a_snapshot,
    an_instance,
    dynamic,
)

OFFICE, NIGHT = ScheduleName("office"), ScheduleName("night")
OPEN = {OFFICE: ScheduleTime(NOW + 3600, NOW + 86_400)}
CLOSED = {OFFICE: ScheduleTime(NOW - 1, NOW + 3600)}
UP = "IDLE+CLOUD"
LONG_S = 9999.0


def wanting(minimum: int, **facts: object) -> Policy:
    return a_policy(warm={KEY: (WarmNodes(OFFICE, minimum),)}, idle_after_s={KEY: 60.0}, **facts)  # type: ignore[arg-type]


def cluster(*states: str, schedules: dict[ScheduleName, ScheduleTime] | None = None, **facts: object) -> Snapshot:
    """Nodes 1, 2, ... in these states, the idle ones for long, and the others of ten powered down."""
    every = [*states, *([POWERED_DOWN] * (10 - len(states)))]
    nodes = [
        replace(a_node(name, state), last_busy_at=NOW - LONG_S) for name, state in zip(dynamic(10), every, strict=True)
    ]
    return replace(a_snapshot(nodes=nodes, **facts), schedules=OPEN if schedules is None else schedules)  # type: ignore[arg-type]


def found(snapshot: Snapshot, policy: Policy, launches: tuple[Launch, ...] = ()) -> Warmth:
    opened = {launch.token: launch for launch in launches}
    return warmth(opened, snapshot, policy, Availability.of(snapshot.offerings, opened, snapshot))


def powered_up(warm: Warmth) -> list[int]:
    names = warm.power_up.nodes if warm.power_up else ()
    return sorted(int(name.rpartition("-")[2]) for name in names)


def kept(warm: Warmth) -> list[int]:
    return sorted(int(name.rpartition("-")[2]) for name in warm.kept)


def test_a_node_that_leaves_by_the_same_plan_is_no_reason_to_let_another_go() -> None:
    claims = [a_claim(n, ClaimState.READY, instance=f"i-{i}") for i, n in enumerate(dynamic(10)[:3], 1)]
    instances = [an_instance("i-1", "terminated"), an_instance("i-2"), an_instance("i-3")]
    snapshot = cluster(UP, UP, UP, launches=[a_launch(*claims)], instances=instances)
    down = [action for action in decide(snapshot, wanting(2)).actions if isinstance(action, PowerDownNodes)]
    assert down == []


def test_nor_is_one_that_drains_by_it() -> None:
    nodes = [replace(a_node(n, s), last_busy_at=NOW - LONG_S) for n, s in zip(dynamic(2), (RUNNING, UP), strict=True)]
    claims = [a_claim(n, ClaimState.READY, instance=f"i-{i}") for i, n in enumerate(dynamic(2), 1)]
    snapshot = replace(
        a_snapshot(
            nodes=nodes,
            jobs=[a_job(7, dynamic(2)[:1], "RUNNING")],
            launches=[a_launch(*claims)],
            instances=[an_instance("i-1"), an_instance("i-2")],
        ),
        schedules=OPEN,
    )
    report = NodeReport(InstanceId("i-1"), health=HealthTrouble(NOW - LONG_S, 1, "no GPU"))
    ill = replace(snapshot, node_reports={report.instance: report}, node_reports_at=NOW)
    policy = replace(wanting(1), nodes={n: p for n, p in wanting(1).nodes.items() if n in dynamic(2)})
    assert [type(a) for a in decide(ill, policy).actions if a.reason in (Reason.HEALTH_CHECK, Reason.IDLE)] == [
        DrainNodes
    ]


def test_while_a_schedule_is_active_missing_nodes_are_powered_up() -> None:
    warm = found(cluster(), wanting(3))
    assert powered_up(warm) == [1, 2, 3]
    assert warm.power_up is not None
    assert warm.power_up.reason is Reason.WARM
    assert (warm.statuses[0].wanted, warm.statuses[0].up, warm.statuses[0].schedule) == (3, 0, OFFICE)


def test_outside_of_it_nothing_is_powered_up_or_kept_and_the_loop_wakes_when_it_begins() -> None:
    warm = found(cluster(UP, schedules=CLOSED), wanting(3))
    assert (powered_up(warm), kept(warm), warm.wake_at) == ([], [], NOW + 3600)
    assert (warm.statuses[0].wanted, warm.statuses[0].up) == (0, 1)


def test_the_loop_wakes_when_it_ends() -> None:
    assert found(cluster(UP), wanting(1)).wake_at == NOW + 3600


@pytest.mark.parametrize(
    ("states", "expected_up", "expected_kept"),
    [
        ((UP, UP), [3], [1, 2]),
        ((RUNNING, UP), [3], [2]),
        ((RUNNING, RUNNING, RUNNING, UP), [], []),
        ((UP, UP, UP, UP, RUNNING), [], [1, 2]),
        ((POWERING_UP, POWERING_UP), [3], []),
        ((POWERING_UP, UP, UP, UP), [], [2, 3, 4]),
        (("IDLE+CLOUD+POWER_UP+POWERED_DOWN", "ALLOCATED+CLOUD+POWERED_DOWN"), [3], []),
        ((POWERING_DOWN, "IDLE+CLOUD+POWER_DOWN", "DOWN+CLOUD", "IDLE+CLOUD+DRAIN"), [5, 6, 7], []),
        (("IDLE+CLOUD+DRAIN+POWERED_DOWN",), [2, 3, 4], []),
        (("IDLE+CLOUD+COMPLETING", UP, UP), [], [2, 3]),
    ],
)
def test_three_nodes_are_wanted(states: tuple[str, ...], expected_up: list[int], expected_kept: list[int]) -> None:
    """Busy nodes count first, those that power up are not asked for again, those that leave do not count."""
    warm = found(cluster(*states), wanting(3))
    assert (powered_up(warm), kept(warm)) == (expected_up, expected_kept)


def test_static_nodes_count() -> None:
    policy = wanting(3, static=("q1-st-c5-1", "q1-st-c5-2"))
    snapshot = cluster(UP, UP)
    static = [a_node("q1-st-c5-1", UP), a_node("q1-st-c5-2", POWERING_UP)]
    snapshot = replace(snapshot, nodes={**snapshot.nodes, **{node.name: node for node in static}})
    warm = found(snapshot, policy)
    assert (powered_up(warm), kept(warm), warm.statuses[0].up) == ([], [1, 2], 3)


def test_a_suspended_job_counts_as_one() -> None:
    jobs = [a_job(1, [NodeName("q1-dy-c5-1")], "SUSPENDED")]
    assert kept(found(cluster(UP, UP, jobs=jobs), wanting(1))) == []


def test_of_several_schedules_the_one_that_wants_most_counts_while_it_is_active() -> None:
    policy = a_policy(warm={KEY: (WarmNodes(OFFICE, 1), WarmNodes(NIGHT, 4))})
    both = {OFFICE: ScheduleTime(NOW + 60), NIGHT: ScheduleTime(NOW + 10)}
    only_office = {OFFICE: ScheduleTime(NOW + 60), NIGHT: ScheduleTime(NOW - 10)}
    assert powered_up(found(cluster(schedules=both), policy)) == [1, 2, 3, 4]
    assert powered_up(found(cluster(schedules=only_office), policy)) == [1]


def test_a_node_that_did_not_come_is_asked_for_again_after_a_minute_whichever_stands_in() -> None:
    tried = Memory(power_up_asked_at={NodeName("q1-dy-c5-1"): NOW - 59, NodeName("q1-dy-c5-2"): NOW - 61})
    assert powered_up(found(cluster(memory=tried), wanting(2))) == [2]
    assert powered_up(found(cluster(POWERING_DOWN, memory=tried), wanting(2))) == [2]


def test_ec2_is_not_asked_for_more_than_it_may_have() -> None:
    def banned(count: int) -> Snapshot:
        scope = BanScope(FailureKind.CAPACITY, Market.ON_DEMAND, "c5.large", "subnet-1")
        ban = Ban(scope, NOW - 1, NOW + 45, count=count, code="InsufficientInstanceCapacity")
        return replace(cluster(), offerings=OfferingMemory((ban,)))

    assert powered_up(found(banned(1), wanting(3))) == []
    assert powered_up(found(banned(3), wanting(3))) == [1, 2]


def test_a_node_whose_former_instance_is_not_gone_is_not_powered_up() -> None:
    launch = a_launch(a_claim("q1-dy-c5-1", ClaimState.TERMINATING, "i-1"))
    assert powered_up(found(cluster(), wanting(1), (launch,))) == [2]


def test_what_is_kept_alone_by_a_schedule_has_its_price() -> None:
    launch = a_launch(
        a_claim("q1-dy-c5-1", ClaimState.READY, "i-1"), a_claim("q1-dy-c5-2", ClaimState.READY, "i-2"), token="t-1"
    )
    instances = [replace(an_instance(id), instance_type=InstanceType("c5.large")) for id in ("i-1", "i-2")]
    policy = wanting(1, prices=Prices({InstanceType("c5.large"): 0.085}))
    warm = found(cluster(UP, UP, instances=instances), policy, (launch,))
    assert warm.statuses[0].cost_per_hour == pytest.approx(0.085)


def _running(*nodes: Node, policy: Policy, schedules: dict[ScheduleName, ScheduleTime]) -> tuple[Snapshot, Policy]:
    claims = [a_claim(node.name, ClaimState.READY, f"i-{n}") for n, node in enumerate(nodes)]
    instances = [an_instance(f"i-{n}") for n, _ in enumerate(nodes)]
    rest = [a_node(name, POWERED_DOWN) for name in dynamic(10)[len(nodes) :]]
    snapshot = a_snapshot(nodes=[*nodes, *rest], instances=instances, launches=[a_launch(*claims)])
    return replace(snapshot, schedules=schedules), policy


def idle(number: int, seconds: float = LONG_S) -> Node:
    return replace(a_node(f"q1-dy-c5-{number}", UP), last_busy_at=NOW - seconds)


class TestPlans:
    def test_within_a_window_the_surplus_goes_and_the_minimum_stays(self) -> None:
        plan = decide(*_running(idle(1), idle(2), idle(3), policy=wanting(2), schedules=OPEN))
        assert plan.actions == (PowerDownNodes((NodeName("q1-dy-c5-3"),), Reason.IDLE),)

    def test_after_it_all_of_them_have_idled_for_long_enough(self) -> None:
        plan = decide(*_running(idle(1), idle(2), policy=wanting(2), schedules=CLOSED))
        assert plan.actions == (PowerDownNodes(tuple(dynamic(2)), Reason.IDLE),)

    def test_after_it_a_node_that_has_just_worked_idles_as_any_other(self) -> None:
        plan = decide(*_running(idle(1, 10), policy=wanting(2), schedules=CLOSED))
        assert (plan.actions, plan.wake_at) == ((), NOW + 50)

    def test_a_fresh_daemon_keeps_them_too(self) -> None:
        snapshot, policy = _running(idle(1), idle(2), policy=wanting(2), schedules=OPEN)
        assert snapshot.memory == Memory()
        assert decide(snapshot, policy).actions == ()

    def test_what_was_asked_for_is_not_asked_for_again_at_once(self) -> None:
        snapshot = cluster()
        plan = decide(snapshot, wanting(2))
        assert plan.actions == (PowerUpNodes(tuple(dynamic(2)), Reason.WARM),)
        assert decide(replace(snapshot, memory=plan.memory), wanting(2)).actions == ()

    def test_a_stopped_cluster_has_no_warm_nodes(self) -> None:
        stopped = FleetRecord((ScopeStatus(CLUSTER, FleetStatus.STOPPED, NOW - 9),))
        assert decide(replace(cluster(), fleet=stopped), wanting(2)).actions == ()
