"""Jobs that wait for a protected queue say why: in their AdminComment, as `scontrol show job` prints it."""

from __future__ import annotations

from dataclasses import dataclass

from clustermgtd.decide.protection import Protection
from clustermgtd.model.action import ExplainJobs, Reason
from clustermgtd.model.ids import JobId, QueueName
from clustermgtd.model.job import Job
from clustermgtd.model.node import PROTECTED_MARK
from clustermgtd.model.policy import Policy
from clustermgtd.model.snapshot import Snapshot

TOLD_MAX = 200
"""Jobs that say it at a time, the oldest; they are stored, so that what they say is taken back in any case."""
UPDATES_MAX = 20
"""In one decision. slurmctld forgets a job's shown reason with each update, until its next scheduling pass."""


@dataclass(frozen=True, slots=True)
class Explanations:
    """Who is told what, and who will have been told after this decision."""

    actions: list[ExplainJobs]
    told: tuple[JobId, ...]


def explanations(protection: Protection, snapshot: Snapshot, policy: Policy) -> Explanations:
    """Pending jobs whose every queue has nothing but protected compute resources are told; others are not any more.

    A job that is not known any more needs no update.
    """
    stored = snapshot.safeguards.told
    queues = _blocked(protection, policy)
    if not queues and not stored:
        return Explanations([], ())
    waiting = {job.id: _queues(job) for job in snapshot.jobs.values() if _waits(job, queues)}
    wanted = sorted(waiting)[:TOLD_MAX]
    over = [job for job in stored if job not in waiting]
    cleared = [job for job in over if job in snapshot.jobs][:UPDATES_MAX]
    kept = [job for job in stored if job in waiting or (job in snapshot.jobs and job not in cleared)]
    fresh = [job for job in wanted if job not in stored][: min(UPDATES_MAX, TOLD_MAX - len(kept))]
    actions = [ExplainJobs(tuple(cleared), "", Reason.MARK_LIFTED)] if cleared else []
    for names in sorted({waiting[job] for job in fresh}):
        text = f"{PROTECTED_MARK}: instances of queue {', '.join(names)} start and do not become nodes; sinfo -R"
        actions.append(ExplainJobs(tuple(job for job in fresh if waiting[job] == names), text))
    return Explanations(actions, tuple(sorted([*kept, *fresh])))


def _blocked(protection: Protection, policy: Policy) -> frozenset[QueueName]:
    """Queues of which every compute resource is protected."""
    protected = {(record.queue, record.compute_resource) for record in protection.boots if record.is_protected}
    free = {key.queue for key in policy.compute_resources if (key.queue, key.name) not in protected}
    return frozenset(queue for queue, _ in protected) - free


def _queues(job: Job) -> tuple[QueueName, ...]:
    return tuple(QueueName(name) for name in job.partition.split(","))


def _waits(job: Job, queues: frozenset[QueueName]) -> bool:
    return job.state == "PENDING" and queues.issuperset(_queues(job))
