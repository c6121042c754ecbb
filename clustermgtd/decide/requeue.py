"""Jobs that lost a node by our hand: when Slurm's hold after the requeue may be lifted."""

from __future__ import annotations

from collections.abc import Collection

from clustermgtd.model.action import HoldNodes, LiftRequeueHold, SetNodesDown
from clustermgtd.model.ids import JobId, NodeName
from clustermgtd.model.job import Job
from clustermgtd.model.node import NodeFlag
from clustermgtd.model.snapshot import Snapshot

REQUEUE_HOLD_MAX_S = 125.0
"""slurmctld holds a requeued job for the life of a credential and a second, 121 s by default."""

HURRY_S = 2 * REQUEUE_HOLD_MAX_S
"""A requeued job that has not shown a hold for so long most likely has none; it is looked at without hurry."""


def freed(actions: list[SetNodesDown], snapshot: Snapshot) -> dict[JobId, tuple[NodeName, ...]]:
    """Jobs whose allocation a SetNodesDown of this plan breaks, with the rest of that allocation."""
    down = {node for action in actions for node in action.nodes}
    return {
        job.id: tuple(sorted(set(job.nodes) - down))
        for job in snapshot.jobs.values()
        if job.nodes and down & set(job.nodes)
    }


def overtaken(actions: list[HoldNodes], snapshot: Snapshot) -> dict[JobId, tuple[NodeName, ...]]:
    """Pending jobs that may take a node in the instant in which this plan drains it.

    slurmctld then requeues the job, with its hold, before it ran anywhere. Whoever is not held at the next look is
    forgotten there.
    """
    partitions = {p for action in actions for name in action.nodes for p in snapshot.nodes[name].partitions}
    return {
        job.id: ()
        for job in snapshot.jobs.values()
        if job.state == "PENDING" and not job.is_held_after_requeue and partitions & set(job.partition.split(","))
    }


def lifts(snapshot: Snapshot) -> tuple[list[LiftRequeueHold], dict[JobId, tuple[NodeName, ...]]]:
    """Holds that may be lifted now, and the jobs to look at again.

    The hold keeps a job from starting twice on nodes where it is still being cleaned up; once no surviving node of
    the old allocation is COMPLETING there is nothing left to wait for. A lift is repeated while the job is held,
    because slurmctld sets a fresh hold after one that came while the job itself was COMPLETING. A requeued job is
    looked at until it starts, because it may show the hold late, or another reason before. A daemon that has just
    started does not know whose requeue a hold is, so it looks at every job with one; a later begin is a user's wish.
    """
    due: list[LiftRequeueHold] = []
    waiting: dict[JobId, tuple[NodeName, ...]] = {}
    for job_id, nodes in sorted((_inherited(snapshot) | dict(snapshot.memory.freed_jobs)).items()):
        job = snapshot.jobs.get(job_id)
        may_be_held = job is not None and job.state == "PENDING" and job.restarts > 0
        if job is None or not (may_be_held or job.state == "COMPLETING"):
            continue
        still_completing = any(
            NodeFlag.COMPLETING in node.flags for name in nodes if (node := snapshot.nodes.get(name)) is not None
        )
        if job.is_held_after_requeue and not still_completing:
            due.append(LiftRequeueHold(job_id))
        waiting[job_id] = nodes
    return due, waiting


def freed_at(jobs: Collection[JobId], freed_now: Collection[JobId], snapshot: Snapshot) -> dict[JobId, float]:
    """For each of the jobs to look at again, when there was last a reason to expect its hold."""
    known = snapshot.memory.freed_at
    return {
        id: snapshot.now if id in freed_now or _is_on_its_way(snapshot.jobs.get(id)) else known.get(id, snapshot.now)
        for id in jobs
    }


def _is_on_its_way(job: Job | None) -> bool:
    return job is not None and (job.state == "COMPLETING" or job.is_held_after_requeue)


def _inherited(snapshot: Snapshot) -> dict[JobId, tuple[NodeName, ...]]:
    if not snapshot.memory.is_new:
        return {}
    return {
        job.id: ()
        for job in snapshot.jobs.values()
        if job.state == "COMPLETING"
        or (job.is_held_after_requeue and job.begins_at <= snapshot.now + REQUEUE_HOLD_MAX_S)
    }
