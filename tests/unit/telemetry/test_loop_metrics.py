"""What the loop reports becomes numbers."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from clustermgtd.errors import IncompleteObservationError, TransientError
from clustermgtd.model.action import PowerDownNodes, Reason, RecordLaunch, StartLaunch
from clustermgtd.model.claim import ClaimState, LaunchedInstance, LaunchError, LaunchResult
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import ComputeResourceName, InstanceId, InstanceType, NodeName, SubnetId
from clustermgtd.model.left_alone import LeftAlone
from clustermgtd.model.offering import Market, Offering
from clustermgtd.model.offering_memory import Ban, BanScope, Fall, OfferingMemory
from clustermgtd.model.policy import ComputeResourceKey
from clustermgtd.model.schedule import ScheduleName
from clustermgtd.model.snapshot import Memory, Plan
from clustermgtd.model.warm import WarmStatus
from clustermgtd.reconcile.observer import LoopObserver
from clustermgtd.telemetry.loop_metrics import UNSEEN_ENDED_S, LoopMetrics
from clustermgtd.telemetry.metrics import Metrics
from tests.builders import KEY, NOW, POWERED_DOWN, a_claim, a_launch, a_node, a_snapshot, an_instance

AN_OFFERING = Offering(InstanceType("c5.large"), SubnetId("subnet-1"))
A_SPOT_OFFERING = replace(AN_OFFERING, market=Market.SPOT)
NOTHING_TO_DO = Plan((), Memory(), 0)
N1, N2 = "q1-dy-c5-1", "q1-dy-c5-2"


class Counted:
    """A loop's counter and a way to ask what it counted."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        metrics.use_queues([KEY.queue])
        self.loop = LoopMetrics(metrics)

    def value(self, name: str, **of: str) -> float | None:
        return self.registry.get_sample_value(f"clustermgtd_{name}", of)


@pytest.fixture
def counted() -> Counted:
    return Counted()


def test_it_answers_to_everything_that_the_loop_calls() -> None:
    methods = {n: m for n, m in inspect.getmembers(LoopObserver, inspect.isfunction) if not n.startswith("_")}
    assert methods
    for name, method in methods.items():
        mine = getattr(LoopMetrics, name)
        assert inspect.signature(mine).parameters.keys() == inspect.signature(method).parameters.keys(), name


def test_a_tick_shows_the_world_it_saw(counted: Counted) -> None:
    snapshot = a_snapshot(
        nodes=[a_node("n1"), a_node("n2", POWERED_DOWN), a_node("n3")],
        instances=[an_instance("i-1"), an_instance("i-2", "terminated"), an_instance("i-9", token="lost")],
        launches=[a_launch(a_claim(N1, ClaimState.READY, "i-1"))],
    )
    counted.loop.tick_done(snapshot, NOTHING_TO_DO, 0.3)
    assert counted.value("nodes", state="idle") == 2
    assert counted.value("nodes", state="powered-down") == 1
    assert counted.value("instances", state="running") == 2
    assert counted.value("claims", state="READY") == 1
    assert counted.value("instances_unclaimed") == 1
    assert counted.value("ticks_total", outcome="done") == 1
    assert counted.value("tick_duration_seconds_sum") == 0.3
    assert counted.value("last_successful_tick_timestamp_seconds") == NOW


def test_an_instance_whose_claim_does_not_name_it_yet_is_claimed_by_its_token(counted: Counted) -> None:
    snapshot = a_snapshot(instances=[an_instance("i-1")], launches=[a_launch(a_claim(N1, ClaimState.REQUESTED))])
    counted.loop.tick_done(snapshot, NOTHING_TO_DO, 0.1)
    assert counted.value("instances_unclaimed") == 0


def test_a_tick_that_failed_leaves_the_time_of_the_last_good_one(counted: Counted) -> None:
    counted.loop.tick_done(a_snapshot(), NOTHING_TO_DO, 0.1)
    counted.loop.tick_failed(TransientError("the table is away"), 0.2)
    counted.loop.tick_failed(IncompleteObservationError("slurmctld is away"), 0.2)
    assert counted.value("ticks_total", outcome="failed") == 1
    assert counted.value("ticks_total", outcome="not-observed") == 1
    assert counted.value("last_successful_tick_timestamp_seconds") == NOW


def test_an_action_is_counted_with_its_outcome(counted: Counted) -> None:
    counted.loop.action_applied(PowerDownNodes((NodeName("n1"),), Reason.LAUNCH_FAILED), "failed")
    assert counted.value("actions_total", action="power-down-nodes", reason="launch-failed", outcome="failed") == 1


def test_a_fleet_reply_counts_instances_and_errors(counted: Counted) -> None:
    result = LaunchResult(
        instances=(LaunchedInstance(InstanceId("i-1"), AN_OFFERING), LaunchedInstance(InstanceId("i-2"), AN_OFFERING)),
        errors=(LaunchError(A_SPOT_OFFERING, "InsufficientInstanceCapacity", kind=FailureKind.CAPACITY),),
    )
    counted.loop.launch_done(a_launch(), result, 1.5)
    assert counted.value("instances_launched_total", queue="q1", market="on-demand") == 2
    assert counted.value("launch_errors_total", kind="capacity", market="spot") == 1


def test_readiness_is_counted_once_from_demand_to_slurmd(counted: Counted) -> None:
    ready, still_booting = a_claim(N1, ClaimState.READY, "i-1"), a_claim(N2, ClaimState.LAUNCHED, "i-2")
    before = a_launch(a_claim(N1, ClaimState.LAUNCHED, "i-1"), still_booting, age_s=40)
    after = a_launch(ready, still_booting, age_s=40)
    counted.loop.tick_done(a_snapshot(launches=[before]), Plan((RecordLaunch(after),), Memory(), 0), 0.1)
    later = a_launch(ready, a_claim(N2, ClaimState.LOST, "i-2"), age_s=40)
    counted.loop.tick_done(a_snapshot(launches=[after]), Plan((RecordLaunch(later),), Memory(), 0), 0.1)
    assert counted.value("node_ready_seconds_count", market="on-demand") == 1
    assert counted.value("node_ready_seconds_sum", market="on-demand") == 40


