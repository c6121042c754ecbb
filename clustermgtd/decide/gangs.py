"""Jobs that keep what arrived: what is asked for again, in which zone, for how long the rest is waited for.

A job that EC2 gave fewer instances than it has nodes keeps them while the rest may still come, within a time and a sum
of money. Its claims without an instance stay LAUNCH_FAILED meanwhile, until something can be asked for again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from clustermgtd.decide.bans import zone_of
from clustermgtd.decide.offerings import Availability, Choice, sentence
from clustermgtd.decide.tiers import began_at
from clustermgtd.model.action import Reason, SetNodesDown
from clustermgtd.model.claim import BACKED, ClaimState, Gang, Launch, NodeClaim, advance
from clustermgtd.model.failure import RETRIED, FailureKind
from clustermgtd.model.gang import GangEnd, GangOrder, GangPolicy, HeldGang, ShortGang
from clustermgtd.model.ids import JobId, LaunchToken, NodeName
from clustermgtd.model.job import Job
from clustermgtd.model.offering import Offering
from clustermgtd.model.policy import ComputeResourceKey, ComputeResourcePolicy, Policy
from clustermgtd.model.snapshot import Snapshot

PASSING = frozenset({FailureKind.CAPACITY, FailureKind.QUOTA, FailureKind.SUBNET_ADDRESSES})
"""Kinds of bans whose end is worth waiting for."""
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class KeptGangs:
    """What one decision does about jobs that keep what arrived."""

    held: tuple[HeldGang, ...] = ()
    """For the plan: those that are short, and those that were until now."""
    short: tuple[ShortGang, ...] = ()
    """To be stored."""
    zones: Mapping[JobId, str] = field(default_factory=dict)
    """Where jobs have, or asked for, instances; further ones are asked for there."""
    waiting: frozenset[NodeName] = frozenset()
    """Nodes without an instance that are not given back to Slurm now."""
    again: frozenset[NodeName] = frozenset()
    """Those of them that EC2 refused a while ago: they can be asked for again."""
    released: tuple[SetNodesDown, ...] = ()
    """Nodes of jobs whose hold is over."""

    @property
    def given_up(self) -> frozenset[NodeName]:
        """Nodes for which nothing is asked any more."""
        return frozenset(node for action in self.released for node in action.nodes)

    @property
    def topped_up(self) -> frozenset[JobId]:
        """Jobs that are short and wait: they are served before others, because what they have costs money."""
        return frozenset(held.gang.job for held in self.held if held.end is None)

    def wanted(self, unclaimed: Iterable[NodeName]) -> list[NodeName]:
        """Nodes to ask for: those without a claim, and those to ask for again."""
        return sorted((set(unclaimed) | self.again) - self.given_up)


def kept_gangs(
    launches: Mapping[LaunchToken, Launch],
    snapshot: Snapshot,
    policy: Policy,
    availability: Availability,
    since: Mapping[NodeName, float],
) -> KeptGangs:
    """How it stands with every job that is kept and waits for its nodes. `since` is `wanted_since`."""
    jobs = {job.id: job for job in snapshot.jobs.values() if job.is_configuring and policy.gangs.keeps(len(job.nodes))}
    known = {gang.job: gang for gang in snapshot.offerings.short}
    if not jobs and not known:
        return KeptGangs()
    inventory = _inventory(jobs, launches, snapshot, policy)
    verdicts = [
        _verdict(_Standing(job, inventory[id], known.get(id), snapshot, policy, since), availability)
        for id, job in sorted(jobs.items())
    ]
    judged = {verdict.held.gang for verdict in verdicts if verdict.held}
    past = [_past(gang, snapshot) for gang in snapshot.offerings.short if gang not in judged]
    held = [verdict.held for verdict in verdicts if verdict.held]
    return KeptGangs(
        held=tuple(sorted([*held, *past], key=lambda held: held.gang)),
        short=tuple(sorted(held.gang for held in held if held.end is not GangEnd.COMPLETE)),
        zones={id: parts.zone for id, parts in inventory.items() if parts.zone},
        waiting=frozenset(node for verdict in verdicts for node in verdict.waiting),
        again=frozenset(node for verdict in verdicts for node in verdict.again),
        released=tuple(action for verdict in verdicts for action in verdict.released),
    )


@dataclass(slots=True)
class _Inventory:
    """The nodes of one job by what they have."""

    backed: dict[NodeName, tuple[Launch, NodeClaim]] = field(default_factory=dict)
    has_own: bool = False
    """Some of them were launched for this attempt of the job."""
    refused: dict[NodeName, NodeClaim] = field(default_factory=dict)
    unclaimed: list[NodeName] = field(default_factory=list)
    asked: dict[NodeName, LaunchToken] = field(default_factory=dict)
    """Their answer is not known, or EC2 asked to come back."""
    asked_again: set[NodeName] = field(default_factory=set)
    """Those of them that are asked for because the job came short."""
    lost: list[NodeName] = field(default_factory=list)
    """Their instance ended; they are asked for anew once that is stored."""
    zones: set[str] = field(default_factory=set)
    """Where its own launches ask."""

    @property
    def zone(self) -> str:
        """The zone that it is in; empty if that is none or several."""
        (zone,) = self.zones if len(self.zones) == 1 else ("",)
        return zone

    @property
    def lacking(self) -> list[NodeName]:
        """Nodes that EC2 gave nothing for and is not being asked for."""
        return sorted([*self.refused, *self.unclaimed])

    @property
    def is_incomplete(self) -> bool:
        """A job that was short still is."""
        return bool(self.lacking or self.asked_again or self.lost)


def _inventory(
    jobs: Mapping[JobId, Job], launches: Mapping[LaunchToken, Launch], snapshot: Snapshot, policy: Policy
) -> dict[JobId, _Inventory]:
    """One for each job."""
    wanted = {node for job in jobs.values() for node in job.nodes if node in policy.nodes}
    claims: dict[NodeName, tuple[Launch, NodeClaim]] = {}
    own: dict[NodeName, Gang] = {}
    for launch in launches.values():
        gangs = {node: gang for gang in launch.gangs if gang.is_kept for node in gang.nodes}
        for claim in launch.claims:
            if claim.is_open and claim.node in wanted:
                claims[claim.node] = (launch, claim)
                if claim.node in gangs:
                    own[claim.node] = gangs[claim.node]
    found: dict[JobId, _Inventory] = {}
    for id, job in jobs.items():
        parts = found[id] = _Inventory()
        for name in job.nodes:
            if name in wanted:
                gang = own.get(name)
                is_own = gang is not None and (gang.job, gang.restarts) == (id, job.restarts)
                _sort_in(parts, name, claims.get(name), gang if is_own else None, snapshot)
    return found


def _sort_in(
    parts: _Inventory,
    name: NodeName,
    claimed: tuple[Launch, NodeClaim] | None,
    gang: Gang | None,
    snapshot: Snapshot,
) -> None:
    """`gang` is set if the claim was made for this attempt of the job."""
    node = snapshot.nodes.get(name)
    is_awaited = node is not None and node.is_powering_up
    if claimed is None:
        if is_awaited:
            parts.unclaimed.append(name)
        return
    launch, claim = claimed
    is_refused = claim.state is ClaimState.LAUNCH_FAILED and claim.failure not in RETRIED
    is_asked = claim.state is ClaimState.REQUESTED or (claim.state is ClaimState.LAUNCH_FAILED and not is_refused)
    if claim.state in BACKED:
        parts.backed[name] = claimed
        parts.has_own = parts.has_own or gang is not None
    elif is_awaited and is_refused:
        parts.refused[name] = claim
    elif is_awaited and is_asked:
        parts.asked[name] = launch.token
        if gang is not None and gang.is_top_up:
            parts.asked_again.add(name)
    elif is_awaited and claim.state is ClaimState.LOST:
        parts.lost.append(name)
    if gang is not None and (claim.state in BACKED or claim.state is ClaimState.REQUESTED):
        parts.zones |= {zone_of(offering.subnet, snapshot.subnets) for offering in launch.request.offerings}


@dataclass(frozen=True, slots=True)
class _Standing:
    """One job and all that its verdict depends on."""

    job: Job
    parts: _Inventory
    known: ShortGang | None
    snapshot: Snapshot
    policy: Policy
    wanted_since: Mapping[NodeName, float]

    @property
    def since(self) -> float:
        """When this attempt of the job came short; 0 if it did not."""
        return self.known.since if self.known is not None and self.known.restarts == self.job.restarts else 0.0

    def choices(self, availability: Availability) -> dict[ComputeResourceKey, Choice]:
        """What could be asked for now, for each compute resource of which the job lacks nodes."""
        keys = {self.policy.nodes[name].key for name in self.parts.lacking}
        began = began_at(self.job.nodes, self.job, self.wanted_since, self.snapshot.now)
        return {
            key: availability.within(self.parts.zone, self.policy.compute_resources[key]).choose(
                self.policy.compute_resources[key], since=began
            )
            for key in keys
        }

    def cost(self, since: float) -> float:
        """US dollars that the job's instances cost since then, as far as they are shown and their prices known."""
        total = 0.0
        for launch, claim in self.parts.backed.values():
            instance = self.snapshot.instances.get(claim.instance)
            if instance is not None:
                offering = Offering(instance.instance_type, instance.subnet, launch.request.market)
                seconds = self.snapshot.now - max(since, instance.launched_at)
                total += (self.policy.prices.of(offering) or 0.0) * max(0.0, seconds) / _HOUR_S
        return total


