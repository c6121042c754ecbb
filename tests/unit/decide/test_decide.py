"""Given a snapshot, when decide, then these actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import pytest

from clustermgtd.decide.plan import decide
from clustermgtd.decide.requeue import overtaken
from clustermgtd.model.action import (
    Action,
    AssignAddresses,
    HoldNodes,
    LiftRequeueHold,
    PowerDownNodes,
    PowerUpNodes,
    Reason,
    RecordLaunch,
    RecordSafeguards,
    ReturnNodesToService,
    SetNodesDown,
    StartLaunch,
    TerminateInstances,
    WithdrawLaunch,
)
from clustermgtd.model.claim import ClaimState
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import InstanceId, InstanceType, JobId, LaunchToken, NodeName, SubnetId
from clustermgtd.model.offering import Offering
from clustermgtd.model.policy import ScalingStrategy
from clustermgtd.model.snapshot import Memory, Plan, Sighting
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

A = TypeVar("A")
N1, N2, N3 = dynamic(3)


def kinds(plan: Plan) -> list[str]:
    return [type(action).__name__ for action in plan.actions]


def only(plan: Plan, kind: type[A]) -> A:
    found = [action for action in plan.actions if isinstance(action, kind)]
    assert len(found) == 1, f"{len(found)} {kind.__name__} in {plan.actions}"
    return found[0]


def states(action: RecordLaunch | StartLaunch) -> dict[str, ClaimState]:
    return {claim.node: claim.state for claim in action.launch.claims}


class TestDemand:
    def test_a_node_that_powers_up_without_a_claim_gets_one(self) -> None:
        plan = decide(a_snapshot(nodes=[a_node(N1, POWERING_UP)]), a_policy())
        launch = only(plan, StartLaunch)
        assert states(launch) == {N1: ClaimState.REQUESTED}
        assert launch.launch.token == "test-1-0"
        assert plan.next_launch == 1

    def test_a_node_that_is_not_managed_is_nobody_s_business(self) -> None:
        plan = decide(a_snapshot(nodes=[a_node("onprem-1", POWERING_UP)]), a_policy())
        assert plan.actions == ()

    def test_a_powered_down_node_needs_nothing(self) -> None:
        assert decide(a_snapshot(nodes=[a_node(N1, POWERED_DOWN)]), a_policy()).actions == ()

    def test_a_node_whose_former_instance_is_not_seen_gone_has_to_wait(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.TERMINATING, "i-1"))
        memory = Memory(terminate_called_at={InstanceId("i-1"): NOW - 1})
        snapshot = a_snapshot(
            nodes=[a_node(N1, POWERING_UP)], launches=[launch], instances=[an_instance("i-1")], memory=memory
        )
        assert decide(snapshot, a_policy()).actions == ()

    def test_and_is_served_in_the_tick_that_sees_it_gone(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.TERMINATING, "i-1"))
        snapshot = a_snapshot(
            nodes=[a_node(N1, POWERING_UP)], launches=[launch], instances=[an_instance("i-1", "shutting-down")]
        )
        plan = decide(snapshot, a_policy())
        assert states(only(plan, RecordLaunch)) == {N1: ClaimState.TERMINATED}
        assert states(only(plan, StartLaunch)) == {N1: ClaimState.REQUESTED}

    def test_what_ec2_refused_before_slurm_let_go_of_the_node_is_no_answer_to_what_comes_next(self) -> None:
        claim = a_claim(N1, ClaimState.TERMINATING, "i-1", failure=FailureKind.QUOTA)
        memory = Memory(terminate_called_at={InstanceId("i-1"): NOW - 1})
        snapshot = a_snapshot(
            nodes=[a_node(N1, POWERED_DOWN)],
            launches=[a_launch(claim)],
            instances=[an_instance("i-1")],
            memory=memory,
        )
        plan = decide(snapshot, a_policy())
        launch = only(plan, RecordLaunch).launch
        again = replace(
            snapshot,
            nodes={N1: a_node(N1, POWERING_UP)},
            launches={launch.token: launch},
        )
        assert decide(again, a_policy()).actions == ()

    def test_one_job_s_nodes_share_an_all_or_nothing_launch(self) -> None:
        nodes = dynamic(3)
        snapshot = a_snapshot(nodes=[a_node(n, POWERING_UP) for n in nodes], jobs=[a_job(7, nodes)])
        request = only(decide(snapshot, a_policy(launch_batch_max=2)), StartLaunch).launch.request
        assert (request.count, request.minimum, request.jobs) == (3, 3, (JobId(7),))

    def test_best_effort_takes_what_can_be_had(self) -> None:
        nodes = dynamic(3)
        snapshot = a_snapshot(nodes=[a_node(n, POWERING_UP) for n in nodes], jobs=[a_job(7, nodes)])
        request = only(decide(snapshot, a_policy(scaling=ScalingStrategy.BEST_EFFORT)), StartLaunch).launch.request
        assert (request.count, request.minimum) == (3, 1)

    def test_all_or_nothing_needs_one_type_or_one_zone(self) -> None:
        offerings = tuple(
            Offering(InstanceType(t), SubnetId(s)) for t in ("c5.large", "m5.large") for s in ("subnet-1", "subnet-2")
        )
        nodes = dynamic(2)
        snapshot = a_snapshot(nodes=[a_node(n, POWERING_UP) for n in nodes], jobs=[a_job(7, nodes)])
        assert only(decide(snapshot, a_policy(offerings=offerings)), StartLaunch).launch.request.minimum == 1

    def test_single_node_jobs_are_pooled_and_cut_into_batches(self) -> None:
        nodes = dynamic(5)
        jobs = [a_job(n, [name]) for n, name in enumerate(nodes, start=1)]
        snapshot = a_snapshot(nodes=[a_node(n, POWERING_UP) for n in nodes], jobs=jobs)
        plan = decide(snapshot, a_policy(launch_batch_max=2))
        launches = [action.launch for action in plan.actions if isinstance(action, StartLaunch)]
        assert [len(launch.claims) for launch in launches] == [2, 2, 1]
        assert len({launch.token for launch in launches}) == 3

    def test_a_static_node_that_somebody_reboots_is_not_powered_up(self) -> None:
        node = a_node("q1-st-c5-1", f"{POWERED_DOWN}+REBOOT_ISSUED")
        assert decide(a_snapshot(nodes=[node]), a_policy(static=("q1-st-c5-1",))).actions == ()

    def test_a_static_node_that_is_powered_down_is_powered_up(self) -> None:
        plan = decide(a_snapshot(nodes=[a_node("q1-st-c5-1", POWERED_DOWN)]), a_policy(static=("q1-st-c5-1",)))
        assert plan.actions == (PowerUpNodes((NodeName("q1-st-c5-1"),), Reason.STATIC),)

    def test_but_not_against_an_operator_s_drain(self) -> None:
        node = a_node("q1-st-c5-1", "IDLE+CLOUD+DRAIN+POWERED_DOWN", reason="bad dimm")
        assert decide(a_snapshot(nodes=[node]), a_policy(static=("q1-st-c5-1",))).actions == ()

    def test_and_not_again_at_once(self) -> None:
        memory = Memory(power_up_asked_at={NodeName("q1-st-c5-1"): NOW - 5})
        snapshot = a_snapshot(nodes=[a_node("q1-st-c5-1", POWERED_DOWN)], memory=memory)
        assert decide(snapshot, a_policy(static=("q1-st-c5-1",))).actions == ()


class TestLostReplies:
    def test_instances_with_the_token_are_adopted_in_order(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.REQUESTED), a_claim(N2, ClaimState.REQUESTED))
        snapshot = a_snapshot(
            nodes=[a_node(N1, POWERING_UP), a_node(N2, POWERING_UP)],
            launches=[launch],
            instances=[an_instance("i-2"), an_instance("i-1")],
        )
        adopted = only(decide(snapshot, a_policy()), RecordLaunch).launch
        assert [(c.node, c.instance) for c in adopted.claims] == [(N1, "i-1"), (N2, "i-2")]

    def test_a_launch_of_unknown_outcome_is_called_again_under_its_token(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.REQUESTED))
        plan = decide(a_snapshot(nodes=[a_node(N1, POWERING_UP)], launches=[launch]), a_policy())
        assert plan.actions == (StartLaunch(launch, Reason.REPLY_LOST),)

    def test_but_not_while_the_call_is_being_made(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.REQUESTED))
        snapshot = a_snapshot(nodes=[a_node(N1, POWERING_UP)], launches=[launch], in_flight=("t-1",))
        assert decide(snapshot, a_policy()).actions == ()

    def test_nor_when_nobody_wants_the_node_any_more(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.REQUESTED))
        assert decide(a_snapshot(nodes=[a_node(N1, POWERED_DOWN)], launches=[launch]), a_policy()).actions == ()

    def test_an_unwanted_one_is_given_up_after_its_instances_would_have_been_seen(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.REQUESTED, age_s=700), last_attempt_s_ago=700)
        plan = decide(a_snapshot(nodes=[a_node(N1, POWERED_DOWN)], launches=[launch]), a_policy())
        assert states(only(plan, RecordLaunch)) == {N1: ClaimState.LAUNCH_FAILED}

    def test_its_age_is_that_of_its_newest_call(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.REQUESTED, age_s=700), last_attempt_s_ago=500)
        plan = decide(a_snapshot(nodes=[a_node(N1, POWERED_DOWN)], launches=[launch]), a_policy())
        assert plan.actions == ()


class TestLaunchesThatWait:
    def test_one_that_slurm_still_wants_goes_on_waiting(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.REQUESTED), a_claim(N2, ClaimState.REQUESTED))
        nodes = [a_node(N1, POWERING_UP), a_node(N2, POWERED_DOWN)]
        snapshot = a_snapshot(nodes=nodes, launches=[launch], in_flight=("t-1",), waiting=("t-1",))
        assert decide(snapshot, a_policy()).actions == ()

    def test_one_that_nobody_wants_any_more_is_withdrawn(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.REQUESTED))
        snapshot = a_snapshot(nodes=[a_node(N1, POWERED_DOWN)], launches=[launch], in_flight=("t-1",), waiting=("t-1",))
        assert decide(snapshot, a_policy()).actions == (WithdrawLaunch(LaunchToken("t-1"), Reason.NOT_WANTED),)

    def test_a_call_that_is_being_made_is_not_withdrawn(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.REQUESTED))
        snapshot = a_snapshot(nodes=[a_node(N1, POWERED_DOWN)], launches=[launch], in_flight=("t-1",))
        assert decide(snapshot, a_policy()).actions == ()

    def test_a_replay_whose_instances_are_all_shown_is_withdrawn_so_that_they_are_adopted(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.REQUESTED))
        snapshot = a_snapshot(
            nodes=[a_node(N1, POWERING_UP)],
            instances=[an_instance("i-1", token="t-1")],
            launches=[launch],
            in_flight=("t-1",),
            waiting=("t-1",),
        )
        assert decide(snapshot, a_policy()).actions == (WithdrawLaunch(LaunchToken("t-1"), Reason.REPLY_LOST),)

    def test_but_not_while_another_of_its_nodes_is_awaited_because_a_replay_launches_for_all(self) -> None:
        launch = a_launch(
            a_claim(N1, ClaimState.REQUESTED, age_s=700),
            a_claim(N2, ClaimState.REQUESTED, age_s=700),
            last_attempt_s_ago=700,
        )
        snapshot = a_snapshot(nodes=[a_node(N1, POWERED_DOWN), a_node(N2, POWERING_UP)], launches=[launch])
        assert decide(snapshot, a_policy()).actions == (StartLaunch(launch, Reason.REPLY_LOST),)


class TestReadLag:
    def test_an_instance_that_ec2_does_not_show_yet_is_not_lost(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.LAUNCHED, "i-1"))
        plan = decide(a_snapshot(nodes=[a_node(N1, POWERING_UP)], launches=[launch]), a_policy())
        assert plan.actions == ()
        assert plan.memory.missing_since == {"i-1": NOW}

    def test_after_the_grace_it_is(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.LAUNCHED, "i-1"))
        memory = Memory(missing_since={InstanceId("i-1"): NOW - 121})
        plan = decide(a_snapshot(nodes=[a_node(N1, POWERING_UP)], launches=[launch], memory=memory), a_policy())
        assert states(only(plan, RecordLaunch)) == {N1: ClaimState.LOST}

    def test_missing_fields_are_not_ill_health(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.READY, "i-1"))
        snapshot = a_snapshot(
            nodes=[a_node(N1, RUNNING)], launches=[launch], instances=[an_instance("i-1", "pending", address="")]
        )
        assert decide(snapshot, a_policy()).actions == ()


class TestScaleDown:
    @pytest.mark.parametrize("state", [POWERING_DOWN, POWERED_DOWN, "IDLE+CLOUD+POWERED_DOWN+NOT_RESPONDING"])
    def test_a_node_that_slurm_powers_down_loses_its_instance(self, state: str) -> None:
        launch = a_launch(a_claim(N1, ClaimState.READY, "i-1"))
        snapshot = a_snapshot(nodes=[a_node(N1, state)], launches=[launch], instances=[an_instance("i-1")])
        plan = decide(snapshot, a_policy())
        assert kinds(plan) == ["RecordLaunch", "TerminateInstances"]
        assert only(plan, TerminateInstances) == TerminateInstances((InstanceId("i-1"),), Reason.POWER_DOWN)

    def test_a_termination_is_asked_for_until_it_is_seen(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.TERMINATING, "i-1"))
        memory = Memory(terminate_called_at={InstanceId("i-1"): NOW - 21})
        snapshot = a_snapshot(
            nodes=[a_node(N1, POWERED_DOWN)], launches=[launch], instances=[an_instance("i-1")], memory=memory
        )
        assert kinds(decide(snapshot, a_policy())) == ["TerminateInstances"]

    def test_and_the_claim_closes_when_it_is(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.TERMINATING, "i-1"))
        snapshot = a_snapshot(
            nodes=[a_node(N1, POWERED_DOWN)], launches=[launch], instances=[an_instance("i-1", "terminated")]
        )
        plan = decide(snapshot, a_policy())
        assert kinds(plan) == ["RecordLaunch"]
        assert not only(plan, RecordLaunch).launch.is_open

    def test_batches_are_bounded(self) -> None:
        nodes = dynamic(5)
        launch = a_launch(*(a_claim(n, ClaimState.READY, f"i-{n}") for n in nodes))
        snapshot = a_snapshot(
            nodes=[a_node(n, POWERING_DOWN) for n in nodes],
            launches=[launch],
            instances=[an_instance(f"i-{n}") for n in nodes],
        )
        plan = decide(snapshot, a_policy(terminate_batch_max=2))
        sizes = [len(a.instances) for a in plan.actions if isinstance(a, TerminateInstances)]
        assert sizes == [2, 2, 1]

    def test_an_instance_from_before_a_power_cycle_is_replaced(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.READY, "i-1"))
        snapshot = a_snapshot(nodes=[a_node(N1, POWERING_UP)], launches=[launch], instances=[an_instance("i-1")])
        assert only(decide(snapshot, a_policy()), TerminateInstances).reason is Reason.POWER_CYCLE


class TestShortage:
    def test_the_job_learns_why(self) -> None:
        failed = a_claim(N1, ClaimState.LAUNCH_FAILED, failure=FailureKind.CAPACITY, cause="(Code:Insufficient) short")
        snapshot = a_snapshot(nodes=[a_node(N1, POWERING_UP)], launches=[a_launch(failed)], jobs=[a_job(7, [N1, N2])])
        plan = decide(snapshot, a_policy())
        assert plan.actions == (SetNodesDown((N1,), Reason.LAUNCH_FAILED, "(Code:Insufficient) short"),)
        assert plan.memory.freed_jobs == {7: (N2,)}

    def test_a_throttle_is_not_a_shortage(self) -> None:
        failed = a_claim(N1, ClaimState.LAUNCH_FAILED, failure=FailureKind.THROTTLED)
        plan = decide(a_snapshot(nodes=[a_node(N1, POWERING_UP)], launches=[a_launch(failed)]), a_policy())
        assert kinds(plan) == ["RecordLaunch", "StartLaunch"]

    def test_the_claim_closes_when_slurm_let_go(self) -> None:
        failed = a_claim(N1, ClaimState.LAUNCH_FAILED, failure=FailureKind.CAPACITY)
        node = a_node(N1, "DOWN+CLOUD+POWERING_DOWN", reason="clustermgtd: launch-failed")
        plan = decide(a_snapshot(nodes=[node], launches=[a_launch(failed)]), a_policy())
        assert kinds(plan) == ["RecordLaunch"]

    @pytest.mark.parametrize(
        ("state", "reason", "expected"),
        [
            ("DOWN+CLOUD", "clustermgtd: launch-failed", PowerDownNodes((N1,), Reason.MARK_LIFTED)),
            ("DOWN+CLOUD+POWERED_DOWN", "clustermgtd: x", ReturnNodesToService((N1,), Reason.MARK_LIFTED)),
            (
                "DOWN+CLOUD+POWERED_DOWN",
                "ResumeTimeout reached [slurm@2026-01-01]",
                ReturnNodesToService((N1,), Reason.RESUME_TIMEOUT),
            ),
            (
                "DOWN+CLOUD+POWERED_DOWN+NOT_RESPONDING",
                "ResumeTimeout reached [slurm@2026-01-01]",
                ReturnNodesToService((N1,), Reason.RESUME_TIMEOUT),
            ),
            ("DOWN+CLOUD+NOT_RESPONDING", "Not responding", PowerDownNodes((N1,), Reason.NOT_RESPONDING)),
        ],
    )
    def test_no_down_node_of_ours_or_slurm_s_stays_down(self, state: str, reason: str, expected: Action) -> None:
        plan = decide(a_snapshot(nodes=[a_node(N1, state, reason=reason)]), a_policy())
        assert [action for action in plan.actions if not isinstance(action, RecordSafeguards)] == [expected]

    @pytest.mark.parametrize("state", ["DOWN+CLOUD", "DOWN+CLOUD+POWERED_DOWN", "IDLE+CLOUD+DRAIN", "DOWN+CLOUD+DRAIN"])
    def test_an_operator_s_mark_is_read_only(self, state: str) -> None:
        assert decide(a_snapshot(nodes=[a_node(N1, state, reason="broken fan [root@now]")]), a_policy()).actions == ()


class TestLostInstances:
    def test_a_dead_instance_s_job_is_requeued(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.READY, "i-1"))
        snapshot = a_snapshot(
            nodes=[a_node(N1, RUNNING)],
            launches=[launch],
            instances=[an_instance("i-1", "terminated")],
            jobs=[a_job(7, [N1], "RUNNING")],
        )
        plan = decide(snapshot, a_policy())
        assert kinds(plan) == ["RecordLaunch", "SetNodesDown"]
        assert plan.memory.freed_jobs == {7: ()}

    def test_one_that_died_while_booting_is_replaced_without_bothering_slurm(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.LOST, "i-1"))
        snapshot = a_snapshot(nodes=[a_node(N1, POWERING_UP)], launches=[launch])
        assert kinds(decide(snapshot, a_policy())) == ["RecordLaunch", "StartLaunch"]

    def test_all_claims_of_a_dead_fleet_move_at_once(self) -> None:
        nodes = dynamic(3)
        launch = a_launch(*(a_claim(n, ClaimState.READY, f"i-{n}") for n in nodes))
        snapshot = a_snapshot(
            nodes=[a_node(n, RUNNING) for n in nodes],
            launches=[launch],
            instances=[an_instance(f"i-{n}", "shutting-down") for n in nodes],
        )
        plan = decide(snapshot, a_policy())
        assert kinds(plan) == ["RecordLaunch", "SetNodesDown"]
        assert only(plan, SetNodesDown).nodes == tuple(nodes)


class TestRequeueHold:
    def hold(self, nodes: Sequence[str], other_state: str, reason: str = "BeginTime") -> Plan:
        memory = Memory(freed_jobs={JobId(7): tuple(NodeName(n) for n in nodes)})
        job = a_job(7, [], "PENDING", reason=reason, restarts=1)
        return decide(a_snapshot(nodes=[a_node(N2, other_state)], jobs=[job], memory=memory), a_policy())

    def test_it_is_lifted_when_nothing_is_left_to_clean_up(self) -> None:
        assert self.hold([N2], RUNNING).actions == (LiftRequeueHold(JobId(7)),)

    def test_it_stays_while_a_surviving_node_is_completing(self) -> None:
        plan = self.hold([N2], "IDLE+CLOUD+COMPLETING")
        assert plan.actions == ()
        assert plan.memory.freed_jobs == {7: (N2,)}

    def test_it_is_lifted_again_while_the_job_is_held(self) -> None:
        assert self.hold([N2], RUNNING).memory.freed_jobs == {7: (N2,)}

    def test_a_job_that_does_not_show_its_hold_yet_is_looked_at_again(self) -> None:
        later = self.hold([N2], RUNNING, reason="Resources")
        assert later.memory.freed_jobs == {7: (N2,)}
        assert later.actions == ()

    @pytest.mark.parametrize(("reason", "expected_at"), [("Resources", NOW - 60.0), ("BeginTime", NOW)])
    def test_how_long_a_job_has_shown_no_hold_is_known(self, reason: str, expected_at: float) -> None:
        memory = Memory(freed_jobs={JobId(7): ()}, freed_at={JobId(7): NOW - 60.0})
        job = a_job(7, [], "PENDING", reason=reason, restarts=1)
        assert decide(a_snapshot(jobs=[job], memory=memory), a_policy()).memory.freed_at == {7: expected_at}

    def test_a_job_that_runs_again_is_forgotten(self) -> None:
        snapshot = a_snapshot(jobs=[a_job(7, [N1], "RUNNING", restarts=1)], memory=Memory(freed_jobs={JobId(7): (N2,)}))
        assert decide(snapshot, a_policy()).memory.freed_jobs == {}

    def test_a_pending_job_that_a_drain_may_overtake_is_watched(self) -> None:
        pending = a_job(7, [], "PENDING", reason="Resources", partition="q0,q1")
        elsewhere = a_job(8, [], "PENDING", reason="Resources", partition="q2")
        held = a_job(9, [], "PENDING", reason="BeginTime", restarts=1, partition="q1")
        snapshot = a_snapshot(nodes=[a_node(N1, POWERED_DOWN)], jobs=[pending, elsewhere, held])
        assert overtaken([HoldNodes((N1,), "no-capacity")], snapshot) == {7: ()}

    @pytest.mark.parametrize(("begins_in", "is_ours"), [(121, True), (126, False)])
    def test_a_daemon_that_just_started_lifts_what_can_be_a_hold_and_no_begin_that_a_user_chose(
        self, begins_in: int, is_ours: bool
    ) -> None:
        job = a_job(7, [], "PENDING", reason="BeginTime", restarts=1, begins_at=NOW + begins_in)
        made = decide(a_snapshot(jobs=[job], memory=Memory()), a_policy())
        assert made.actions == ((LiftRequeueHold(JobId(7)),) if is_ours else ())
        assert not made.memory.is_new

    def test_later_it_lifts_only_holds_that_it_caused(self) -> None:
        job = a_job(7, [], "PENDING", reason="BeginTime", restarts=1, begins_at=NOW + 60)
        assert decide(a_snapshot(jobs=[job], memory=Memory(is_new=False)), a_policy()).actions == ()

    def test_a_job_that_waits_for_something_else_is_left_alone(self) -> None:
        assert self.hold([], RUNNING, reason="Dependency").actions == ()


class TestGarbageCollection:
    def orphan(self, *, age_s: float, count: int, node: str = POWERED_DOWN, address: str = "") -> Plan:
        memory = Memory(orphans={InstanceId("i-9"): Sighting(NOW - 30, count)})
        return decide(
            a_snapshot(
                nodes=[a_node(N1, node, address=address)],
                instances=[an_instance("i-9", token="lost", age_s=age_s, address="10.0.0.9")],
                memory=memory,
            ),
            a_policy(),
        )

    def test_an_old_orphan_that_was_seen_before_is_ended(self) -> None:
        plan = self.orphan(age_s=600, count=1)
        assert isinstance(plan.actions[0], RecordSafeguards)
        assert plan.actions[1:] == (TerminateInstances((InstanceId("i-9"),), Reason.ORPHAN),)

    def test_a_young_one_is_not(self) -> None:
        assert self.orphan(age_s=60, count=1).actions == ()

    def test_nor_one_that_is_seen_for_the_first_time(self) -> None:
        assert self.orphan(age_s=600, count=0).actions == ()

    def test_nor_one_that_slurm_uses_even_if_every_record_was_lost(self) -> None:
        assert self.orphan(age_s=600, count=5, node=RUNNING, address="10.0.0.9").actions == ()

    def test_instances_of_a_call_in_flight_are_not_orphans(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.REQUESTED))
        memory = Memory(orphans={InstanceId("i-9"): Sighting(NOW - 30, 5)})
        snapshot = a_snapshot(
            nodes=[a_node(N1, POWERING_UP)],
            instances=[an_instance("i-9", token="t-1")],
            launches=[launch],
            in_flight=("t-1",),
            memory=memory,
        )
        assert decide(snapshot, a_policy()).actions == ()


class TestAddresses:
    def test_they_are_told_to_slurm_only_where_registration_does_not(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.LAUNCHED, "i-1"))
        snapshot = a_snapshot(
            nodes=[a_node(N1, POWERING_UP)], launches=[launch], instances=[an_instance("i-1", address="10.0.0.1")]
        )
        assert decide(snapshot, a_policy()).actions == ()
        plan = decide(snapshot, a_policy(assigns_addresses=True))
        assert plan.actions == (AssignAddresses(((N1, "10.0.0.1"),)),)

    def test_a_node_that_powers_up_under_a_name_that_nothing_resolves_is_parked(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.LAUNCHED, "i-1"))
        nodes = [a_node(N1, POWERING_UP), a_node(N2, POWERED_DOWN)]
        plan = decide(a_snapshot(nodes=nodes, launches=[launch]), a_policy(names_resolve=False))
        assert plan.actions == (AssignAddresses(((N1, "127.0.0.1"),)),)
        parked = [a_node(N1, POWERING_UP, address="127.0.0.1")]
        assert decide(a_snapshot(nodes=parked, launches=[launch]), a_policy(names_resolve=False)).actions == ()


class TestReady:
    def test_a_registered_node_is_ready_and_the_plan_is_empty_afterwards(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.LAUNCHED, "i-1"))
        snapshot = a_snapshot(nodes=[a_node(N1, RUNNING)], launches=[launch], instances=[an_instance("i-1")])
        ready = only(decide(snapshot, a_policy()), RecordLaunch).launch
        assert states(RecordLaunch(ready)) == {N1: ClaimState.READY}
        again = a_snapshot(nodes=[a_node(N1, RUNNING)], launches=[ready], instances=[an_instance("i-1")])
        assert decide(again, a_policy()).actions == ()

    def test_a_drain_is_followed_and_lifted(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.READY, "i-1"))
        drained = a_snapshot(
            nodes=[a_node(N1, "ALLOCATED+CLOUD+DRAIN", reason="bad dimm")],
            launches=[launch],
            instances=[an_instance("i-1")],
        )
        draining = only(decide(drained, a_policy()), RecordLaunch).launch
        assert states(RecordLaunch(draining)) == {N1: ClaimState.DRAINING}
        lifted = a_snapshot(nodes=[a_node(N1, RUNNING)], launches=[draining], instances=[an_instance("i-1")])
        assert states(only(decide(lifted, a_policy()), RecordLaunch)) == {N1: ClaimState.READY}
