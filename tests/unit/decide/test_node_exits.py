"""No Slurm state without an exit: the states that keep clusters of others stuck, one by one.

Each names where it was reported (docs/explanation/known-defects.md); "the peer" is ParallelCluster's node package. What
happens in every other state is in docs/reference/node-states.md.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from clustermgtd.decide.plan import decide
from clustermgtd.model.action import (
    Action,
    PowerDownNodes,
    Reason,
    RecordSafeguards,
    ReturnNodesToService,
    SetNodesDown,
    TerminateInstances,
)
from clustermgtd.model.claim import ClaimState
from clustermgtd.model.ids import InstanceId, NodeName
from clustermgtd.model.left_alone import LeftAlone
from clustermgtd.model.node import Node, NodeBase
from clustermgtd.model.snapshot import Memory, Plan, Sighting
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
    an_instance,
    dynamic,
)

N1, N2 = dynamic(2)
SILENT = Memory(silent_since={N1: NOW - 121})


def a_plan(
    node: Node | None,
    claim: ClaimState | None = None,
    instance: str = "running",
    *,
    memory: Memory | None = None,
    static: bool = False,
) -> Plan:
    """What is decided about one node; a claim is LAUNCHED or further and names `i-1`, which is `instance`."""
    launches = [a_launch(a_claim(N1, claim, "i-1"))] if claim else []
    instances = [an_instance("i-1", instance)] if claim and instance != "absent" else []
    policy = a_policy([], static=(N1,)) if static else a_policy([N1])
    return decide(
        a_snapshot(nodes=[node] if node else [], launches=launches, instances=instances, memory=memory), policy
    )


def effects(plan: Plan) -> list[Action]:
    """Everything but records."""
    return [a for a in plan.actions if not type(a).__name__.startswith("Record")]


class TestPoweredDownAndNotResponding:
    """aws-parallelcluster 7577: idle, powered down, and no job gets it. RESUME and UNDRAIN leave this behind."""

    STATE = "IDLE+CLOUD+POWERED_DOWN+NOT_RESPONDING"

    def test_it_is_watched_first(self) -> None:
        plan = a_plan(a_node(N1, self.STATE))
        assert plan.actions == ()
        assert plan.memory.silent_since == {N1: NOW}

    def test_a_power_down_takes_the_flag_away(self) -> None:
        assert effects(a_plan(a_node(N1, self.STATE), memory=SILENT)) == [PowerDownNodes((N1,), Reason.UNREACHABLE)]

    @pytest.mark.parametrize("flag", ["PLANNED", "RESERVED", "MAINTENANCE", "UNRECOGNISED"])
    def test_whatever_else_slurm_says_about_it(self, flag: str) -> None:
        """The peer compares whole sets of flags, and one more makes it blind."""
        plan = a_plan(a_node(N1, f"{self.STATE}+{flag}"), memory=SILENT)
        assert effects(plan) == [PowerDownNodes((N1,), Reason.UNREACHABLE)]

    def test_a_node_that_gets_a_job_is_not_touched(self) -> None:
        plan = a_plan(a_node(N1, "ALLOCATED+CLOUD+POWERED_DOWN+NOT_RESPONDING"), memory=SILENT)
        assert plan.actions == ()
        assert plan.memory.silent_since == {}

    def test_a_static_node_is_powered_up_which_takes_it_away_too(self) -> None:
        plan = a_plan(a_node(N1, self.STATE), memory=SILENT, static=True)
        assert [type(a).__name__ for a in effects(plan)] == ["PowerUpNodes"]


class TestCompletingOnADeadMachine:
    """aws-parallelcluster-node 447: `IDLE+CLOUD+COMPLETING+POWER_DOWN+NOT_RESPONDING`."""

    STATES = ("IDLE+CLOUD+COMPLETING+POWER_DOWN+NOT_RESPONDING", "IDLE+CLOUD+COMPLETING+NOT_RESPONDING")

    @pytest.mark.parametrize("state", [*STATES, "IDLE+CLOUD+COMPLETING"])
    @pytest.mark.parametrize("instance", ["shutting-down", "terminated"])
    def test_it_goes_down_when_the_instance_is_seen_ending(self, state: str, instance: str) -> None:
        (action,) = effects(a_plan(a_node(N1, state), ClaimState.READY, instance))
        assert isinstance(action, SetNodesDown)
        assert action.reason is Reason.INSTANCE_LOST

    @pytest.mark.parametrize("state", STATES)
    def test_it_goes_down_after_a_while_even_if_nobody_remembers_the_instance(self, state: str) -> None:
        assert a_plan(a_node(N1, state)).actions == ()
        assert effects(a_plan(a_node(N1, state), memory=SILENT)) == [SetNodesDown((N1,), Reason.UNREACHABLE)]

    def test_but_not_while_an_instance_lives_that_may_be_it(self) -> None:
        node = a_node(N1, self.STATES[0], address="10.0.0.1")
        instance = replace(an_instance("i-9", address="10.0.0.1"), launched_at=NOW)
        plan = decide(a_snapshot(nodes=[node], instances=[instance], memory=SILENT), a_policy([N1]))
        assert plan.actions == ()


class TestResumeTimeout:
    """aws-parallelcluster-node 702, cyclecloud-slurm 51: `down~`, with and without NOT_RESPONDING."""

    @pytest.mark.parametrize("state", ["DOWN+CLOUD+POWERED_DOWN", "DOWN+CLOUD+POWERED_DOWN+NOT_RESPONDING"])
    @pytest.mark.parametrize("extra", ["", "+PLANNED", "+RESERVED", "+DRAIN"])
    def test_the_node_returns_to_service(self, state: str, extra: str) -> None:
        node = a_node(N1, state + extra, reason="ResumeTimeout reached")
        assert effects(a_plan(node)) == [ReturnNodesToService((N1,), Reason.RESUME_TIMEOUT)]

    @pytest.mark.parametrize("state", ["DOWN+CLOUD+POWERED_DOWN", "DOWN+CLOUD+POWERED_DOWN+NOT_RESPONDING"])
    def test_but_not_before_its_instance_is_gone(self, state: str) -> None:
        plan = a_plan(a_node(N1, state, reason="ResumeTimeout reached"), ClaimState.LAUNCHED)
        assert effects(plan) == [TerminateInstances((InstanceId("i-1"),), Reason.NODE_GIVEN_UP)]


class TestPowerUpRevoked:
    """aws-parallelcluster-node 322: Slurm ignores a power-down of a node that powers up, until ResumeTimeout."""

    STATE = "IDLE+CLOUD+POWER_DOWN+NOT_RESPONDING+POWERING_UP"

    @pytest.mark.parametrize("claim", [None, ClaimState.LAUNCHED])
    def test_the_node_is_let_go_at_once_and_nothing_is_launched(self, claim: ClaimState | None) -> None:
        assert effects(a_plan(a_node(N1, self.STATE), claim)) == [SetNodesDown((N1,), Reason.POWER_DOWN)]

    def test_a_job_that_waits_for_the_node_gets_it_first(self) -> None:
        node = a_node(N1, "ALLOCATED+CLOUD+POWER_DOWN+NOT_RESPONDING+POWERING_UP")
        assert [type(a).__name__ for a in effects(a_plan(node))] == ["StartLaunch"]

    def test_a_down_that_came_after_the_power_down_needs_a_second_one(self) -> None:
        node = a_node(N1, "DOWN+CLOUD+POWER_DOWN+NOT_RESPONDING+POWERING_UP", reason="clustermgtd: power-down")
        assert effects(a_plan(node)) == [PowerDownNodes((N1,), Reason.MARK_LIFTED)]


class TestIdleAndPoweredDownWithALiveInstance:
    """cyclecloud-slurm 267: `idle~`, and the machine is paid for."""

    @pytest.mark.parametrize("instance", ["pending", "running", "stopping", "stopped"])
    def test_the_instance_ends(self, instance: str) -> None:
        plan = a_plan(a_node(N1, POWERED_DOWN), ClaimState.READY, instance)
        assert effects(plan) == [TerminateInstances((InstanceId("i-1"),), Reason.POWER_DOWN)]


class TestStoppedInstances:
    """aws-parallelcluster 2117: somebody stopped the instance; it costs its volumes and never comes back."""

    @pytest.mark.parametrize("instance", ["stopping", "stopped"])
    @pytest.mark.parametrize("state", [RUNNING, "IDLE+CLOUD", "IDLE+CLOUD+NOT_RESPONDING", "IDLE+CLOUD+COMPLETING"])
    def test_the_node_goes_down_and_its_job_is_requeued(self, state: str, instance: str) -> None:
        (action,) = effects(a_plan(a_node(N1, state), ClaimState.READY, instance))
        assert action == SetNodesDown((N1,), Reason.INSTANCE_STOPPED, f"EC2 shows {instance}")

    def test_then_the_instance_is_ended(self) -> None:
        plan = a_plan(a_node(N1, "IDLE+CLOUD+POWERING_DOWN"), ClaimState.READY, "stopped")
        assert effects(plan) == [TerminateInstances((InstanceId("i-1"),), Reason.POWER_DOWN)]

    def test_one_that_was_booting_is_replaced_without_bothering_slurm(self) -> None:
        plan = a_plan(a_node(N1, POWERING_UP), ClaimState.LAUNCHED, "stopped")
        assert effects(plan) == [TerminateInstances((InstanceId("i-1"),), Reason.INSTANCE_STOPPED)]

    def test_under_an_operator_s_drain_it_is_theirs(self) -> None:
        plan = a_plan(a_node(N1, "IDLE+CLOUD+DRAIN", reason="swap the disk"), ClaimState.DRAINING, "stopped")
        assert effects(plan) == []
        assert plan.left_alone == {N1: LeftAlone.MARKED}

    def test_nobody_s_stopped_instance_is_garbage(self) -> None:
        memory = Memory(orphans={InstanceId("i-9"): Sighting(NOW - 30, 1)})
        snapshot = a_snapshot(instances=[an_instance("i-9", "stopped")], memory=memory)
        assert effects(decide(snapshot, a_policy())) == [TerminateInstances((InstanceId("i-9"),), Reason.ORPHAN)]


class TestNodesThatSlurmRejects:
    """INVALID_REG, and what Slurm drains by itself: on a static node nothing else would ever end it."""

    LOW = "Low RealMemory (reported:24105 < 90.00% of configured:900000)"

    @pytest.mark.parametrize("claim", [ClaimState.LAUNCHED, ClaimState.READY, ClaimState.DRAINING])
    def test_a_node_with_too_little_memory_is_replaced(self, claim: ClaimState) -> None:
        plan = a_plan(a_node(N1, "IDLE+CLOUD+DRAIN+INVALID_REG", reason=self.LOW), claim)
        assert effects(plan) == [PowerDownNodes((N1,), Reason.UNHEALTHY)]

    @pytest.mark.parametrize(
        "reason", ["Kill task failed", "Prolog error", "batch job complete failure", "gres/gpu count"]
    )
    def test_a_node_that_slurm_drained_is_replaced_when_it_is_free(self, reason: str) -> None:
        free = a_plan(a_node(N1, "IDLE+CLOUD+DRAIN", reason=reason), ClaimState.DRAINING)
        assert effects(free) == [PowerDownNodes((N1,), Reason.UNHEALTHY)]
        for state in ("MIXED+CLOUD+DRAIN", "IDLE+CLOUD+DRAIN+COMPLETING", "IDLE+CLOUD+DRAIN+POWER_DOWN"):
            assert effects(a_plan(a_node(N1, state, reason=reason), ClaimState.DRAINING)) == []

    def test_a_drain_of_somebody_s_health_check_is_theirs(self) -> None:
        plan = a_plan(a_node(N1, "IDLE+CLOUD+DRAIN", reason="NHC: check_hw_mem"), ClaimState.DRAINING)
        assert effects(plan) == []
        assert plan.left_alone == {N1: LeftAlone.MARKED}


class TestReboots:
    @pytest.mark.parametrize("instance", ["pending", "running", "terminated"])
    def test_a_node_that_reboots_is_left_alone(self, instance: str) -> None:
        node = a_node(N1, "DOWN+CLOUD+REBOOT_ISSUED", reason="reboot requested : reboot issued")
        plan = a_plan(node, ClaimState.READY, instance)
        assert effects(plan) == []
        assert plan.left_alone == {N1: LeftAlone.REBOOTING}

    @pytest.mark.parametrize("state", ["MIXED+CLOUD+REBOOT_REQUESTED", "MIXED+CLOUD+DRAIN+REBOOT_REQUESTED"])
    def test_a_reboot_that_waits_for_the_job_is_nothing(self, state: str) -> None:
        assert effects(a_plan(a_node(N1, state, reason="Reboot ASAP"), ClaimState.READY)) == []

    @pytest.mark.parametrize("reason", ["reboot requested : reboot issued : reboot timed out", "reboot timed out"])
    def test_one_that_did_not_come_back_is_replaced(self, reason: str) -> None:
        plan = a_plan(a_node(N1, "DOWN+CLOUD+NOT_RESPONDING", reason=reason), ClaimState.READY)
        assert effects(plan) == [PowerDownNodes((N1,), Reason.NOT_RESPONDING)]


class TestPlansAndReservations:
    """aws-parallelcluster 7465: maintenance reservations made the peer kill and relaunch static nodes for ever."""

    @pytest.mark.parametrize("flag", ["MAINTENANCE", "RESERVED", "PLANNED", "MAINTENANCE+RESERVED"])
    @pytest.mark.parametrize("state", ["IDLE+CLOUD", "ALLOCATED+CLOUD"])
    def test_they_change_nothing_about_a_healthy_node(self, state: str, flag: str) -> None:
        plan = a_plan(a_node(N1, f"{state}+{flag}"), ClaimState.READY, static=True)
        assert (plan.actions, plan.left_alone) == ((), {})

    @pytest.mark.parametrize("flag", ["MAINTENANCE", "RESERVED", "PLANNED"])
    def test_nor_about_one_at_rest(self, flag: str) -> None:
        plan = a_plan(a_node(N1, f"{POWERED_DOWN}+{flag}"))
        assert (plan.actions, plan.left_alone) == ((), {})


class TestLeftAlone:
    @pytest.mark.parametrize("instance", ["pending", "running", "stopped"])
    def test_a_node_that_slurm_does_not_show(self, instance: str) -> None:
        """FUTURE: scontrol leaves such nodes out."""
        plan = a_plan(None, ClaimState.READY, instance)
        assert (effects(plan), plan.left_alone) == ([], {N1: LeftAlone.NOT_SHOWN})

    def test_a_future_node_that_slurm_shows(self) -> None:
        plan = a_plan(a_node(N1, "FUTURE+CLOUD"), ClaimState.READY)
        assert (effects(plan), plan.left_alone) == ([], {N1: LeftAlone.NOT_SHOWN})

    @pytest.mark.parametrize("flags", ["", "+CLOUD", "+CLOUD+POWERED_DOWN", "+CLOUD+POWERING_DOWN+NOT_RESPONDING"])
    @pytest.mark.parametrize("claim", [ClaimState.LAUNCHED, ClaimState.READY, ClaimState.DRAINING])
    def test_a_node_of_unknown_state_is_pending_information(self, claim: ClaimState, flags: str) -> None:
        plan = a_plan(a_node(N1, f"UNKNOWN{flags}"), claim)
        assert (effects(plan), plan.left_alone) == ([], {N1: LeftAlone.UNCLEAR})

    @pytest.mark.parametrize("state", ["IDLE+CLOUD+FAIL", "ALLOCATED+CLOUD+FAIL", "IDLE+CLOUD+DRAIN", "DOWN+CLOUD"])
    def test_an_operator_s_mark(self, state: str) -> None:
        plan = a_plan(a_node(N1, state, reason="bad dimm"), ClaimState.DRAINING)
        assert (effects(plan), plan.left_alone) == ([], {N1: LeftAlone.MARKED})

    def test_a_machine_that_we_did_not_launch(self) -> None:
        plan = a_plan(a_node(N1, "IDLE+CLOUD"))
        assert (plan.actions, plan.left_alone) == ((), {N1: LeftAlone.UNCLAIMED})

    def test_healthy_nodes_are_not_reported(self) -> None:
        assert a_plan(a_node(N1, RUNNING), ClaimState.READY).left_alone == {}
        assert a_plan(a_node(N1, POWERED_DOWN)).left_alone == {}


class TestAFreshDaemonKnowsWhatIsBooting:
    """The peer's daemon, started anew, ended and relaunched 100 static nodes that were still booting."""

    @pytest.mark.parametrize("instance", ["absent", "pending", "running"])
    def test_static_nodes_go_on_booting(self, instance: str) -> None:
        plan = a_plan(a_node(N1, "IDLE+CLOUD+NOT_RESPONDING+POWERING_UP"), ClaimState.LAUNCHED, instance, static=True)
        assert plan.actions == ()


