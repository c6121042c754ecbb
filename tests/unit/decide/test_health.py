"""Ill instances: what is waited for, what is done once, and whose job goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clustermgtd.decide.plan import decide
from clustermgtd.model.action import DrainNodes, PowerDownNodes, Reason, SetNodesDown, TerminateInstances
from clustermgtd.model.claim import ClaimState
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.node_report import BootPhase, HealthTrouble, NodeReport, SlurmdTrouble
from clustermgtd.model.notice import Notice, NoticeKind, NoticeSource
from clustermgtd.model.policy import HealthPolicy
from clustermgtd.model.snapshot import Memory, Plan
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

(N1,) = dynamic(1)
ONE = InstanceId("i-1")
IDLE = "IDLE+CLOUD"
BOOT = HealthPolicy(boot_s={BootPhase.NODE_KNOWN: 60.0, BootPhase.SLURMD_STARTED: 120.0})


def impaired(for_s: float = 301.0) -> Notice:
    detail = "system status check fails"
    return Notice(
        "i-1/system", NoticeKind.IMPAIRED, NOW - for_s, NoticeSource.STATUS, (ONE,), matter="system", detail=detail
    )


UNWELL = NodeReport(ONE, health=HealthTrouble(NOW, 3, "checking\nGPU 2 is off the bus\n"))
SLURMD = NodeReport(ONE, slurmd=SlurmdTrouble(NOW, 5, 1))


def booted(*phases: BootPhase) -> NodeReport:
    return NodeReport(ONE, phases=dict.fromkeys(phases, NOW - 1.0))


def plan(
    state: str = IDLE,
    *notices: Notice,
    report: NodeReport | None = None,
    reason: str = "",
    claim: ClaimState = ClaimState.READY,
    health: HealthPolicy | None = None,
    memory: Memory | None = None,
    read_s_ago: float = 0.0,
) -> Plan:
    snapshot = a_snapshot(
        nodes=[a_node(N1, state, reason=reason)],
        jobs=[a_job(7, [N1], "RUNNING")] if state.startswith("ALLOCATED") else [],
        instances=[an_instance(ONE)],
        launches=[a_launch(a_claim(N1, claim, instance=ONE))],
        memory=memory,
    )
    snapshot = replace(
        snapshot,
        notices={ONE: notices} if notices else {},
        node_reports={ONE: report} if report else {},
        node_reports_at=NOW - read_s_ago,
    )
    return decide(snapshot, a_policy([N1], health=health or HealthPolicy()))


def done(made: Plan) -> list[tuple[type, Reason]]:
    kinds = (SetNodesDown, DrainNodes, PowerDownNodes, TerminateInstances)
    return [(type(action), action.reason) for action in made.actions if isinstance(action, kinds)]


class TestImpaired:
    def test_an_idle_node_goes_down_when_it_has_lasted(self) -> None:
        made = plan(IDLE, impaired())
        assert done(made) == [(SetNodesDown, Reason.IMPAIRED)]
        (failed,) = made.failed
        assert (failed.node, failed.instance, failed.detail) == (N1, ONE, "system status check fails")

    def test_before_that_it_is_only_waited_for(self) -> None:
        made = plan(IDLE, impaired(299.0))
        assert (done(made), made.failed, made.wake_at) == ([], (), NOW + 1.0)

    def test_a_job_may_end_on_a_draining_node(self) -> None:
        assert done(plan(RUNNING, impaired())) == [(DrainNodes, Reason.IMPAIRED)]
        assert done(plan("ALLOCATED+CLOUD+DRAIN", impaired(), reason="clustermgtd: impaired")) == []

    def test_and_then_the_node_goes_with_the_reason_that_drained_it(self) -> None:
        made = plan("IDLE+CLOUD+DRAIN", impaired(), reason="clustermgtd: impaired")
        assert done(made) == [(SetNodesDown, Reason.IMPAIRED)]

    def test_a_job_that_is_lost_anyway_is_requeued(self) -> None:
        made = plan("ALLOCATED+CLOUD+NOT_RESPONDING", impaired())
        assert done(made) == [(SetNodesDown, Reason.IMPAIRED)]
        assert 7 in made.memory.freed_jobs

    def test_an_operators_drain_is_read_only(self) -> None:
        assert done(plan("IDLE+CLOUD+DRAIN", impaired(), reason="bad dimm")) == []

    def test_for_ever_is_never(self) -> None:
        assert done(plan(IDLE, impaired(1e9), health=HealthPolicy(impaired_s=None))) == []


class TestReported:
    """By the node's agent; the times are ours, because a node's clock may be off."""

    def test_a_failed_health_check_is_acted_upon_at_once(self) -> None:
        made = plan(RUNNING, report=UNWELL)
        assert done(made) == [(DrainNodes, Reason.HEALTH_CHECK)]
        assert made.failed[0].detail == "the health check ends with 3: GPU 2 is off the bus"

    def test_slurmd_that_ends_again_and_again_is_waited_for(self) -> None:
        first = plan(IDLE, report=SLURMD)
        assert (done(first), first.wake_at) == ([], NOW + 300.0)
        assert first.memory.ill_since == {(ONE, "slurmd"): NOW}
        then = plan(IDLE, report=SLURMD, memory=Memory(ill_since={(ONE, "slurmd"): NOW - 300.0}))
        assert done(then) == [(SetNodesDown, Reason.SLURMD_FAILING)]

    def test_who_recovers_begins_anew(self) -> None:
        assert plan(IDLE, memory=Memory(ill_since={(ONE, "slurmd"): NOW - 300.0})).memory.ill_since == {}


class TestBoot:
    """Each phase has its own time, from when the daemon heard of the one before."""

    @pytest.mark.parametrize(
        ("phases", "last"),
        [
            ((BootPhase.NODE_KNOWN,), BootPhase.NODE_KNOWN),
            ((BootPhase.NODE_KNOWN, BootPhase.SLURMD_STARTED), BootPhase.SLURMD_STARTED),
        ],
    )
    def test_a_phase_that_lasts_too_long_ends_the_boot(self, phases: tuple[BootPhase, ...], last: BootPhase) -> None:
        limit_s = BOOT.boot_s[last] or 0.0
        memory = Memory(ill_since={(ONE, f"boot {last}"): NOW - limit_s})
        facts = {"report": booted(*phases), "claim": ClaimState.LAUNCHED, "health": BOOT}
        made = plan(POWERING_UP, memory=memory, **facts)  # type: ignore[arg-type]
        assert done(made) == [(SetNodesDown, Reason.BOOT_TIMEOUT)]
        assert 7 in made.memory.freed_jobs
        assert done(plan(POWERING_UP, **facts)) == []  # type: ignore[arg-type]

    def test_what_was_read_before_proves_nothing(self) -> None:
        memory = Memory(ill_since={(ONE, "boot node-known"): NOW - 65.0})
        report = booted(BootPhase.NODE_KNOWN)
        facts = {"report": report, "claim": ClaimState.LAUNCHED, "health": BOOT, "memory": memory}
        assert done(plan(POWERING_UP, read_s_ago=6.0, **facts)) == []  # type: ignore[arg-type]
        assert done(plan(POWERING_UP, read_s_ago=4.0, **facts)) == [(SetNodesDown, Reason.BOOT_TIMEOUT)]  # type: ignore[arg-type]

    @pytest.mark.parametrize(("limit_s", "expected"), [(None, []), (500.0, [(SetNodesDown, Reason.BOOT_TIMEOUT)])])
    def test_a_silent_agent_counts_only_where_the_site_says_so(
        self, limit_s: float | None, expected: list[object]
    ) -> None:
        health = HealthPolicy(agent_start_s=limit_s)
        assert done(plan(POWERING_UP, claim=ClaimState.LAUNCHED, health=health)) == expected

    def test_a_node_that_is_up_has_booted(self) -> None:
        memory = Memory(ill_since={(ONE, "boot node-known"): NOW - 900.0})
        made = plan(IDLE, report=booted(BootPhase.NODE_KNOWN), health=BOOT, memory=memory)
        assert done(made) == []


class TestRejected:
    """INVALID_REG."""

    STATE, WHY = "IDLE+CLOUD+DRAIN+INVALID_REG", "Low RealMemory (reported:1 < 100.00% of configured:2)"

    def test_it_leaves_at_once_and_its_console_is_wanted(self) -> None:
        made = plan(self.STATE, reason=self.WHY)
        assert done(made) == [(PowerDownNodes, Reason.UNHEALTHY)]
        assert made.failed[0].detail == self.WHY

    @pytest.mark.parametrize("limit_s", [60.0, None])
    def test_or_as_late_as_the_site_says(self, limit_s: float | None) -> None:
        made = plan(self.STATE, reason=self.WHY, health=HealthPolicy(invalid_registration_s=limit_s))
        assert (done(made), made.failed) == ([], ())


class TestKept:
    """For people to look at."""

    KEEP = HealthPolicy(keep_s=600.0)

    def test_an_idle_node_only_drains(self) -> None:
        made = plan(IDLE, impaired(), health=self.KEEP)
        assert done(made) == [(DrainNodes, Reason.IMPAIRED)]
        assert (made.memory.kept_since, made.wake_at) == ({ONE: NOW}, NOW + 600.0)

    @pytest.mark.parametrize("state", ["IDLE+CLOUD+DRAIN", "DOWN+CLOUD", "DOWN+CLOUD+NOT_RESPONDING"])
    def test_and_stays_so(self, state: str) -> None:
        made = plan(state, impaired(), reason="clustermgtd: impaired", health=self.KEEP)
        assert done(made) == []

    def test_one_that_does_not_answer_is_down_and_keeps_its_instance(self) -> None:
        made = plan("IDLE+CLOUD+NOT_RESPONDING", impaired(), health=self.KEEP)
        (down,) = [action for action in made.actions if isinstance(action, SetNodesDown)]
        assert not down.powers_down

    @pytest.mark.parametrize(("state", "action"), [("IDLE+CLOUD+DRAIN", SetNodesDown), ("DOWN+CLOUD", PowerDownNodes)])
    def test_until_its_time_is_over(self, state: str, action: type) -> None:
        memory = Memory(kept_since={ONE: NOW - 600.0})
        made = plan(state, impaired(), reason="clustermgtd: impaired", health=self.KEEP, memory=memory)
        assert [kind for kind, _ in done(made)] == [action]
