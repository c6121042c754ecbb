"""Which nodes are outdated, and which of them leave next."""

from __future__ import annotations

import pytest

from clustermgtd.cli.replacement import MARK, Criteria, Progress, Step, look, select
from clustermgtd.model.claim import ClaimState
from clustermgtd.model.ids import NodeName
from clustermgtd.ports.scheduler import SchedulerView
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
)

NODE = NodeName("q1-dy-c5-1")
STATIC = NodeName("q1-st-c5-1")
OUTDATED = Criteria({KEY: frozenset({"lt-2"})})
CURRENT = Criteria({KEY: frozenset({"lt-1"})})


def step(
    state: str,
    *,
    reason: str = "",
    job: str = "",
    criteria: Criteria = OUTDATED,
    claim: ClaimState | None = ClaimState.READY,
    name: NodeName = NODE,
    begun: tuple[NodeName, ...] = (),
) -> Step:
    """Of one node, whose instance was launched a minute ago with template lt-1."""
    jobs = {j.id: j for j in ([a_job(1, [name], job)] if job else [])}
    view = SchedulerView({name: a_node(name, state, reason=reason)}, jobs)
    launch = a_launch(a_claim(name, claim, "i-1")) if claim else a_launch()
    placed = a_policy([NODE], static=(STATIC,)).nodes
    return look({name: placed[name]}, view, {launch.token: launch}, criteria, begun).steps[name]


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        ("IDLE+CLOUD", "", Step.NEXT),
        (RUNNING, "", Step.NEXT),
        # it boots with what was configured before: a drain now would requeue its job
        (POWERING_UP, "", Step.WAITING),
        (f"{RUNNING}+DRAIN", f"{MARK}: new image", Step.LEAVING),
        (f"{RUNNING}+POWER_DOWN", "", Step.LEAVING),
        (POWERING_DOWN, "", Step.LEAVING),
        ("IDLE+CLOUD+DRAIN", "maintenance", Step.LEFT_ALONE),
        ("IDLE+CLOUD+DRAIN", "", Step.LEFT_ALONE),
        ("DOWN+CLOUD", "broken fan", Step.LEFT_ALONE),
        # the daemon powers such nodes down by itself
        ("IDLE+CLOUD+DRAIN", "Kill task failed", Step.LEAVING),
        ("DOWN+CLOUD", "Not responding", Step.LEAVING),
    ],
)
def test_the_step_of_a_node_on_an_outdated_instance(state: str, reason: str, expected: Step) -> None:
    assert step(state, reason=reason) is expected


def test_a_node_on_what_is_configured_or_without_an_instance_is_current() -> None:
    assert step("IDLE+CLOUD", criteria=CURRENT) is Step.CURRENT
    assert step(POWERED_DOWN, claim=None) is Step.CURRENT
    assert step(POWERING_UP, claim=ClaimState.REQUESTED) is Step.CURRENT


def test_age_makes_a_node_outdated_too() -> None:
    assert step("IDLE+CLOUD", criteria=Criteria(CURRENT.templates, launched_before=NOW)) is Step.NEXT
    assert step("IDLE+CLOUD", criteria=Criteria(CURRENT.templates, launched_before=NOW - 61)) is Step.CURRENT


def test_a_job_that_waits_for_other_nodes_is_not_disturbed() -> None:
    assert step(RUNNING, job="CONFIGURING") is Step.WAITING
    assert step(RUNNING, job="RUNNING") is Step.NEXT


def test_when_idle_waits_for_the_end_of_a_job_a_suspended_one_too() -> None:
    gentle = Criteria(OUTDATED.templates, when_idle=True)
    assert step(RUNNING, job="RUNNING", criteria=gentle) is Step.WAITING
    assert step("IDLE+CLOUD", job="SUSPENDED", criteria=gentle) is Step.WAITING
    assert step("IDLE+CLOUD", criteria=gentle) is Step.NEXT


def test_a_static_node_that_was_replaced_counts_until_it_is_up() -> None:
    assert step(POWERED_DOWN, claim=None, name=STATIC, begun=(STATIC,)) is Step.RETURNING
    assert step("IDLE+CLOUD", criteria=CURRENT, name=STATIC, begun=(STATIC,)) is Step.CURRENT
    assert step(POWERED_DOWN, claim=None, name=STATIC) is Step.CURRENT
    assert step(POWERED_DOWN, claim=None, begun=(NODE,)) is Step.CURRENT


def test_no_more_than_so_many_are_away_and_idle_ones_go_first() -> None:
    names = [NodeName(f"q1-dy-c5-{n}") for n in range(1, 6)]
    steps = dict(zip(names, (Step.LEAVING, Step.NEXT, Step.NEXT, Step.RETURNING, Step.NEXT), strict=True))
    progress = Progress(steps, busy=frozenset({names[1]}))
    assert progress.drain_now(2) == []
    assert progress.drain_now(3) == [names[2]]
    assert progress.drain_now(9) == [names[2], names[4], names[1]]
    assert not progress.is_over
    assert Progress({names[0]: Step.CURRENT, names[1]: Step.LEFT_ALONE}).is_over


def test_nodes_are_selected_by_name_by_queue_or_all() -> None:
    placed = a_policy([NODE], static=(STATIC,)).nodes
    assert set(select(placed, ["q1-st-c5-1"], "")) == {STATIC}
    assert set(select(placed, None, "q1")) == {NODE, STATIC}
    assert set(select(placed, None, "q2")) == set()
    assert set(select(placed, None, "")) == {NODE, STATIC}
    with pytest.raises(KeyError):
        select(placed, ["q1-dy-c5-99"], "")
