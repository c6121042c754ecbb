"""Given an instance that EC2 does not show, it is lost only if nobody answers for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clustermgtd.decide.plan import decide
from clustermgtd.model.action import RecordLaunch
from clustermgtd.model.claim import ClaimState
from clustermgtd.model.ids import InstanceId, NodeName
from clustermgtd.model.left_alone import LeftAlone
from clustermgtd.model.node import Node
from clustermgtd.model.node_report import NodeReport
from clustermgtd.model.safeguards import TerminationPolicy
from clustermgtd.model.snapshot import Memory, Plan, Snapshot
from tests.builders import NOW, RUNNING, a_claim, a_job, a_launch, a_node, a_policy, a_snapshot, an_instance, dynamic

ONE, TWO = dynamic(2)
LOST, OTHER = InstanceId("i-1"), InstanceId("i-2")
ADDRESS = "10.0.0.7"
LONG = Memory(is_new=False, missing_since={LOST: NOW - 600})
"""EC2 has not shown it for ten minutes."""


def hidden(
    state: str = RUNNING, claim: ClaimState = ClaimState.READY, *, memory: Memory = LONG, node: Node | None = None
) -> Snapshot:
    """A node whose instance EC2 does not show."""
    return a_snapshot(
        nodes=[node or a_node(ONE, state, address=ADDRESS)],
        jobs=[a_job(1, [ONE], "RUNNING")],
        launches=[a_launch(a_claim(ONE, claim, LOST))],
        memory=memory,
    )


def decided(snapshot: Snapshot) -> Plan:
    return decide(snapshot, a_policy([ONE], missing_grace_s=120.0))


def is_lost(plan: Plan) -> bool:
    recorded = [claim for a in plan.actions if isinstance(a, RecordLaunch) for claim in a.launch.claims]
    return any(claim.state is ClaimState.LOST for claim in recorded)


@pytest.mark.parametrize("state", [RUNNING, "IDLE+CLOUD", "MIXED+CLOUD", "MIXED+CLOUD+POWER_DOWN"])
def test_one_whose_slurmd_answers_is_kept_and_reported(state: str) -> None:
    plan = decided(hidden(state))
    assert not is_lost(plan)
    assert plan.left_alone == {ONE: LeftAlone.HIDDEN}
    assert (plan.memory.missing_since, plan.memory.hidden_since) == ({}, {LOST: NOW - 600})


def test_one_that_has_just_booted_is_not_reported_because_reads_lag() -> None:
    plan = decided(hidden("IDLE+CLOUD", ClaimState.LAUNCHED, memory=Memory()))
    assert plan.left_alone == {}
    assert plan.memory.hidden_since == {LOST: NOW}


@pytest.mark.parametrize(
    "state",
    [
        "ALLOCATED+CLOUD+NOT_RESPONDING",
        "DOWN+CLOUD",
        "ALLOCATED+CLOUD+NOT_RESPONDING+POWERING_UP",
        "IDLE+CLOUD+INVALID_REG",
    ],
)
def test_one_that_nobody_answers_for_is_lost(state: str) -> None:
    claim = ClaimState.LAUNCHED if "POWERING_UP" in state else ClaimState.READY
    assert is_lost(decided(hidden(state, claim)))


def test_when_the_answers_end_the_grace_begins() -> None:
    answered = Memory(is_new=False, hidden_since={LOST: NOW - 3000})
    plan = decided(hidden("ALLOCATED+CLOUD+NOT_RESPONDING", memory=answered))
    assert not is_lost(plan)
    assert plan.memory.missing_since == {LOST: NOW}


def test_what_is_hidden_uses_up_no_limit() -> None:
    names = dynamic(10)
    snapshot = a_snapshot(
        nodes=[a_node(name, RUNNING, address=f"10.0.0.{n}") for n, name in enumerate(names)],
        launches=[a_launch(*(a_claim(name, ClaimState.READY, f"i-{name}") for name in names))],
        memory=Memory(is_new=False, missing_since={InstanceId(f"i-{name}"): NOW - 600 for name in names}),
    )
    plan = decide(snapshot, a_policy(terminations=TerminationPolicy(1, 1.0)))
    assert (plan.actions, plan.safeguards.held_back) == ((), ())


class TestSomebodyElseAnswers:
    """Then the claim's own instance is as gone as EC2 says."""

    def test_at_its_address(self) -> None:
        snapshot = hidden()
        assert is_lost(decided(replace(snapshot, instances={OTHER: an_instance(OTHER, address=ADDRESS)})))

    def test_unless_that_one_has_ended(self) -> None:
        snapshot = hidden()
        ended = an_instance(OTHER, "terminated", address=ADDRESS)
        assert not is_lost(decided(replace(snapshot, instances={OTHER: ended})))

    def test_in_its_name_as_its_agent_says(self) -> None:
        snapshot = replace(hidden(), instances={OTHER: an_instance(OTHER)})
        assert not is_lost(decided(snapshot))
        report = NodeReport(OTHER, node=ONE)
        assert is_lost(decided(replace(snapshot, node_reports={OTHER: report})))

    def test_as_slurm_says(self) -> None:
        node = a_node(ONE, RUNNING, address=ADDRESS, instance_id=OTHER)
        assert is_lost(decided(hidden(node=node)))
        assert not is_lost(decided(hidden(node=replace(node, instance_id=LOST))))

    @pytest.mark.parametrize(
        "report", [NodeReport(LOST, node=ONE, ended="nobody manages it"), NodeReport(LOST, node=NodeName(TWO))]
    )
    def test_or_its_own_agent_says_that_it_is_not_there(self, report: NodeReport) -> None:
        assert is_lost(decided(replace(hidden(), node_reports={LOST: report})))
        assert not is_lost(decided(replace(hidden(), node_reports={LOST: NodeReport(LOST, node=ONE)})))