@dataclass(frozen=True, slots=True)
class _Verdict:
    held: HeldGang | None = None
    waiting: Sequence[NodeName] = ()
    again: Sequence[NodeName] = ()
    released: Sequence[SetNodesDown] = ()


def _verdict(standing: _Standing, availability: Availability) -> _Verdict:
    parts, now = standing.parts, standing.snapshot.now
    choices = standing.choices(availability)
    prospect = _prospect(choices.values())
    can_ask = prospect is _Prospect.NOW
    is_final = prospect is _Prospect.NEVER or any(
        claim.failure is FailureKind.UNKNOWN for claim in parts.refused.values()
    )
    is_short = bool(parts.refused) or not can_ask or bool(standing.since and parts.is_incomplete)
    if not parts.has_own and not standing.since:
        # nothing has come that would be lost: the job waits only for an answer, or if somewhere else can be asked
        waits = not is_final and (can_ask or bool(parts.asked))
        return _Verdict(waiting=parts.lacking, again=_again(standing)) if waits else _Verdict()
    if not is_short:
        if not standing.since:
            return _Verdict()
        return _Verdict(_held(standing, standing.since, GangEnd.COMPLETE))
    since = standing.since or now
    end = _end(standing, since, is_final=is_final)
    held = _held(standing, since, end)
    if end is None:
        return _Verdict(held, waiting=parts.lacking, again=_again(standing))
    return _Verdict(held, released=_released(standing, held, choices))


