"""Given a snapshot and what operators asked for, what is stopped, ended and started."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clustermgtd.decide.plan import decide
from clustermgtd.model.action import (
    Action,
    CancelJobs,
    ClosePartitions,
    OpenPartitions,
    PowerDownNodes,
    PowerUpNodes,
    Reason,
    RecordFleet,
    SetNodesDown,
    StartLaunch,
    WithdrawLaunch,
)
from clustermgtd.model.claim import ClaimState
from clustermgtd.model.fleet_status import CLUSTER, FleetRecord, FleetStatus, ScopeStatus, StopOptions
from clustermgtd.model.ids import QueueName
from clustermgtd.model.partition import PartitionState
from clustermgtd.model.snapshot import Memory, Plan, Snapshot
from tests.builders import (
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

Q1 = QueueName("q1")
S = FleetStatus
ONE, TWO, THREE = "q1-dy-c5-1", "q1-dy-c5-2", "q1-dy-c5-3"


def asked(
    snapshot: Snapshot,
    status: FleetStatus,
    partition: str = "UP",
    *,
    closed: bool = False,
    queue: QueueName = CLUSTER,
    options: StopOptions = StopOptions(),  # noqa: B008
) -> Snapshot:
    """The snapshot in which an operator, and the daemon before, came so far."""
    record = FleetRecord((ScopeStatus(queue, status, NOW - 60, options),), (Q1,) if closed else (), version=3)
    return replace(snapshot, fleet=record, partitions={Q1: PartitionState(partition)})


def of(plan: Plan, *kinds: type[Action]) -> list[Action]:
    return [action for action in plan.actions if isinstance(action, kinds)]


def status_after(plan: Plan, queue: QueueName = CLUSTER) -> FleetStatus:
    return plan.fleet.scope(queue).status


def test_a_stop_closes_the_partition_after_it_was_recorded() -> None:
    plan = decide(asked(a_snapshot(nodes=[a_node(ONE, POWERED_DOWN)]), S.STOP_REQUESTED), a_policy())
    record, close = plan.actions
    assert isinstance(record, RecordFleet)
    assert record.record.closed == (Q1,)
    assert record.record.scope().status is S.STOPPING
    assert close == ClosePartitions((Q1,))


@pytest.mark.parametrize("state", ["INACTIVE", "DOWN", "DRAIN"])
def test_a_partition_that_somebody_else_closed_is_neither_closed_nor_opened(state: str) -> None:
    snapshot = a_snapshot(nodes=[a_node(ONE, POWERED_DOWN)])
    stopping = decide(asked(snapshot, S.STOP_REQUESTED, state), a_policy())
    assert stopping.fleet.closed == ()
    assert of(stopping, ClosePartitions) == []
    starting = decide(asked(snapshot, S.START_REQUESTED, state), a_policy())
    assert of(starting, OpenPartitions) == []
    assert status_after(starting) is S.STARTING


@pytest.mark.parametrize("partition", ["INACTIVE", "DOWN", "DRAIN"])
def test_a_partition_that_somebody_closed_costs_no_instance_whether_a_job_runs_there_or_not(partition: str) -> None:
    """Neither while the cluster runs, nor while it is being started; Slurm's own power saving ends idle nodes."""
    busy, idle = dynamic(2)
    snapshot = a_snapshot(
        nodes=[a_node(busy, RUNNING), a_node(idle)],
        jobs=[a_job(1, [busy], "RUNNING")],
        instances=[an_instance("i-1"), an_instance("i-2")],
        launches=[a_launch(a_claim(busy, ClaimState.READY, "i-1"), a_claim(idle, ClaimState.READY, "i-2"))],
    )
    closed = {Q1: PartitionState(partition)}
    assert decide(replace(snapshot, partitions=closed), a_policy()).actions == ()
    starting = decide(asked(snapshot, S.START_REQUESTED, partition), a_policy())
    assert [type(action) for action in starting.actions] == [RecordFleet]


def test_a_partition_that_a_reconfigure_opened_is_closed_again() -> None:
    plan = decide(asked(a_snapshot(nodes=[a_node(ONE, POWERED_DOWN)]), S.STOPPED, closed=True), a_policy())
    assert plan.actions == (ClosePartitions((Q1,)),)


