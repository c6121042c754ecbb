"""Shapes launches: which nodes share a CreateFleet call, and whether the call is all or nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from clustermgtd.decide.gangs import KeptGangs, first_zone, rank
from clustermgtd.decide.job_tags import job_tags
from clustermgtd.decide.offerings import NAMED_MAX, Availability, Choice, sentence
from clustermgtd.decide.tiers import began_at
from clustermgtd.model.action import Reason, SetNodesDown, StartLaunch
from clustermgtd.model.claim import ClaimEvent, ClaimState, Gang, Launch, LaunchRequest, NodeClaim
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import JobId, LaunchToken, NodeName
from clustermgtd.model.job import Job
from clustermgtd.model.offering import Offering
from clustermgtd.model.offering_memory import Fall
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
    def kept(self) -> Gang | None:
        """The one gang of a launch for a job that keeps what arrived."""
        return self.gangs[0] if self.gangs and self.gangs[0].is_kept else None

    @property
    def nodes(self) -> list[NodeName]:
        return sorted([*self.others, *(node for gang in self.gangs for node in gang.nodes)])


def batches(
    wanted: Sequence[NodeName], snapshot: Snapshot, policy: Policy, topped_up: frozenset[JobId] = frozenset()
) -> list[Batch]:
    """What each launch is for: jobs of several nodes in the policy's order, then jobs of one node, then nodes without
    a job. The first of all are jobs that have a part of their nodes (`topped_up`).

    Small gangs of one compute resource that do not keep parts share launches, so that many jobs cost few calls.
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
    in_order = sorted(members.items(), key=lambda m: (m[0][1].id not in topped_up, *rank(m[0][1], policy.gangs)))
    gangs = [
        (key, part)
        for (key, job), nodes in in_order
        for part in _gangs(job, nodes, policy, is_top_up=job.id in topped_up)
    ]
    return [
        *_shared((item for item in gangs if item[1].is_kept or len(item[1].nodes) > 1), policy.launch_batch_max),
        *_shared((item for item in gangs if not item[1].is_kept and len(item[1].nodes) == 1), policy.launch_batch_max),
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


def _gangs(job: Job, nodes: Sequence[NodeName], policy: Policy, *, is_top_up: bool) -> Iterator[Gang]:
    """The nodes that one job waits for, in parts if the job takes parts."""
    if policy.gangs.keeps(len(job.nodes)):
        for part in _cut(nodes, policy.launch_batch_max):
            yield Gang(job.id, part, takes_part=True, is_kept=True, restarts=job.restarts, is_top_up=is_top_up)
        return
    takes_part = policy.scaling is ScalingStrategy.BEST_EFFORT
    for part in _cut(nodes, policy.launch_batch_max if takes_part else MINIMUM_MAX):
        yield Gang(job.id, part, takes_part)


def _shared(gangs: Iterable[tuple[ComputeResourceKey, Gang]], size_max: int) -> list[Batch]:
    """Gangs in launches, in order: a small one joins the newest launch of small ones if there is room."""
    made: list[Batch] = []
    newest: dict[ComputeResourceKey, int] = {}
    for key, gang in gangs:
        place = newest.get(key)
        is_small = len(gang.nodes) <= SHARING_GANG_MAX and not gang.is_kept
        if is_small and place is not None and made[place].size + len(gang.nodes) <= size_max:
            made[place] = replace(made[place], gangs=(*made[place].gangs, gang))
            continue
        if is_small:
            newest[key] = len(made)
        made.append(Batch(key, (gang,)))
    return made


@dataclass(frozen=True, slots=True)
class Shaped:
    """What becomes of the wanted nodes; those in neither part wait for the answer to a probe."""

    starts: tuple[StartLaunch, ...] = ()
    refused: tuple[SetNodesDown, ...] = ()
    """Nodes for which EC2 has nothing before some ban ends: they get their answer without a call."""
    falls: tuple[Fall, ...] = ()
    """Compute resources that go on to a lower tier, without an end yet."""
    wake_at: float = float("inf")
    """When the first of the nodes that wait has waited long enough for a tier."""

    @property
    def nodes(self) -> frozenset[NodeName]:
        """Those that are asked for."""
        return frozenset(claim.node for start in self.starts for claim in start.launch.claims)


def launches(
    wanted: Sequence[NodeName],
    snapshot: Snapshot,
    policy: Policy,
    availability: Availability,
    gangs: KeptGangs,
    since: Mapping[NodeName, float],
) -> Shaped:
    """New launches for the wanted nodes, tokens numbered from `snapshot.next_launch`. `since` is `wanted_since`."""
    starts: list[StartLaunch] = []
    refused: list[SetNodesDown] = []
    falls: list[Fall] = []
    wake_at = float("inf")
    zones = dict(gangs.zones)
    ages = _Ages(snapshot, since)
    all_batches = batches(wanted, snapshot, policy, gangs.topped_up)
    sizes = Counter[JobId]()
    lacking: dict[JobId, set[ComputeResourceKey]] = defaultdict(set)
    for batch in all_batches:
        if batch.kept is not None:
            sizes[batch.kept.job] += batch.size
            lacking[batch.kept.job].add(batch.key)
    for batch in _by_tier(all_batches, ages, policy, availability):
        compute_resource = policy.compute_resources[batch.key]
        began = ages.of(batch)
        scope = availability
        if batch.kept is not None:
            job = batch.kept.job
            if not zones.get(job):
                others = [policy.compute_resources[key] for key in sorted(lacking[job] - {batch.key}, key=str)]
                anywhere = availability.choose(compute_resource, since=began)
                zones[job] = first_zone(compute_resource, others, availability, anywhere, sizes[job])
            scope = availability.within(zones[job], compute_resource)
        choice = scope.choose(compute_resource, _needed(batch), began)
        if choice.is_probe:
            batch = _probe(batch, policy.bans.probe_nodes)
            choice = scope.choose(compute_resource, _needed(batch), began)
        if choice.bans:
            ours = tuple(
                node
                for node in batch.nodes
                if node not in gangs.waiting and not snapshot.nodes[node].is_marked_by_others
            )
            detail = sentence(choice.bans, max(NAMED_MAX, len(compute_resource.tiers)))
            is_protected = any(ban.scope.kind is FailureKind.BOOTSTRAP for ban in choice.bans)
            why = Reason.PROTECTED if is_protected else Reason.NO_CAPACITY
            refused += [SetNodesDown(ours, why, detail)] if ours else []
        if not choice.offerings:
            wake_at = min(wake_at, choice.wait_until)
            continue
        if choice.passed and scope is availability:  # one zone's refusals are no reason to go on for all
            falls.append(_fall(batch, choice, compute_resource, snapshot.now))
        token = LaunchToken(f"{snapshot.token_prefix}{snapshot.next_launch + len(starts)}")
        launch = _launch(token, batch, snapshot, policy, choice)
        availability = availability.after(launch)
        starts.append(StartLaunch(launch, Reason.PROBE if choice.is_probe else _why(batch, policy)))
    return Shaped(tuple(starts), tuple(refused), tuple(falls), wake_at)


@dataclass(frozen=True, slots=True)
class _Ages:
    """Since when demands exist."""

    snapshot: Snapshot
    since: Mapping[NodeName, float]

    def of(self, batch: Batch) -> float:
        """The beginning of the oldest demand in it, epoch seconds."""
        jobs, now = self.snapshot.jobs, self.snapshot.now
        of_gangs = [began_at(gang.nodes, jobs.get(gang.job), self.since, now) for gang in batch.gangs]
        return min([*of_gangs, *(began_at((node,), None, self.since, now) for node in batch.others)])


def _by_tier(batches: Iterable[Batch], ages: _Ages, policy: Policy, availability: Availability) -> Iterator[Batch]:
    """The batches in parts, so that no demand is asked for in another tier, or waits longer, because of another one."""
    for batch in batches:
        compute_resource = policy.compute_resources[batch.key]
        if not compute_resource.is_tiered or batch.kept is not None:
            yield batch
            continue
        parts: dict[tuple[int, bool, bool], Batch] = {}
        choices: dict[tuple[int, float], Choice] = {}
        singles = (Batch(batch.key, others=(node,)) for node in batch.others)
        for single in (*(Batch(batch.key, (gang,)) for gang in batch.gangs), *singles):
            asked = (_needed(single), ages.of(single))
            if asked not in choices:
                choices[asked] = availability.choose(compute_resource, *asked)
            choice = choices[asked]
            which = (choice.tier, bool(choice.offerings), choice.is_waiting)
            part = parts.get(which, Batch(batch.key))
            parts[which] = Batch(batch.key, (*part.gangs, *single.gangs), (*part.others, *single.others))
        yield from parts.values()


def _fall(batch: Batch, choice: Choice, compute_resource: ComputeResourcePolicy, now: float) -> Fall:
    return Fall(
        batch.key.queue,
        batch.key.name,
        choice.tier,
        count=_needed(batch),
        since=now,
        until=now,
        configuration=compute_resource.configuration,
        cause=sentence(choice.passed, max(NAMED_MAX, choice.tier)),
    )


def _needed(batch: Batch) -> int:
    """How many instances at once are of use at all."""
    if batch.others or any(gang.takes_part for gang in batch.gangs):
        return 1
    return min(len(gang.nodes) for gang in batch.gangs)


def _probe(batch: Batch, size: int) -> Batch:
    """The part of a batch that tries whether a ban is over: the first job if it takes all or nothing, else `size`
    nodes. The rest waits for the answer."""
    if not batch.gangs:
        return Batch(batch.key, others=batch.others[:size])
    first = batch.gangs[0]
    return Batch(batch.key, (replace(first, nodes=first.nodes[:size]) if first.takes_part else first,))


def _why(batch: Batch, policy: Policy) -> Reason:
    if batch.kept is not None and batch.kept.is_top_up:
        return Reason.TOP_UP
    is_static = all(policy.nodes[node].is_static for node in batch.nodes)
    return Reason.STATIC if is_static else Reason.DEMAND


def _launch(token: LaunchToken, batch: Batch, snapshot: Snapshot, policy: Policy, choice: Choice) -> Launch:
    now = snapshot.now
    jobs = tuple(sorted({gang.job for gang in batch.gangs}))
    tier = policy.compute_resources[batch.key].tiers[choice.tier]
    request = LaunchRequest(
        queue=batch.key.queue,
        compute_resource=batch.key.name,
        template=tier.template,
        offerings=choice.offerings,
        market=tier.market,
        strategy=tier.strategy,
        count=batch.size,
        minimum=batch.size if _is_all_or_nothing(batch, choice.offerings, policy) else 1,
        max_price=tier.max_price,
        jobs=jobs,
        job_tags=job_tags(jobs, snapshot.jobs, policy.job_tags),
        tier=choice.tier,
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


def _is_all_or_nothing(batch: Batch, offerings: Sequence[Offering], policy: Policy) -> bool:
    """EC2 itself sees to it: with one instance type or one zone (here: one subnet), and not for several gangs at once.
    Those are served from what arrives."""
    is_simple = len({o.instance_type for o in offerings}) == 1 or len({o.subnet for o in offerings}) == 1
    return (
        policy.scaling is ScalingStrategy.ALL_OR_NOTHING
        and is_simple
        and len(batch.gangs) == 1
        and not batch.gangs[0].takes_part
    )


def _cut(nodes: Sequence[NodeName], size: int) -> Iterator[tuple[NodeName, ...]]:
    for start in range(0, len(nodes), size):
        yield tuple(nodes[start : start + size])