def test_an_instance_ends_once(counted: Counted) -> None:
    for state in ("running", "shutting-down", "terminated"):
        counted.loop.tick_done(a_snapshot(instances=[an_instance("i-1", state, is_spot=True)]), NOTHING_TO_DO, 0.1)
    assert counted.value("instances_ended_total", queue="q1", market="spot") == 1


def test_an_instance_that_ended_before_the_daemon_came_is_not_counted(counted: Counted) -> None:
    counted.loop.tick_done(a_snapshot(instances=[an_instance("i-1", "terminated")]), NOTHING_TO_DO, 0.1)
    assert counted.value("instances_ended_total", queue="q1", market="on-demand") is None


def test_an_instance_that_reads_leave_out_for_a_while_has_not_ended(counted: Counted) -> None:
    counted.loop.tick_done(a_snapshot(instances=[an_instance("i-1")]), NOTHING_TO_DO, 0.1)
    counted.loop.tick_done(a_snapshot(now=NOW + 60), NOTHING_TO_DO, 0.1)
    assert counted.value("instances_ended_total", queue="q1", market="on-demand") is None
    counted.loop.tick_done(a_snapshot(now=NOW + UNSEEN_ENDED_S + 1), NOTHING_TO_DO, 0.1)
    assert counted.value("instances_ended_total", queue="q1", market="on-demand") == 1


def test_bans_and_probes_are_counted_by_what_was_refused(counted: Counted) -> None:
    spot = BanScope(FailureKind.CAPACITY, Market.SPOT, "c5.large", "us-east-1a")
    full = BanScope(FailureKind.SUBNET_ADDRESSES, place="subnet-1")
    bans = (Ban(spot, NOW - 10, NOW + 35), Ban(full, NOW - 60, NOW - 15))
    probe = StartLaunch(a_launch(a_claim(N1, ClaimState.REQUESTED)), Reason.PROBE)
    known = OfferingMemory(bans, held=(NodeName("q1-dy-c5-2"),))
    counted.loop.tick_done(a_snapshot(), Plan((probe,), Memory(), 1, known), 0.1)
    assert counted.value("offering_bans", kind="capacity", market="spot", state="active") == 1
    assert counted.value("offering_bans", kind="subnet-addresses", market="any", state="ended") == 1
    assert counted.value("offering_probes_total", market="on-demand") == 1
    assert counted.value("nodes_held") == 1
    counted.loop.tick_done(a_snapshot(), NOTHING_TO_DO, 0.1)
    assert counted.value("offering_bans", kind="capacity", market="spot", state="active") == 0


def test_launches_and_falls_are_counted_by_tier(counted: Counted) -> None:
    launch = a_launch(a_claim(N1, ClaimState.REQUESTED))
    lower = replace(launch, request=replace(launch.request, tier=1))
    fall = Fall(KEY.queue, KEY.name, 1, 1, NOW, NOW + 600)
    over = replace(fall, tier=2, until=NOW)
    starts = (StartLaunch(lower, Reason.DEMAND), StartLaunch(launch, Reason.REPLY_LOST))
    counted.loop.tick_done(a_snapshot(), Plan(starts, Memory(), 1, OfferingMemory(falls=(fall, over))), 0.1)
    assert counted.value("launches_by_tier_total", queue="q1", tier="1") == 1
    assert counted.value("launches_by_tier_total", queue="q1", tier="0") is None
    assert counted.value("compute_resources_fallen", queue="q1", tier="1") == 1
    assert counted.value("compute_resources_fallen", queue="q1", tier="2") is None


def test_warm_nodes_are_shown_by_queue_and_a_compute_resource_with_more_hides_no_other(counted: Counted) -> None:
    other = ComputeResourceKey(KEY.queue, ComputeResourceName("big"))
    office = ScheduleName("office")
    warm = (
        WarmStatus(KEY, office, NOW, wanted=2, up=5, kept=(NodeName("q1-dy-c5-1"),), cost_per_hour=0.5),
        WarmStatus(other, office, NOW, wanted=3, up=1, cost_per_hour=0.25),
    )
    counted.loop.tick_done(a_snapshot(), Plan((), Memory(), 0, warm=warm), 0.1)
    assert counted.value("warm_nodes_wanted", queue="q1") == 5
    assert counted.value("warm_nodes", queue="q1") == 3
    assert counted.value("warm_nodes_kept", queue="q1") == 1
    assert counted.value("warm_nodes_kept_dollars_per_hour", queue="q1") == 0.75
    counted.loop.tick_done(a_snapshot(), NOTHING_TO_DO, 0.1)
    assert counted.value("warm_nodes_wanted", queue="q1") is None


def test_nodes_that_are_left_alone_are_counted_by_why(counted: Counted) -> None:
    alone = {NodeName("q1-dy-c5-1"): LeftAlone.MARKED, NodeName("q1-dy-c5-2"): LeftAlone.MARKED}
    counted.loop.tick_done(a_snapshot(), Plan((), Memory(), 0, left_alone=alone), 0.1)
    assert counted.value("nodes_left_alone", why="marked") == 2
    assert counted.value("nodes_left_alone", why="unclear") == 0
    counted.loop.tick_done(a_snapshot(), NOTHING_TO_DO, 0.1)
    assert counted.value("nodes_left_alone", why="marked") == 0