def test_while_it_is_stopped_nothing_is_launched_and_no_static_node_comes_up() -> None:
    static = "q1-st-c5-1"
    snapshot = a_snapshot(nodes=[a_node(ONE, POWERING_UP), a_node(static, POWERED_DOWN)], jobs=[a_job(1, dynamic(1))])
    policy = a_policy(static=(static,))
    assert len(of(decide(snapshot, policy), StartLaunch, PowerUpNodes)) == 2
    for status in (S.STOP_REQUESTED, S.STOPPING, S.STOPPED):
        plan = decide(asked(snapshot, status, "INACTIVE", closed=True), policy)
        assert of(plan, StartLaunch, PowerUpNodes) == []


def test_after_a_start_static_nodes_come_up() -> None:
    static = "q1-st-c5-1"
    snapshot = a_snapshot(nodes=[a_node(static, POWERED_DOWN)])
    plan = decide(asked(snapshot, S.START_REQUESTED, "INACTIVE", closed=True), a_policy([], static=(static,)))
    assert of(plan, OpenPartitions) == [OpenPartitions((Q1,))]
    assert of(plan, PowerUpNodes) == [PowerUpNodes((a_node(static).name,), Reason.STATIC)]


def test_a_node_that_powers_up_at_a_stop_is_set_down_whatever_the_options() -> None:
    """A POWER_DOWN alone would wait for ResumeTimeout."""
    snapshot = a_snapshot(nodes=[a_node(ONE, POWERING_UP)], jobs=[a_job(1, dynamic(1))])
    for options in (StopOptions(), StopOptions(when_idle=True), StopOptions(kills_jobs=True)):
        plan = decide(asked(snapshot, S.STOPPING, "INACTIVE", closed=True, options=options), a_policy())
        assert of(plan, SetNodesDown, CancelJobs) == [SetNodesDown(tuple(dynamic(1)), Reason.FLEET_STOP)]


def busy() -> Snapshot:
    """A running job on one node, an idle node, and a node on its way out."""
    nodes = [a_node(ONE, RUNNING), a_node(TWO), a_node(THREE, POWERING_DOWN)]
    return a_snapshot(nodes=nodes, jobs=[a_job(7, dynamic(1), "RUNNING")])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (StopOptions(), [SetNodesDown(tuple(dynamic(1)), Reason.FLEET_STOP)]),
        (StopOptions(when_idle=True), []),
        (StopOptions(kills_jobs=True), [CancelJobs((a_job(7, []).id,), Reason.FLEET_STOP)]),
    ],
)
def test_running_jobs_are_requeued_or_waited_for_or_cancelled_and_idle_nodes_go(
    options: StopOptions, expected: list[Action]
) -> None:
    plan = decide(asked(busy(), S.STOPPING, "INACTIVE", closed=True, options=options), a_policy())
    idle = PowerDownNodes((a_node(TWO).name,), Reason.FLEET_STOP)
    assert of(plan, SetNodesDown, CancelJobs, PowerDownNodes) == [*expected, idle]
    assert status_after(plan) is S.STOPPING


def test_a_job_that_waits_for_other_nodes_has_not_begun() -> None:
    snapshot = a_snapshot(nodes=[a_node(ONE, RUNNING), a_node(TWO, POWERING_UP)], jobs=[a_job(1, dynamic(2))])
    options = StopOptions(when_idle=True)
    plan = decide(asked(snapshot, S.STOPPING, "INACTIVE", closed=True, options=options), a_policy())
    assert of(plan, SetNodesDown) == [SetNodesDown(tuple(dynamic(2)), Reason.FLEET_STOP)]


def test_a_shared_node_is_waited_for_while_one_of_its_jobs_runs() -> None:
    jobs = [a_job(1, dynamic(1)), a_job(2, dynamic(1), "RUNNING")]
    snapshot = a_snapshot(nodes=[a_node(ONE, "MIXED+CLOUD")], jobs=jobs)
    options = StopOptions(when_idle=True)
    plan = decide(asked(snapshot, S.STOPPING, "INACTIVE", closed=True, options=options), a_policy())
    assert of(plan, SetNodesDown, PowerDownNodes) == []