def _again(standing: _Standing) -> list[NodeName]:
    """Refused nodes, except that EC2 is not asked more often than a call would be repeated."""
    due = standing.snapshot.now - standing.policy.replay_interval_s
    return [name for name, claim in standing.parts.refused.items() if claim.since <= due]


def _end(standing: _Standing, since: float, *, is_final: bool) -> GangEnd | None:
    bounds = standing.policy.gangs
    if is_final:
        return GangEnd.REFUSED
    if standing.snapshot.now - since >= bounds.hold_s:
        return GangEnd.TIME
    return GangEnd.COST if standing.cost(since) >= bounds.hold_cost_max else None


def _held(standing: _Standing, since: float, end: GangEnd | None) -> HeldGang:
    job, parts = standing.job, standing.parts
    missing = len(parts.lacking) + len(parts.asked) + len(parts.lost)
    gang = ShortGang(job.id, job.restarts, since)
    return HeldGang(gang, len(job.nodes), missing, standing.snapshot.now - since, standing.cost(since), end)


def _released(
    standing: _Standing, held: HeldGang, choices: Mapping[ComputeResourceKey, Choice]
) -> tuple[SetNodesDown, ...]:
    """All nodes without an instance but those whose call is being made. What arrived stays, as any idle node does."""
    parts, snapshot = standing.parts, standing.snapshot
    uncalled = [name for name, token in parts.asked.items() if token in snapshot.waiting]
    nodes = [*parts.lacking, *uncalled] or list(parts.asked_again)
    ours = tuple(sorted(name for name in nodes if not snapshot.nodes[name].is_marked_by_others))
    if not ours:
        return ()
    bans = {ban for choice in choices.values() for ban in choice.bans}
    causes = [
        *sorted({claim.history[-1].cause for claim in parts.refused.values()})[:1],
        *([sentence(sorted(bans, key=lambda ban: (ban.until, ban.scope)))] if bans else []),
    ]
    arrived = held.size - held.missing
    detail = (
        f"job {held.gang.job} is given back ({held.end}): {arrived} of {held.size} arrived in {held.held_s:.0f} s, "
        f"${held.cost:.2f}; {'; '.join(causes)}"
    ).rstrip("; ")
    return (SetNodesDown(ours, Reason.HOLD_OVER, detail),)


