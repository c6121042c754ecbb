"""Given a drain that Slurm wiped when it suspended the node, it is set again; what people lift stays lifted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clustermgtd.decide.plan import decide
from clustermgtd.model.action import HoldNodes, RestoreDrains
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import NodeName
from clustermgtd.model.node import REASON_PREFIX
from clustermgtd.model.offering_memory import Ban, BanScope, OfferingMemory
from clustermgtd.model.snapshot import Memory, Plan, Snapshot
from tests.builders import NOW, POWERED_DOWN, POWERING_DOWN, a_node, a_policy, a_snapshot, dynamic

ONE, TWO = dynamic(2)
FAN = "broken fan"


def shown(state: str, reason: str = FAN, memory: Memory | None = None) -> Snapshot:
    return a_snapshot(nodes=[a_node(ONE, state, reason=reason)], memory=memory)


def remembered(reason: str = FAN) -> Memory:
    return Memory(is_new=False, drained_by_others={ONE: reason})


def restored(plan: Plan) -> list[RestoreDrains]:
    return [action for action in plan.actions if isinstance(action, RestoreDrains)]


@pytest.mark.parametrize("state", ["IDLE+CLOUD+DRAIN", "MIXED+CLOUD+DRAIN", "IDLE+CLOUD+POWERED_DOWN+DRAIN"])
def test_a_drain_of_somebody_else_is_remembered(state: str) -> None:
    plan = decide(shown(state), a_policy())
    assert plan.memory.drained_by_others == {ONE: FAN}
    assert plan.actions == ()


@pytest.mark.parametrize("reason", [f"{REASON_PREFIX} maintenance", "Low RealMemory"])
def test_ours_and_slurm_s_are_not(reason: str) -> None:
    assert decide(shown("MIXED+CLOUD+DRAIN", reason), a_policy()).memory.drained_by_others == {}


@pytest.mark.parametrize("state", [POWERING_DOWN, POWERED_DOWN, "IDLE+CLOUD+POWERED_DOWN+NOT_RESPONDING"])
def test_one_that_slurm_wiped_is_set_again_with_its_reason(state: str) -> None:
    plan = decide(shown(state, memory=remembered()), a_policy())
    assert restored(plan) == [RestoreDrains((ONE,), FAN)]
    assert plan.memory.drained_by_others == {ONE: FAN}


@pytest.mark.parametrize(
    ("state", "reason", "memory"),
    [
        pytest.param(POWERED_DOWN, "", remembered(), id="lifted by hand"),
        pytest.param(POWERED_DOWN, FAN, Memory(), id="never seen draining"),
        pytest.param(POWERED_DOWN, "another fan", remembered(), id="another reason"),
        pytest.param("IDLE+CLOUD", FAN, remembered(), id="up"),
        pytest.param("IDLE+CLOUD+NOT_RESPONDING+POWERING_UP", FAN, remembered(), id="powers up"),
    ],
)
def test_nothing_else_is(state: str, reason: str, memory: Memory) -> None:
    plan = decide(shown(state, reason, memory), a_policy())
    assert restored(plan) == []
    assert plan.memory.drained_by_others == {}


def test_a_node_that_got_a_job_in_between_is_left_to_it_and_drained_afterwards() -> None:
    plan = decide(shown("ALLOCATED+CLOUD+POWERED_DOWN", memory=remembered()), a_policy())
    assert restored(plan) == []
    assert plan.memory.drained_by_others == {ONE: FAN}


def test_no_mark_of_ours_takes_its_place() -> None:
    ban = Ban(BanScope(FailureKind.CAPACITY), NOW - 10, NOW + 100)
    nodes = [a_node(ONE, POWERED_DOWN, reason=FAN), a_node(TWO, POWERED_DOWN)]
    snapshot = a_snapshot(nodes=nodes, memory=remembered())
    plan = decide(replace(snapshot, offerings=OfferingMemory(bans=(ban,))), a_policy())
    assert [hold.nodes for hold in plan.actions if isinstance(hold, HoldNodes)] == [(TWO,)]
    assert restored(plan) == [RestoreDrains((ONE,), FAN)]


def test_a_static_node_that_its_operator_powered_down_stays_drained() -> None:
    static = NodeName("q1-st-c5-1")
    snapshot = a_snapshot(
        nodes=[a_node(static, POWERED_DOWN, reason=FAN)],
        memory=Memory(is_new=False, drained_by_others={static: FAN}),
    )
    assert decide(snapshot, a_policy(static=(static,))).actions == (RestoreDrains((static,), FAN),)
