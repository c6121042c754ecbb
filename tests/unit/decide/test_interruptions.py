"""EC2 announces that it takes instances: what becomes of their nodes and jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest

from clustermgtd.decide.plan import decide
from clustermgtd.model.action import DrainNodes, PowerDownNodes, Reason, RecordOfferings, SetNodesDown
from clustermgtd.model.claim import ClaimState
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import InstanceId, InstanceType, JobId, SubnetId
from clustermgtd.model.instance import Instance
from clustermgtd.model.node_report import HookState, NodeReport
from clustermgtd.model.notice import Notice, NoticeAction, NoticeKind, NoticeSource
from clustermgtd.model.policy import Policy, RebalancePolicy
from clustermgtd.model.snapshot import Plan
from tests.builders import (
    NOW,
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
IDLE = "IDLE+CLOUD"


def a_notice(kind: NoticeKind = NoticeKind.SPOT_INTERRUPTION, **facts: object) -> Notice:
    facts.setdefault("action", NoticeAction.TERMINATE)
    facts.setdefault("effective_at", NOW + 118.0)
    return Notice("event-1", kind, NOW - 2.0, NoticeSource.QUEUE, (InstanceId("i-1"),), **facts)  # type: ignore[arg-type]


def spot(instance: str) -> Instance:
    return replace(
        an_instance(instance), is_spot=True, instance_type=InstanceType("c5.large"), subnet=SubnetId("subnet-1")
    )


def plan(
    notice: Notice | None,
    state: str = RUNNING,
    *,
    reason: str = "",
    claim: ClaimState = ClaimState.READY,
    policy: Policy | None = None,
    now: float = NOW,
    reports: Mapping[InstanceId, NodeReport] = MappingProxyType({}),
) -> Plan:
    """A job runs on two spot nodes, and the first one's instance is spoken of."""
    snapshot = a_snapshot(
        nodes=[a_node(N1, state, reason=reason), a_node(N2, RUNNING)],
        jobs=[a_job(7, [N1, N2], "RUNNING")],
        instances=[spot("i-1"), spot("i-2")],
        launches=[
            a_launch(a_claim(N1, claim, instance="i-1"), a_claim(N2, ClaimState.READY, instance="i-2")),
        ],
        now=now,
    )
    notices = {} if notice is None else {InstanceId("i-1"): (notice,)}
    return decide(replace(snapshot, notices=notices, node_reports=reports), policy or a_policy())


def done(made: Plan) -> list[tuple[type, tuple[str, ...], Reason]]:
    return [
        (type(action), action.nodes, action.reason)
        for action in made.actions
        if isinstance(action, SetNodesDown | DrainNodes | PowerDownNodes)
    ]


@pytest.mark.parametrize("state", [RUNNING, IDLE, POWERING_UP, "MIXED+CLOUD+POWER_DOWN", "ALLOCATED+CLOUD+COMPLETING"])
def test_the_node_goes_down_at_once_and_its_job_is_freed(state: str) -> None:
    made = plan(a_notice(), state, claim=ClaimState.LAUNCHED if state == POWERING_UP else ClaimState.READY)
    assert done(made) == [(SetNodesDown, (N1,), Reason.INTERRUPTION)]
    assert made.memory.freed_jobs == {JobId(7): (N2,)}


def test_people_read_what_ec2_does_and_when() -> None:
    (down,) = [action for action in plan(a_notice()).actions if isinstance(action, SetNodesDown)]
    assert down.detail == "EC2 will terminate the spot instance at 2023-11-14T22:15:18Z"


def test_the_offering_is_remembered_as_risky_once() -> None:
    (record,) = [action for action in plan(a_notice()).actions if isinstance(action, RecordOfferings)]
    (ban,) = record.offerings.bans
    assert (ban.scope.kind, ban.scope.market, ban.code) == (FailureKind.CAPACITY, "spot", "spot-interruption")
    assert ban.since == NOW - 2.0


@pytest.mark.parametrize("state", ["DOWN+CLOUD", "IDLE+CLOUD+POWERING_DOWN", "IDLE+CLOUD+POWERED_DOWN"])
def test_a_node_that_goes_already_is_not_set_down_again(state: str) -> None:
    assert all(kind is not SetNodesDown for kind, *_ in done(plan(a_notice(), state)))


def test_an_operators_mark_is_read_only() -> None:
    assert done(plan(a_notice(), "ALLOCATED+CLOUD+DRAIN", reason="bad dimm")) == []


