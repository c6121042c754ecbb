"""Given jobs that wait for a protected queue, who is told why, and when that is taken back."""

from __future__ import annotations

from dataclasses import replace

from clustermgtd.decide.explanations import TOLD_MAX, UPDATES_MAX
from clustermgtd.decide.plan import decide
from clustermgtd.model.action import ExplainJobs, Reason
from clustermgtd.model.ids import ComputeResourceName, JobId, QueueName
from clustermgtd.model.job import Job
from clustermgtd.model.node import PROTECTED_MARK
from clustermgtd.model.policy import ComputeResourceKey, Policy
from clustermgtd.model.safeguards import BootRecord, ProtectionPolicy, Safeguards
from clustermgtd.model.snapshot import Plan, Snapshot
from tests.builders import KEY, NOW, a_policy, a_snapshot

PROTECTED = BootRecord(KEY.queue, KEY.name, 12, since=NOW - 50, until=NOW + 50, cause="ResumeTimeout")
RULES = a_policy([], protection=ProtectionPolicy(12, (100.0,)))


def waiting(*ids: int, partition: str = "q1", state: str = "PENDING") -> list[Job]:
    return [Job(JobId(id), state, "Resources", QueueName(partition)) for id in ids]


def seen(jobs: list[Job], *told: int, record: BootRecord | None = PROTECTED) -> Snapshot:
    boots = () if record is None else (record,)
    return replace(a_snapshot(jobs=jobs), safeguards=Safeguards(boots=boots, told=tuple(map(JobId, told)), version=1))


def explained(plan: Plan) -> list[ExplainJobs]:
    return [action for action in plan.actions if isinstance(action, ExplainJobs)]


def test_a_job_that_waits_for_a_protected_queue_is_told_once() -> None:
    plan = decide(seen(waiting(7, 8)), RULES)
    (told,) = explained(plan)
    assert (told.jobs, told.reason) == ((7, 8), Reason.PROTECTED)
    assert told.text.startswith(f"{PROTECTED_MARK}: instances of queue q1 start and do not become nodes")
    assert plan.safeguards.told == (7, 8)
    assert explained(decide(replace(seen(waiting(7, 8)), safeguards=plan.safeguards), RULES)) == []


def test_who_may_start_elsewhere_is_not_told() -> None:
    other = ComputeResourceKey(KEY.queue, ComputeResourceName("m5"))
    roomy: Policy = replace(
        RULES,
        compute_resources={**RULES.compute_resources, other: replace(RULES.compute_resources[KEY], key=other)},
    )
    assert explained(decide(seen(waiting(7)), roomy)) == []
    assert explained(decide(seen(waiting(7, partition="q1,q2")), RULES)) == []
    assert explained(decide(seen(waiting(7, partition="q2")), RULES)) == []
    assert explained(decide(seen(waiting(7, state="RUNNING")), RULES)) == []


def test_it_is_taken_back_when_the_protection_ends_or_the_job_does_not_wait_any_more() -> None:
    for snapshot in (seen(waiting(7), 7, record=None), seen(waiting(7, state="RUNNING"), 7)):
        plan = decide(snapshot, RULES)
        assert explained(plan) == [ExplainJobs((JobId(7),), "", Reason.MARK_LIFTED)]
        assert plan.safeguards.told == ()


def test_a_job_that_is_gone_costs_no_update() -> None:
    plan = decide(seen([], 7), RULES)
    assert explained(plan) == []
    assert plan.safeguards.told == ()


def test_so_many_at_a_time_and_so_many_in_all() -> None:
    jobs = waiting(*range(1, TOLD_MAX + 50))
    snapshot, told = seen(jobs), 0
    while actions := explained(plan := decide(snapshot, RULES)):
        (action,) = actions
        assert len(action.jobs) <= UPDATES_MAX
        told += len(action.jobs)
        snapshot = replace(snapshot, safeguards=plan.safeguards)
    assert told == len(plan.safeguards.told) == TOLD_MAX
    over = decide(replace(snapshot, safeguards=replace(plan.safeguards, boots=())), RULES)
    assert [len(action.jobs) for action in explained(over)] == [UPDATES_MAX]
    assert len(over.safeguards.told) == TOLD_MAX - UPDATES_MAX
