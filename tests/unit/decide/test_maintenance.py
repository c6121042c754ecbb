"""Scheduled events: what Slurm plans around, which nodes leave when, and what is left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clustermgtd.decide.maintenance import AFTER_S
from clustermgtd.decide.plan import decide
from clustermgtd.model.action import (
    DeleteReservation,
    DrainNodes,
    PowerDownNodes,
    Reason,
    SetNodesDown,
    SetReservation,
)
from clustermgtd.model.claim import ClaimState
from clustermgtd.model.ids import InstanceId, NodeName
from clustermgtd.model.notice import Notice, NoticeAction, NoticeKind, NoticeSource
from clustermgtd.model.policy import Policy
from clustermgtd.model.reservation import Reservation
from clustermgtd.model.snapshot import Memory, Plan
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

(N1,) = dynamic(1)
ONE = InstanceId("i-1")
NAME = "clustermgtd-maintenance-i-1"
IDLE = "IDLE+CLOUD"
DAY = 86_400.0
LEAD_S = 1800.0


def an_event(in_s: float | None = DAY, action: NoticeAction = NoticeAction.STOP, *, is_over: bool = False) -> Notice:
    at = None if in_s is None else NOW + in_s
    return Notice(
        "e-1",
        NoticeKind.SCHEDULED_EVENT,
        NOW - 5.0,
        NoticeSource.STATUS,
        (ONE,),
        action=action,
        effective_at=at,
        matter="e-1",
        is_over=is_over,
    )


def reserved(in_s: float = DAY, nodes: tuple[NodeName, ...] = (N1,)) -> Reservation:
    return Reservation(NAME, nodes, NOW + in_s - LEAD_S, NOW + in_s + AFTER_S)


def plan(
    event: Notice | None,
    state: str = RUNNING,
    *found: Reservation,
    reason: str = "",
    claim: ClaimState = ClaimState.READY,
    memory: Memory | None = None,
    policy: Policy | None = None,
) -> Plan:
    snapshot = a_snapshot(
        nodes=[a_node(N1, state, reason=reason)],
        jobs=[a_job(7, [N1], "RUNNING")] if state.startswith("ALLOCATED") else [],
        instances=[an_instance(ONE)],
        launches=[a_launch(a_claim(N1, claim, instance=ONE))],
        memory=memory,
    )
    notices = {} if event is None else {ONE: (event,)}
    snapshot = replace(snapshot, notices=notices, reservations={one.name: one for one in found})
    return decide(snapshot, policy or a_policy([N1]))


def done(made: Plan) -> list[object]:
    kinds = (SetNodesDown, DrainNodes, PowerDownNodes, SetReservation, DeleteReservation)
    return [
        action
        if isinstance(action, SetReservation | DeleteReservation)
        else (type(action), action.nodes, action.reason)
        for action in made.actions
        if isinstance(action, kinds)
    ]


class TestReservation:
    """Slurm's backfill plans around the event."""

    @pytest.mark.parametrize("state", [RUNNING, POWERING_UP, "MIXED+CLOUD"])
    def test_a_busy_node_is_reserved_from_a_lead_time_before(self, state: str) -> None:
        claim = ClaimState.LAUNCHED if state == POWERING_UP else ClaimState.READY
        made = plan(an_event(), state, claim=claim)
        assert done(made) == [SetReservation(reserved(), Reason.MAINTENANCE)]
        assert made.wake_at == NOW + DAY - LEAD_S

    def test_one_that_is_there_is_left_alone(self) -> None:
        assert done(plan(an_event(), RUNNING, reserved())) == []

    def test_it_follows_the_event(self) -> None:
        assert done(plan(an_event(2 * DAY), RUNNING, reserved())) == [
            SetReservation(reserved(2 * DAY), Reason.MAINTENANCE)
        ]

    def test_the_event_that_comes_first_counts(self) -> None:
        later = replace(an_event(3 * DAY), id="e-2", matter="e-2")
        snapshot = a_snapshot(
            nodes=[a_node(N1, RUNNING)],
            instances=[an_instance(ONE)],
            launches=[a_launch(a_claim(N1, ClaimState.READY, instance=ONE))],
        )
        made = decide(replace(snapshot, notices={ONE: (later, an_event())}), a_policy([N1]))
        assert done(made) == [SetReservation(reserved(), Reason.MAINTENANCE)]

    @pytest.mark.parametrize("state", [POWERING_DOWN, POWERED_DOWN])
    def test_it_goes_with_the_instance(self, state: str) -> None:
        assert done(plan(an_event(), state, reserved())) == [DeleteReservation(NAME)]

    def test_after_a_restart_it_waits_for_the_news_of_its_event(self) -> None:
        first = plan(None, RUNNING, reserved())
        assert done(first) == []
        policy = replace(a_policy([N1]), maintenance_forget_s=60.0)
        since = {NAME: NOW - 59.0}
        assert done(plan(None, RUNNING, reserved(), memory=Memory(unexplained_since=since), policy=policy)) == []
        assert first.memory.unexplained_since == {NAME: NOW}

    @pytest.mark.parametrize("event", [None, an_event(is_over=True)])
    def test_it_goes_when_the_event_is_over(self, event: Notice | None) -> None:
        memory = Memory(unexplained_since={NAME: NOW - 180.0})
        assert done(plan(event, RUNNING, reserved(), memory=memory)) == [DeleteReservation(NAME)]

    def test_one_of_an_instance_that_is_nobodys_goes_at_once(self) -> None:
        stranger = replace(reserved(), name="clustermgtd-maintenance-i-9")
        assert done(plan(None, RUNNING, stranger)) == [DeleteReservation(stranger.name)]

    def test_others_are_read_only(self) -> None:
        theirs = Reservation("maintenance-i-1", (N1,), NOW, NOW + DAY)
        assert done(plan(an_event(is_over=True), RUNNING, theirs)) == []