def _past(gang: ShortGang, snapshot: Snapshot) -> HeldGang:
    """A job that was short and does not wait any more."""
    job = snapshot.jobs.get(gang.job)
    has_started = job is not None and job.restarts == gang.restarts and job.state == "RUNNING"
    end = GangEnd.COMPLETE if has_started else GangEnd.GONE
    return HeldGang(gang, len(job.nodes) if job else 0, 0, snapshot.now - gang.since, end=end)


class _Prospect(IntEnum):
    """Whether a compute resource has something in a zone; smaller is better."""

    NOW = 0
    LATER = 1
    """A shortage ends."""
    NEVER = 2


def _prospect(choices: Iterable[Choice]) -> _Prospect:
    """The worst of them."""
    worst = _Prospect.NOW
    for choice in choices:
        if not (choice.offerings or choice.is_waiting):
            may_pass = any(ban.scope.kind in PASSING for ban in choice.bans)
            worst = max(worst, _Prospect.LATER if may_pass else _Prospect.NEVER)
    return worst


def first_zone(
    asked: ComputeResourcePolicy,
    others: Sequence[ComputeResourcePolicy],
    availability: Availability,
    anywhere: Choice,
    size: int,
) -> str:
    """The zone that a kept job without instances asks in; empty if none could have all of it, so that it is spread.

    It is the first in the order of asking that has something for the other compute resources of the job's nodes too,
    addresses for all `size` nodes that the job asks for, and where nothing was refused lately. `anywhere` is what could
    be asked for without a zone.
    """
    ranks: dict[str, tuple[_Prospect, bool, bool]] = {}
    for offering in anywhere.offerings:
        zone = zone_of(offering.subnet, availability.subnets)
        if zone not in ranks:
            within = availability.within(zone, asked)
            rest = _prospect(availability.within(zone, other).choose(other) for other in others)
            ranks[zone] = (rest, within.room(asked) < size, within.choose(asked).is_probe)
    zone = min(ranks, key=lambda zone: ranks[zone], default="")
    return zone if zone and ranks[zone][0] is not _Prospect.NEVER else ""


def rank(job: Job, policy: GangPolicy) -> tuple[int, ...]:
    """Where a job comes in the order of serving; smaller is earlier."""
    size = len(job.nodes)
    match policy.order:
        case GangOrder.PRIORITY:
            return (-job.priority, size, job.id)
        case GangOrder.PRIORITY_LARGEST_FIRST:
            return (-job.priority, -size, job.id)
        case GangOrder.LARGEST_FIRST:
            return (-size, -job.priority, job.id)
        case GangOrder.SMALLEST_FIRST:
            return (size, -job.priority, job.id)
        case GangOrder.ARRIVAL:
            return (job.id,)


def asked_again(
    launches: Mapping[LaunchToken, Launch], nodes: frozenset[NodeName], now: float
) -> dict[LaunchToken, Launch]:
    """The launches with refused claims closed whose nodes a new launch asks for."""
    closed: dict[LaunchToken, Launch] = {}
    for token, launch in launches.items():
        changed = {
            claim.node: advance(claim, ClaimState.TERMINATED, now, "asked for again")
            for claim in launch.claims
            if claim.state is ClaimState.LAUNCH_FAILED and claim.node in nodes
        }
        closed[token] = launch.with_claims(changed) if changed else launch
    return closed