class TestIdentity:
    """Nodes and instances are paired by claims and instance ids, never by address."""

    def test_an_instance_without_any_field_but_its_state_is_pending_information(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.LAUNCHED, "i-1"))
        bare = replace(an_instance("i-1", "pending", token=""), launched_at=0.0)
        plan = decide(a_snapshot(nodes=[a_node(N1, POWERING_UP)], launches=[launch], instances=[bare]), a_policy([N1]))
        assert plan.actions == ()

    def test_an_instance_without_a_launch_time_is_as_old_as_its_first_sighting(self) -> None:
        bare = replace(an_instance("i-9", "running", token=""), launched_at=0.0)
        young = Memory(orphans={InstanceId("i-9"): Sighting(NOW - 179, 5)})
        old = Memory(orphans={InstanceId("i-9"): Sighting(NOW - 181, 5)})
        assert decide(a_snapshot(instances=[bare], memory=young), a_policy()).actions == ()
        ended = decide(a_snapshot(instances=[bare], memory=old), a_policy()).actions
        assert [type(action) for action in ended] == [RecordSafeguards, TerminateInstances]

    def test_two_instances_that_swapped_their_addresses_stay_with_their_nodes(self) -> None:
        launch = a_launch(a_claim(N1, ClaimState.READY, "i-1"), a_claim(N2, ClaimState.READY, "i-2"))
        nodes = [a_node(N1, RUNNING, address="10.0.0.1"), a_node(N2, RUNNING, address="10.0.0.2")]
        swapped = [an_instance("i-1", address="10.0.0.2"), an_instance("i-2", "terminated", address="10.0.0.1")]
        plan = decide(
            a_snapshot(nodes=nodes, launches=[launch], instances=swapped, jobs=[a_job(1, [N1, N2], "RUNNING")]),
            a_policy([N1, N2]),
        )
        (action,) = effects(plan)
        assert isinstance(action, SetNodesDown)
        assert action.nodes == (N2,)


def test_every_reason_that_slurm_writes_is_told_from_an_operator_s() -> None:
    for reason in ("Not responding", "Low TmpDisk", "x : reboot issued : reboot timed out"):
        assert not Node(NodeName("n"), NodeBase.DOWN, reason=reason).is_marked_by_others
    for reason in ("fan : ResumeTimeout reached", "fan is loud : Not responding"):
        assert not Node(NodeName("n"), NodeBase.DOWN, reason=reason).is_marked_by_others, (
            "the fan was an earlier matter"
        )
    for reason in ("not responding to my emails", "fan : it is loud", "lowering the fan", "reboot requested"):
        assert Node(NodeName("n"), NodeBase.DOWN, reason=reason).is_marked_by_others


def test_what_slurm_appends_to_a_reason_of_ours_is_not_ours() -> None:
    node = Node(NodeName("n"), NodeBase.DOWN, reason="clustermgtd: launch-failed short : ResumeTimeout reached")
    assert (node.is_marked_by_us, node.is_marked_by_slurm) == (False, True)
    assert node.last_reason == "ResumeTimeout reached"