class TestNode:
    """Who leaves when."""

    def test_an_idle_node_leaves_at_once(self) -> None:
        assert done(plan(an_event(), IDLE)) == [(PowerDownNodes, (N1,), Reason.MAINTENANCE)]

    def test_a_static_one_too_and_comes_back(self) -> None:
        policy = a_policy([], static=(N1,))
        assert done(plan(an_event(), IDLE, policy=policy)) == [(PowerDownNodes, (N1,), Reason.MAINTENANCE)]

    def test_one_that_leaves_already_is_left_alone(self) -> None:
        assert done(plan(an_event(), f"{IDLE}+POWER_DOWN")) == []

    @pytest.mark.parametrize("in_s", [LEAD_S - 1.0, 130.0, -100.0, -AFTER_S - 1.0, None])
    def test_a_job_goes_on_on_a_draining_node_when_the_lead_time_has_begun(self, in_s: float | None) -> None:
        found = [] if in_s is None else [reserved(in_s)]
        assert done(plan(an_event(in_s), RUNNING, *found))[-1] == (DrainNodes, (N1,), Reason.MAINTENANCE)

    def test_a_draining_node_is_not_drained_again(self) -> None:
        state, reason = "ALLOCATED+CLOUD+DRAIN", "clustermgtd: maintenance"
        assert done(plan(an_event(100.0, NoticeAction.MAINTENANCE), state, reserved(100.0), reason=reason)) == []

    def test_and_leaves_when_its_job_has_ended(self) -> None:
        made = done(plan(an_event(100.0), "IDLE+CLOUD+DRAIN", reserved(100.0), reason="clustermgtd: maintenance"))
        assert made == [(PowerDownNodes, (N1,), Reason.MARK_LIFTED)]

    @pytest.mark.parametrize(
        "action", [NoticeAction.TERMINATE, NoticeAction.STOP, NoticeAction.REBOOT, NoticeAction.HIBERNATE]
    )
    def test_a_job_that_is_about_to_be_lost_is_requeued(self, action: NoticeAction) -> None:
        made = plan(
            an_event(119.0, action), "ALLOCATED+CLOUD+DRAIN", reserved(119.0), reason="clustermgtd: maintenance"
        )
        assert done(made) == [(SetNodesDown, (N1,), Reason.MAINTENANCE)]
        assert 7 in made.memory.freed_jobs

    def test_people_read_what_ec2_does_and_when(self) -> None:
        (drain,) = [a for a in plan(an_event(1000.0), RUNNING).actions if isinstance(a, DrainNodes)]
        assert drain.detail == "EC2 schedules stop of the instance from 2023-11-14T22:30:00Z"

    @pytest.mark.parametrize("state", ["ALLOCATED+CLOUD+DRAIN", "IDLE+CLOUD+DRAIN"])
    def test_an_operators_drain_is_read_only(self, state: str) -> None:
        assert done(plan(an_event(100.0), state, reserved(100.0), reason="bad dimm")) == []

    def test_an_event_that_is_called_off_changes_nothing(self) -> None:
        assert done(plan(an_event(100.0, is_over=True))) == []