def test_a_warning_that_is_called_off_changes_nothing() -> None:
    assert done(plan(a_notice(is_over=True))) == []


class TestLead:
    """A site lets jobs go on until half a minute before the end."""

    policy = a_policy(interruption_lead_s=30.0)

    def test_the_node_drains_first(self) -> None:
        assert done(plan(a_notice(), policy=self.policy)) == [(DrainNodes, (N1,), Reason.INTERRUPTION)]

    def test_a_draining_node_is_left_alone(self) -> None:
        draining = plan(a_notice(), "ALLOCATED+CLOUD+DRAIN", reason="clustermgtd: interruption", policy=self.policy)
        assert done(draining) == []

    def test_it_goes_down_in_time(self) -> None:
        made = plan(
            a_notice(),
            "ALLOCATED+CLOUD+DRAIN",
            reason="clustermgtd: interruption",
            policy=self.policy,
            now=NOW + 88.0,
        )
        assert done(made) == [(SetNodesDown, (N1,), Reason.INTERRUPTION)]

    def test_an_idle_node_has_nothing_to_wait_for(self) -> None:
        assert done(plan(a_notice(), IDLE, policy=self.policy)) == [(SetNodesDown, (N1,), Reason.INTERRUPTION)]

    def test_a_hibernation_begins_at_once(self) -> None:
        made = plan(a_notice(action=NoticeAction.HIBERNATE), policy=self.policy)
        assert done(made) == [(SetNodesDown, (N1,), Reason.INTERRUPTION)]

    def test_a_node_that_we_drained_before_a_restart_powers_down_when_its_job_has_ended(self) -> None:
        made = plan(None, "IDLE+CLOUD+DRAIN", reason="clustermgtd: interruption EC2 will", policy=self.policy)
        assert done(made) == [(PowerDownNodes, (N1,), Reason.MARK_LIFTED)]


class TestHook:
    """A site's program writes a checkpoint when its instance is taken."""

    policy = a_policy(has_interruption_hook=True)

    def plan(self, hook: HookState | None, state: str = RUNNING, *, left_s: float = 110.0) -> Plan:
        reports = {} if hook is None else {InstanceId("i-1"): NodeReport(InstanceId("i-1"), N1, hook=hook)}
        return plan(a_notice(effective_at=NOW + left_s), state, policy=self.policy, reports=reports)

    @pytest.mark.parametrize("hook", [None, HookState.NONE, HookState.RUNNING])
    @pytest.mark.parametrize("state", [RUNNING, IDLE])
    def test_the_node_drains_until_it_is_done(self, hook: HookState | None, state: str) -> None:
        assert done(self.plan(hook, state)) == [(DrainNodes, (N1,), Reason.INTERRUPTION)]

    @pytest.mark.parametrize("hook", [HookState.DONE, HookState.FAILED, HookState.KILLED])
    def test_then_the_job_is_requeued_at_once(self, hook: HookState) -> None:
        assert done(self.plan(hook)) == [(SetNodesDown, (N1,), Reason.INTERRUPTION)]

    def test_it_is_not_waited_for_to_the_last(self) -> None:
        assert done(self.plan(HookState.RUNNING, left_s=9.0)) == [(SetNodesDown, (N1,), Reason.INTERRUPTION)]


class TestRebalance:
    """Advice is followed as the site wishes."""

    @pytest.mark.parametrize(
        ("wish", "state", "expected"),
        [
            (RebalancePolicy.IGNORE, IDLE, []),
            (RebalancePolicy.IGNORE, RUNNING, []),
            (RebalancePolicy.DRAIN_IDLE, IDLE, [(PowerDownNodes, (N1,), Reason.REBALANCE)]),
            (RebalancePolicy.DRAIN_IDLE, RUNNING, []),
            (RebalancePolicy.REPLACE, IDLE, [(PowerDownNodes, (N1,), Reason.REBALANCE)]),
            (RebalancePolicy.REPLACE, RUNNING, [(DrainNodes, (N1,), Reason.REBALANCE)]),
            (RebalancePolicy.REPLACE, POWERING_UP, []),
        ],
    )
    def test_policy(self, wish: RebalancePolicy, state: str, expected: list[object]) -> None:
        notice = a_notice(NoticeKind.REBALANCE, action=NoticeAction.NONE, effective_at=None)
        claim = ClaimState.LAUNCHED if state == POWERING_UP else ClaimState.READY
        assert done(plan(notice, state, claim=claim, policy=a_policy(rebalance=wish))) == expected
