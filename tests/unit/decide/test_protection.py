"""Given boots that fail one after another, when launches stop, who tries again, and what ends it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clustermgtd.decide.plan import decide
from clustermgtd.model.action import (
    HoldNodes,
    PowerUpNodes,
    Reason,
    ReleaseNodes,
    SetNodesDown,
    StartLaunch,
    TerminateInstances,
    WithdrawLaunch,
)
from clustermgtd.model.claim import ClaimState
from clustermgtd.model.fleet_status import CLUSTER, FleetRecord, FleetStatus, ScopeStatus
from clustermgtd.model.ids import ComputeResourceName, NodeName, QueueName
from clustermgtd.model.instance import Instance
from clustermgtd.model.node import PROTECTED_MARK, REASON_PREFIX
from clustermgtd.model.partition import PartitionState
from clustermgtd.model.policy import ComputeResourceKey, PlacedNode, Policy
from clustermgtd.model.safeguards import BootRecord, ProtectionPolicy, Safeguards
from clustermgtd.model.snapshot import Plan, Snapshot
from tests.builders import (
    KEY,
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
    an_instance,
    dynamic,
)

ONE, TWO = dynamic(2)
RESUME_TIMEOUT = "DOWN+CLOUD+POWERED_DOWN"
S = FleetStatus


def policy(failures_max: int = 3, **facts: object) -> Policy:
    return a_policy(protection=ProtectionPolicy(failures_max, (100.0, 200.0)), **facts)


def a_record(failures: int = 3, *, since: float = NOW - 50, until: float = NOW + 50, level: int = 0) -> BootRecord:
    return BootRecord(KEY.queue, KEY.name, failures, since=since, until=until, level=level, cause="ResumeTimeout")


def with_record(snapshot: Snapshot, record: BootRecord) -> Snapshot:
    return replace(snapshot, safeguards=Safeguards(boots=(record,), version=1))


def failed(count: int = 1, *, reason: str = "ResumeTimeout reached") -> Snapshot:
    """Nodes that Slurm gave up on while their instances still boot."""
    names = dynamic(count)
    return a_snapshot(
        nodes=[a_node(name, RESUME_TIMEOUT, reason=reason) for name in names],
        instances=[an_instance(f"i-{name}") for name in names],
        launches=[a_launch(*(a_claim(name, ClaimState.LAUNCHED, f"i-{name}") for name in names))],
    )


def died(state_reason: str) -> Snapshot:
    """An instance that ended while its node powers up."""
    instance: Instance = replace(an_instance("i-1", "terminated"), state_reason=state_reason)
    launch = a_launch(a_claim(ONE, ClaimState.LAUNCHED, "i-1"))
    return a_snapshot(nodes=[a_node(ONE, POWERING_UP)], instances=[instance], launches=[launch])


def wanting(*names: str) -> Snapshot:
    """Nodes that power up without a claim."""
    return a_snapshot(nodes=[a_node(name, POWERING_UP) for name in names], jobs=[a_job(1, [ONE])])


def boots(plan: Plan) -> tuple[BootRecord, ...]:
    return plan.safeguards.boots


def starts(plan: Plan) -> list[StartLaunch]:
    return [action for action in plan.actions if isinstance(action, StartLaunch)]


def test_failures_are_counted_and_at_the_limit_the_compute_resource_is_protected() -> None:
    (record,) = boots(decide(failed(2), policy()))
    assert (record.failures, record.is_protected) == (2, False)
    (record,) = boots(decide(with_record(failed(1), record), policy()))
    assert (record.failures, record.since, record.until) == (3, NOW, NOW + 100)
    assert "ResumeTimeout" in record.cause


@pytest.mark.parametrize("state", [RESUME_TIMEOUT, f"{RESUME_TIMEOUT}+NOT_RESPONDING"])
def test_every_node_that_missed_resume_timeout_counts_whichever_flags_slurm_shows(state: str) -> None:
    names = dynamic(100)
    snapshot = a_snapshot(
        nodes=[a_node(name, state, reason="ResumeTimeout reached") for name in names],
        instances=[an_instance(f"i-{name}") for name in names],
        launches=[a_launch(*(a_claim(name, ClaimState.LAUNCHED, f"i-{name}") for name in names))],
    )
    (record,) = boots(decide(snapshot, policy(nodes=names)))
    assert (record.failures, record.is_protected) == (100, True)


def test_a_job_that_runs_hides_no_failure_neither_of_its_own_queue_nor_of_another() -> None:
    """The other compute resource has jobs nowhere; both are protected in the same decision, and the job goes on."""
    other = ComputeResourceKey(QueueName("q2"), ComputeResourceName("m5"))
    elsewhere = [NodeName(f"q2-dy-m5-{n}") for n in (1, 2, 3)]
    rules = policy()
    rules = replace(
        rules,
        compute_resources={**rules.compute_resources, other: replace(rules.compute_resources[KEY], key=other)},
        nodes={**rules.nodes, **dict.fromkeys(elsewhere, PlacedNode(other, is_static=False))},
    )
    busy, *failing = dynamic(4)
    names = [*failing, *elsewhere]
    theirs = a_launch(*(a_claim(name, ClaimState.LAUNCHED, f"i-{name}") for name in elsewhere), token="t-2")
    snapshot = a_snapshot(
        nodes=[a_node(busy, RUNNING), *(a_node(n, RESUME_TIMEOUT, reason="ResumeTimeout reached") for n in names)],
        jobs=[a_job(1, [busy], "RUNNING")],
        instances=[an_instance(f"i-{name}") for name in (busy, *names)],
        launches=[
            a_launch(
                a_claim(busy, ClaimState.READY, f"i-{busy}"),
                *(a_claim(name, ClaimState.LAUNCHED, f"i-{name}") for name in failing),
            ),
            replace(theirs, request=replace(theirs.request, queue=other.queue, compute_resource=other.name)),
        ],
    )
    plan = decide(snapshot, rules)
    assert [(record.queue, record.is_protected) for record in boots(plan)] == [("q1", True), ("q2", True)]
    assert all(busy not in getattr(action, "nodes", ()) for action in plan.actions)
    ended = {i for action in plan.actions if isinstance(action, TerminateInstances) for i in action.instances}
    assert ended == {f"i-{name}" for name in names}


@pytest.mark.parametrize(
    "code", ["Client.InstanceInitiatedShutdown", "Client.InternalError", "Server.InternalError", ""]
)
def test_an_instance_that_ends_by_itself_before_it_is_a_node_counts(code: str) -> None:
    assert boots(decide(died(code), policy()))[0].failures == 1


@pytest.mark.parametrize("code", ["Server.SpotInstanceTermination", "Client.UserInitiatedShutdown"])
def test_one_that_was_taken_back_or_ended_by_hand_does_not(code: str) -> None:
    assert boots(decide(died(code), policy())) == ()


@pytest.mark.parametrize("reason", ["clustermgtd: fleet-stop", "broken fan"])
def test_a_boot_that_we_or_an_operator_broke_off_does_not(reason: str) -> None:
    assert boots(decide(failed(reason=reason), policy())) == ()


def test_a_boot_that_took_too_long_counts_though_we_ended_it() -> None:
    node = a_node(ONE, "IDLE+CLOUD+POWERING_DOWN", reason=f"{REASON_PREFIX} {Reason.BOOT_TIMEOUT} agent-started")
    launch = a_launch(a_claim(ONE, ClaimState.LAUNCHED, "i-1"))
    plan = decide(a_snapshot(nodes=[node], instances=[an_instance("i-1")], launches=[launch]), policy())
    assert boots(plan)[0].failures == 1


def test_a_node_that_comes_up_ends_it_and_the_counting() -> None:
    snapshot = a_snapshot(
        nodes=[a_node(ONE)],
        instances=[an_instance("i-1")],
        launches=[a_launch(a_claim(ONE, ClaimState.LAUNCHED, "i-1"))],
    )
    for record in (a_record(2, since=0.0, until=0.0), a_record()):
        assert boots(decide(with_record(snapshot, record), policy())) == ()


def test_while_it_is_protected_nothing_is_launched_and_nodes_are_given_back_and_kept_out_of_scheduling() -> None:
    idle = [a_node(name, POWERED_DOWN) for name in dynamic(10)[2:]]
    snapshot = wanting(ONE, TWO)
    snapshot = replace(snapshot, nodes={**snapshot.nodes, **{node.name: node for node in idle}})
    plan = decide(with_record(snapshot, a_record()), policy())
    assert starts(plan) == []
    down = [action for action in plan.actions if isinstance(action, SetNodesDown)]
    assert {node for action in down for node in action.nodes} == {ONE, TWO}
    assert {action.reason for action in down} == {Reason.PROTECTED}
    assert "q1/c5 start and do not become nodes" in down[0].detail
    (hold,) = [action for action in plan.actions if isinstance(action, HoldNodes)]
    assert len(hold.nodes) == 8
    assert f"{REASON_PREFIX} {hold.reason}" == PROTECTED_MARK


def test_static_nodes_are_not_powered_up_either() -> None:
    snapshot = a_snapshot(nodes=[a_node("q1-st-c5-1", POWERED_DOWN)])
    rules = policy(nodes=[], static=("q1-st-c5-1",))
    assert [a for a in decide(snapshot, rules).actions if isinstance(a, PowerUpNodes)]
    plan = decide(with_record(snapshot, a_record()), rules)
    assert [a for a in plan.actions if isinstance(a, PowerUpNodes)] == []


def test_a_call_that_waits_for_its_turn_is_withdrawn() -> None:
    launch = a_launch(a_claim(ONE, ClaimState.REQUESTED))
    snapshot = a_snapshot(nodes=[a_node(ONE, POWERING_UP)], launches=[launch], in_flight=("t-1",), waiting=("t-1",))
    plan = decide(with_record(snapshot, a_record()), policy())
    assert WithdrawLaunch(launch.token, Reason.PROTECTED) in plan.actions


def test_after_the_back_off_one_node_tries_and_nobody_else_meanwhile() -> None:
    ended = a_record(until=NOW - 1)
    (start,) = starts(
        decide(with_record(a_snapshot(nodes=[a_node(n, POWERING_UP) for n in dynamic(4)]), ended), policy())
    )
    assert (start.reason, start.launch.request.count) == (Reason.PROBE, 1)
    for state in (ClaimState.REQUESTED, ClaimState.LAUNCHED):
        instances = [an_instance("i-1")] if state is ClaimState.LAUNCHED else []
        trying = a_snapshot(
            nodes=[a_node(n, POWERING_UP) for n in dynamic(4)],
            launches=[a_launch(a_claim(ONE, state, "i-1" if instances else ""), last_attempt_s_ago=1.0)],
            instances=instances,
        )
        plan = decide(with_record(trying, ended), policy())
        assert starts(plan) == []
        assert [a for a in plan.actions if isinstance(a, SetNodesDown)] == []


def test_nodes_are_released_for_the_try() -> None:
    held = a_node(ONE, f"{POWERED_DOWN}+DRAIN", reason=f"{PROTECTED_MARK} because")
    plan = decide(with_record(a_snapshot(nodes=[held]), a_record(until=NOW - 1)), policy())
    assert [a.nodes for a in plan.actions if isinstance(a, ReleaseNodes)] == [(ONE,)]
    kept = decide(with_record(a_snapshot(nodes=[held]), a_record()), policy())
    assert [a for a in kept.actions if isinstance(a, ReleaseNodes)] == []


def test_a_try_that_fails_backs_off_for_longer_and_late_failures_do_not() -> None:
    (record,) = boots(decide(with_record(failed(2), a_record(until=NOW - 1)), policy()))
    assert (record.level, record.until, record.failures) == (1, NOW + 200, 5)
    (record,) = boots(decide(with_record(failed(2), a_record()), policy()))
    assert (record.level, record.until) == (0, NOW + 50)


@pytest.mark.parametrize("scope", [CLUSTER, KEY.queue])
def test_an_operator_s_start_ends_it(scope: str) -> None:
    asked = FleetRecord((ScopeStatus(type(KEY.queue)(scope), S.START_REQUESTED, NOW - 1),))
    snapshot = replace(wanting(ONE), fleet=asked, partitions={KEY.queue: PartitionState.UP})
    plan = decide(with_record(snapshot, a_record()), policy())
    assert boots(plan) == ()
    assert [start.reason for start in starts(plan)] == [Reason.DEMAND]


def test_another_configuration_ends_it() -> None:
    changed = replace(a_record(), configuration="as it was before")
    assert boots(decide(with_record(wanting(ONE), changed), policy())) == ()


def test_the_queue_and_the_cluster_are_protected_as_long_as_it_lasts() -> None:
    plan = decide(with_record(a_snapshot(nodes=[a_node(ONE, POWERED_DOWN)]), a_record()), policy())
    assert (plan.fleet.scope(KEY.queue).status, plan.fleet.scope().status) == (S.PROTECTED, S.PROTECTED)
    over = replace(a_snapshot(nodes=[a_node(ONE, POWERED_DOWN)]), fleet=plan.fleet)
    again = decide(over, policy())
    assert (again.fleet.scope(KEY.queue).status, again.fleet.scope().status) == (S.RUNNING, S.RUNNING)


def test_zero_never_protects() -> None:
    assert boots(decide(failed(5), policy(0))) == ()
    assert len(starts(decide(with_record(wanting(ONE), a_record()), policy(0)))) == 1
