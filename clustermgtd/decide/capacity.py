"""Shapes launches: which nodes share a CreateFleet call, and whether the call is all or nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from clustermgtd.decide.job_tags import job_tags
from clustermgtd.model.claim import ClaimEvent, ClaimState, Launch, LaunchRequest, NodeClaim
from clustermgtd.model.ids import JobId, LaunchToken, NodeName
from clustermgtd.model.job import Job, JobTags
from clustermgtd.model.policy import ComputeResourceKey, ComputeResourcePolicy, Policy, ScalingStrategy
from clustermgtd.model.snapshot import Snapshot

MINIMUM_MAX = 1000
"""EC2's upper limit of MinTargetCapacity."""


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes of one compute resource that are launched together."""

    key: ComputeResourceKey
    nodes: tuple[NodeName, ...]
    jobs: tuple[JobId, ...]
    is_gang: bool
    """One job needs all of them at once."""
    job_tags: JobTags = JobTags()


def groups(wanted: Sequence[NodeName], snapshot: Snapshot, policy: Policy) -> list[Group]:
    """Wanted nodes by job and compute resource; multi-node jobs by priority, then the single nodes pooled."""
    owner = _owners(snapshot)
    gangs: dict[tuple[Job, ComputeResourceKey], list[NodeName]] = defaultdict(list)
    pooled: dict[ComputeResourceKey, list[NodeName]] = defaultdict(list)
    for name in wanted:
        key = policy.nodes[name].key
        job = owner.get(name)
        if job is not None and len(job.nodes) > 1:
            gangs[job, key].append(name)
        else:
            pooled[key].append(name)
    ordered = sorted(gangs.items(), key=lambda item: (-item[0][0].priority, len(item[1]), item[0][0].id))

    def group(key: ComputeResourceKey, nodes: list[NodeName], jobs: tuple[JobId, ...], is_gang: bool) -> Group:
        return Group(key, tuple(nodes), jobs, is_gang, job_tags(jobs, snapshot.jobs, policy.job_tags))

    return [
        *(group(key, nodes, (job.id,), True) for (job, key), nodes in ordered),
        *(
            group(key, nodes, tuple(sorted({owner[n].id for n in nodes if n in owner})), False)
            for key, nodes in sorted(pooled.items(), key=lambda item: (item[0].queue, item[0].name))
        ),
    ]


def _owners(snapshot: Snapshot) -> dict[NodeName, Job]:
    """The job that waits for a node; of several (shared nodes) the first by priority."""
    owner: dict[NodeName, Job] = {}
    waiting = [job for job in snapshot.jobs.values() if job.is_configuring]
    for job in sorted(waiting, key=lambda job: (-job.priority, job.id)):
        for name in job.nodes:
            owner.setdefault(name, job)
    return owner


def launches(wanted: Sequence[NodeName], snapshot: Snapshot, policy: Policy) -> list[Launch]:
    """New launches for the wanted nodes, tokens numbered from `snapshot.next_launch`."""
    made: list[Launch] = []
    for group in groups(wanted, snapshot, policy):
        compute_resource = policy.compute_resources[group.key]
        is_gang = (
            group.is_gang
            and policy.scaling is ScalingStrategy.ALL_OR_NOTHING
            and compute_resource.can_be_all_or_nothing
            and len(group.nodes) <= MINIMUM_MAX
        )
        size = len(group.nodes) if is_gang else policy.launch_batch_max
        for nodes in _batches(group.nodes, size):
            token = LaunchToken(f"{snapshot.token_prefix}{snapshot.next_launch + len(made)}")
            made.append(_launch(token, nodes, group, compute_resource, is_gang, snapshot.now))
    return made


def _launch(
    token: LaunchToken,
    nodes: tuple[NodeName, ...],
    group: Group,
    compute_resource: ComputeResourcePolicy,
    is_gang: bool,
    now: float,
) -> Launch:
    request = LaunchRequest(
        queue=group.key.queue,
        compute_resource=group.key.name,
        template=compute_resource.template,
        offerings=compute_resource.offerings,
        market=compute_resource.market,
        strategy=compute_resource.strategy,
        count=len(nodes),
        minimum=len(nodes) if is_gang else 1,
        max_price=compute_resource.max_price,
        jobs=group.jobs,
        job_tags=group.job_tags,
    )
    claims = tuple(
        NodeClaim(
            node,
            ClaimState.REQUESTED,
            now,
            history=(ClaimEvent(ClaimState.REQUESTED, now, "Slurm powers the node up"),),
        )
        for node in nodes
    )
    return Launch(token, request, now, claims)


def _batches(nodes: tuple[NodeName, ...], size: int) -> Iterator[tuple[NodeName, ...]]:
    rest = iter(sorted(nodes))
    while batch := tuple(islice(rest, size)):
        yield batch
