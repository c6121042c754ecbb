"""A call's reply was lost, and its replay is refused for good: what the first call gave is found all the same."""

from __future__ import annotations

from dataclasses import replace

from clustermgtd.decide.outcome import with_failure, with_result
from clustermgtd.decide.plan import decide
from clustermgtd.model.action import Action, Reason, RecordLaunch, SetNodesDown, StartLaunch, TerminateInstances
from clustermgtd.model.claim import ClaimState, Gang, Launch, LaunchError, LaunchResult
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import InstanceId, JobId, NodeName
from clustermgtd.model.instance import Instance
from clustermgtd.model.snapshot import Plan
from tests.builders import (
    NOW,
    POWERED_DOWN,
    POWERING_UP,
    a_claim,
    a_launch,
    a_node,
    a_policy,
    a_snapshot,
    an_instance,
    dynamic,
)

N1, N2 = dynamic(2)
GRACE_S = 120.0


def requested(*nodes: NodeName, attempts: int = 2, gang: bool = False, s_ago: float = 0.0) -> Launch:
    launch = a_launch(*(a_claim(node, ClaimState.REQUESTED) for node in nodes), last_attempt_s_ago=s_ago)
    return replace(launch, attempts=attempts, gangs=(Gang(JobId(7), nodes),) if gang else ())


def refused(*nodes: NodeName, gang: bool = False, s_ago: float) -> Launch:
    launch = requested(*nodes, gang=gang, s_ago=s_ago)
    return with_failure(launch, FailureKind.CONFIGURATION, "Denied", "(Code:Denied) no", NOW - s_ago)


def plan_for(launch: Launch, instances: tuple[Instance, ...] = (), state: str = POWERING_UP) -> Plan:
    nodes = [a_node(claim.node, state) for claim in launch.claims]
    snapshot = a_snapshot(nodes=nodes, launches=[launch], instances=list(instances))
    return decide(snapshot, a_policy(missing_grace_s=GRACE_S))


def of_kind(plan: Plan, kind: type[Action]) -> list[Action]:
    return [action for action in plan.actions if isinstance(action, kind)]


def states(plan: Plan) -> list[ClaimState]:
    (record,) = of_kind(plan, RecordLaunch)
    assert isinstance(record, RecordLaunch)
    return [claim.state for claim in record.launch.claims]


def test_a_first_call_that_is_refused_has_failed_at_once() -> None:
    launch = with_failure(requested(N1, attempts=1), FailureKind.CONFIGURATION, "Denied", "no", NOW)
    assert [claim.state for claim in launch.claims] == [ClaimState.LAUNCH_FAILED]
    assert not launch.is_refused


def test_a_refused_replay_leaves_the_fate_of_the_first_call_open() -> None:
    launch = with_failure(requested(N1), FailureKind.CONFIGURATION, "Denied", "no", NOW)
    assert [claim.state for claim in launch.claims] == [ClaimState.REQUESTED]
    assert launch.is_refused
    assert launch.outcome is not None
    assert [refusal.code for refusal in launch.outcome.refusals] == ["Denied"]


def test_a_replay_that_is_refused_for_want_of_capacity_does_so_too() -> None:
    launch = requested(N1)
    errors = (LaunchError(launch.request.offerings[0], "VcpuLimitExceeded", "no", FailureKind.QUOTA),)
    assert with_result(launch, LaunchResult((), errors, is_refusal=True), NOW).is_refused
    assert not with_result(launch, LaunchResult((), errors), NOW).is_refused, "the first call's own reply, repeated"


def test_it_is_not_called_again() -> None:
    plan = plan_for(refused(N1, s_ago=60.0))
    assert not of_kind(plan, StartLaunch)
    assert not of_kind(plan, RecordLaunch)


def test_what_the_lost_call_gave_is_adopted_when_it_shows() -> None:
    plan = plan_for(refused(N1, s_ago=60.0), (an_instance("i-1"),))
    assert states(plan) == [ClaimState.LAUNCHED]
    assert not of_kind(plan, TerminateInstances)


def test_a_node_fails_with_the_reason_of_the_refusal_when_nothing_has_shown() -> None:
    plan = plan_for(refused(N1, s_ago=GRACE_S))
    assert states(plan) == [ClaimState.LAUNCH_FAILED]
    assert of_kind(plan, SetNodesDown) == [SetNodesDown((N1,), Reason.LAUNCH_FAILED, "(Code:Denied) no")]
    assert not of_kind(plan, StartLaunch)


def test_a_job_that_takes_all_or_nothing_waits_for_the_last_instance() -> None:
    plan = plan_for(refused(N1, N2, gang=True, s_ago=60.0), (an_instance("i-1"),))
    assert not of_kind(plan, RecordLaunch)
    assert not of_kind(plan, TerminateInstances)


def test_and_its_instances_are_ended_if_that_does_not_come() -> None:
    plan = plan_for(refused(N1, N2, gang=True, s_ago=GRACE_S), (an_instance("i-1"),))
    assert sorted(states(plan)) == [ClaimState.LAUNCH_FAILED, ClaimState.TERMINATING]
    assert of_kind(plan, TerminateInstances) == [TerminateInstances((InstanceId("i-1"),), Reason.JOB_INCOMPLETE)]


def test_what_shows_after_slurm_gave_the_node_up_is_ended() -> None:
    plan = plan_for(refused(N1, s_ago=60.0), (an_instance("i-1"),), state=POWERED_DOWN)
    assert states(plan) == [ClaimState.TERMINATING]
    assert of_kind(plan, TerminateInstances) == [TerminateInstances((InstanceId("i-1"),), Reason.POWER_DOWN)]