def test_a_node_that_somebody_marked_is_left_as_it_is_and_does_not_keep_the_rest_from_being_stopped() -> None:
    nodes = [a_node(ONE, "IDLE+CLOUD+DRAIN", reason="bad dimm"), a_node(TWO, POWERED_DOWN)]
    launch = a_launch(a_claim(ONE, ClaimState.DRAINING, "i-1"))
    snapshot = a_snapshot(nodes=nodes, launches=[launch], instances=[an_instance("i-1")])
    plan = decide(asked(snapshot, S.STOPPING, "INACTIVE", closed=True), a_policy())
    assert of(plan, SetNodesDown, PowerDownNodes) == []
    assert status_after(plan) is S.STOPPED


@pytest.mark.parametrize("state", [ClaimState.REQUESTED, ClaimState.READY, ClaimState.TERMINATING])
def test_it_is_not_stopped_before_the_last_instance_is_gone(state: ClaimState) -> None:
    instance = "" if state is ClaimState.REQUESTED else "i-1"
    snapshot = a_snapshot(
        nodes=[a_node(ONE, POWERED_DOWN)],
        launches=[a_launch(a_claim(ONE, state, instance))],
        instances=[an_instance("i-1")] if instance else [],
    )
    plan = decide(asked(snapshot, S.STOPPING, "INACTIVE", closed=True), a_policy())
    assert status_after(plan) is S.STOPPING


def test_what_is_found_running_after_all_makes_it_stopping_again() -> None:
    snapshot = asked(a_snapshot(nodes=[a_node(ONE)]), S.STOPPED, "INACTIVE", closed=True)
    plan = decide(snapshot, a_policy())
    assert status_after(plan) is S.STOPPING
    assert of(plan, PowerDownNodes) == [PowerDownNodes(tuple(dynamic(1)), Reason.FLEET_STOP)]


def test_a_call_that_waits_for_its_turn_is_withdrawn_and_one_without_a_reply_is_not_made_again() -> None:
    nodes = [a_node(ONE, POWERING_UP)]
    launch = a_launch(a_claim(ONE, ClaimState.REQUESTED))
    waiting = a_snapshot(nodes=nodes, launches=[launch], in_flight=("t-1",), waiting=("t-1",))
    plan = decide(asked(waiting, S.STOP_REQUESTED), a_policy())
    assert of(plan, WithdrawLaunch) == [WithdrawLaunch(launch.token, Reason.FLEET_STOP)]
    lost = a_snapshot(nodes=nodes, launches=[launch])
    assert len(of(decide(lost, a_policy()), StartLaunch)) == 1
    assert of(decide(asked(lost, S.STOP_REQUESTED), a_policy()), StartLaunch) == []


def test_it_is_started_once_slurm_shows_the_partition_open() -> None:
    snapshot = a_snapshot(nodes=[a_node(ONE, POWERED_DOWN)])
    assert status_after(decide(asked(snapshot, S.STARTING, "INACTIVE", closed=True), a_policy())) is S.STARTING
    done = decide(asked(snapshot, S.STARTING, closed=True), a_policy())
    assert status_after(done) is S.RUNNING
    assert done.fleet.closed == ()


def test_a_queue_stays_stopped_when_the_cluster_is_started() -> None:
    snapshot = asked(a_snapshot(nodes=[a_node(ONE, POWERED_DOWN)]), S.STARTING, "INACTIVE", closed=True)
    record = snapshot.fleet.with_scope(ScopeStatus(Q1, S.STOPPED, NOW))
    plan = decide(replace(snapshot, fleet=record), a_policy())
    assert of(plan, OpenPartitions) == []
    assert (status_after(plan), status_after(plan, Q1)) == (S.RUNNING, S.STOPPED)


def test_a_static_node_that_was_powered_up_just_before_a_stop_does_not_wait_after_the_start() -> None:
    static = "q1-st-c5-1"
    policy = a_policy([], static=(static,))
    snapshot = a_snapshot(
        nodes=[a_node(static, POWERED_DOWN)], memory=Memory(power_up_asked_at={a_node(static).name: NOW - 1})
    )
    stopped = decide(asked(snapshot, S.STOPPED, "INACTIVE", closed=True), policy)
    started = decide(
        asked(replace(snapshot, memory=stopped.memory), S.START_REQUESTED, "INACTIVE", closed=True), policy
    )
    assert len(of(started, PowerUpNodes)) == 1
