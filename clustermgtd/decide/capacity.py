"""Shapes launches: which nodes share a CreateFleet call, and whether the call is all or nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from clustermgtd.decide.job_tags import job_tags
from clustermgtd.model.claim import ClaimEvent, ClaimState, Gang, Launch, LaunchRequest, NodeClaim
from clustermgtd.model.ids import LaunchToken, NodeName
from clustermgtd.model.job import Job
from clustermgtd.model.policy import ComputeResourceKey, ComputeResourcePolicy, Policy, ScalingStrategy
from clustermgtd.model.snapshot import Snapshot

MINIMUM_MAX = 1000
"""EC2's upper limit of MinTargetCapacity."""
SHARING_GANG_MAX = 32
"""Nodes of the largest gang that shares a launch. When a shared launch comes short, fewer instances than the smallest
gang that was not served are launched in vain."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Nodes of one compute resource that are launched together."""

    key: ComputeResourceKey
    gangs: tuple[Gang, ...] = ()
    """In the order in which they are served."""
    others: tuple[NodeName, ...] = ()
    """Nodes that no job waits for."""

    @property
    def size(self) -> int:
        return len(self.others) + sum(len(gang.nodes) for gang in self.gangs)

    @property
    def nodes(self) -> list[NodeName]:
        return sorted([*self.others, *(node for gang in self.gangs for node in gang.nodes)])


def batches(wanted: Sequence[NodeName], snapshot: Snapshot, policy: Policy) -> list[Batch]:
    """What each launch is for: jobs of several nodes by priority, then jobs of one node, then nodes without a job.

    Small gangs of one compute resource share launches, so that many jobs cost few calls.
    """
    owner = _owners(snapshot)
    members: dict[tuple[ComputeResourceKey, Job], list[NodeName]] = defaultdict(list)
    others: dict[ComputeResourceKey, list[NodeName]] = defaultdict(list)
    for name in sorted(wanted):
        key = policy.nodes[name].key
        if name in owner:
            members[key, owner[name]].append(name)
        else:
            others[key].append(name)
    by_priority = sorted(members.items(), key=lambda m: (-m[0][1].priority, len(m[1]), m[0][1].id))
    gangs = [(key, part) for (key, job), nodes in by_priority for part in _gangs(job, nodes, policy)]
    return [
        *_shared((item for item in gangs if len(item[1].nodes) > 1), policy.launch_batch_max),
        *_shared((item for item in gangs if len(item[1].nodes) == 1), policy.launch_batch_max),
        *(
            Batch(key, others=nodes)
            for key, names in sorted(others.items(), key=lambda item: (item[0].queue, item[0].name))
            for nodes in _cut(names, policy.launch_batch_max)
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


def _gangs(job: Job, nodes: Sequence[NodeName], policy: Policy) -> Iterator[Gang]:
    """The nodes that one job waits for, in parts if the job takes parts or EC2 cannot launch them in one call."""
    takes_part = policy.scaling is ScalingStrategy.BEST_EFFORT or len(nodes) > MINIMUM_MAX
    for part in _cut(nodes, policy.launch_batch_max if takes_part else MINIMUM_MAX):
        yield Gang(job.id, part, takes_part)


def _shared(gangs: Iterable[tuple[ComputeResourceKey, Gang]], size_max: int) -> list[Batch]:
    """Gangs in launches, in order: a small one joins the newest launch of small ones if there is room."""
    made: list[Batch] = []
    newest: dict[ComputeResourceKey, int] = {}
    for key, gang in gangs:
        place = newest.get(key)
        is_small = len(gang.nodes) <= SHARING_GANG_MAX
        if is_small and place is not None and made[place].size + len(gang.nodes) <= size_max:
            made[place] = replace(made[place], gangs=(*made[place].gangs, gang))
            continue
        if is_small:
            newest[key] = len(made)
        made.append(Batch(key, (gang,)))
    return made


def launches(wanted: Sequence[NodeName], snapshot: Snapshot, policy: Policy) -> list[Launch]:
    """New launches for the wanted nodes, tokens numbered from `snapshot.next_launch`."""
    made: list[Launch] = []
    for batch in batches(wanted, snapshot, policy):
        token = LaunchToken(f"{snapshot.token_prefix}{snapshot.next_launch + len(made)}")
        made.append(_launch(token, batch, snapshot, policy))
    return made


def _launch(token: LaunchToken, batch: Batch, snapshot: Snapshot, policy: Policy) -> Launch:
    now = snapshot.now
    jobs = tuple(sorted({gang.job for gang in batch.gangs}))
    compute_resource = policy.compute_resources[batch.key]
    request = LaunchRequest(
        queue=batch.key.queue,
        compute_resource=batch.key.name,
        template=compute_resource.template,
        offerings=compute_resource.offerings,
        market=compute_resource.market,
        strategy=compute_resource.strategy,
        count=batch.size,
        minimum=batch.size if _is_all_or_nothing(batch, compute_resource, policy) else 1,
        max_price=compute_resource.max_price,
        jobs=jobs,
        job_tags=job_tags(jobs, snapshot.jobs, policy.job_tags),
    )
    claims = tuple(
        NodeClaim(
            node,
            ClaimState.REQUESTED,
            now,
            history=(ClaimEvent(ClaimState.REQUESTED, now, "Slurm powers the node up"),),
        )
        for node in batch.nodes
    )
    return Launch(token, request, now, claims, gangs=batch.gangs)


def _is_all_or_nothing(batch: Batch, compute_resource: ComputeResourcePolicy, policy: Policy) -> bool:
    """EC2 itself sees to it. It cannot for several gangs at once: those are served from what arrives."""
    return (
        policy.scaling is ScalingStrategy.ALL_OR_NOTHING
        and compute_resource.can_be_all_or_nothing
        and len(batch.gangs) == 1
        and not batch.gangs[0].takes_part
    )


def _cut(nodes: Sequence[NodeName], size: int) -> Iterator[tuple[NodeName, ...]]:
    for start in range(0, len(nodes), size):
        yield tuple(nodes[start : start + size])
