"""Nodes that may idle for less than the rest of their partition."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clustermgtd.decide.idle import idling
from clustermgtd.decide.plan import decide
from clustermgtd.model.action import PowerDownNodes, Reason
from clustermgtd.model.claim import ClaimState
from clustermgtd.model.ids import NodeName
from clustermgtd.model.node import Node
from tests.builders import KEY, NOW, RUNNING, a_claim, a_job, a_launch, a_node, a_policy, a_snapshot, an_instance

NAME = NodeName("q1-dy-c5-1")
POLICY = a_policy(idle_after_s={KEY: 60.0})


def idle_for(seconds: float, state: str = "IDLE+CLOUD", *, name: str = NAME, reason: str = "") -> Node:
    return replace(a_node(name, state, reason=reason), last_busy_at=NOW - seconds)


def test_a_node_goes_when_it_has_idled_for_as_long_as_its_compute_resource_allows() -> None:
    found = idling(a_snapshot(nodes=[idle_for(60)]), POLICY)
    assert found.power_down == (PowerDownNodes((NAME,), Reason.IDLE),)


def test_one_that_may_stay_a_little_wakes_the_loop_in_time() -> None:
    found = idling(a_snapshot(nodes=[idle_for(50), idle_for(20, name="q1-dy-c5-2")]), POLICY)
    assert (found.power_down, found.wake_at) == ((), NOW + 10)


@pytest.mark.parametrize(
    "state",
    [
        RUNNING,
        "MIXED+CLOUD",
        "IDLE+CLOUD+COMPLETING",
        "IDLE+CLOUD+DRAIN",
        "IDLE+CLOUD+POWER_DOWN",
        "IDLE+CLOUD+POWERING_DOWN",
        "IDLE+CLOUD+POWERED_DOWN",
        "IDLE+CLOUD+NOT_RESPONDING+POWERING_UP",
        "IDLE+CLOUD+REBOOT_REQUESTED",
        "DOWN+CLOUD",
    ],
)
def test_nobody_is_sent_away_who_is_busy_leaving_or_somebody_else_s(state: str) -> None:
    assert idling(a_snapshot(nodes=[idle_for(9999, state)]), POLICY).power_down == ()


def test_a_node_whose_job_is_suspended_looks_idle_and_stays() -> None:
    job = a_job(1, [NAME], "SUSPENDED")
    assert idling(a_snapshot(nodes=[idle_for(9999)], jobs=[job]), POLICY).power_down == ()


def test_a_static_node_stays() -> None:
    policy = a_policy(static=("q1-st-c5-1",), idle_after_s={KEY: 60.0})
    assert idling(a_snapshot(nodes=[idle_for(9999, name="q1-st-c5-1")]), policy).power_down == ()


def test_slurm_sees_to_the_others() -> None:
    assert decide(*_running(idle_for(9999), a_policy())).actions == ()


def test_without_slurm_s_word_nobody_knows_how_long_a_node_idles() -> None:
    assert decide(*_running(a_node(NAME), POLICY)).actions == ()


def test_the_plan_powers_it_down_and_then_is_content() -> None:
    plan = decide(*_running(idle_for(60), POLICY))
    assert plan.actions == (PowerDownNodes((NAME,), Reason.IDLE),)


def test_the_plan_wakes_up_for_it() -> None:
    assert decide(*_running(idle_for(20), POLICY)).wake_at == NOW + 40


def _running(node: Node, policy):  # type: ignore[no-untyped-def]
    launch = a_launch(a_claim(NAME, ClaimState.READY, "i-1"))
    return a_snapshot(nodes=[node], instances=[an_instance("i-1")], launches=[launch]), policy
