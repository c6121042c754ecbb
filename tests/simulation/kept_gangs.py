"""What must hold for jobs that keep what arrived, judged from the world's truth and not from what the daemon stored."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from clustermgtd.decide.bans import covers
from clustermgtd.decide.gangs import PASSING
from clustermgtd.model.action import Reason, SetNodesDown
from clustermgtd.model.claim import BACKED, ClaimState, Launch, NodeClaim
from clustermgtd.model.failure import RETRIED, FailureKind
from clustermgtd.model.gang import GangOrder, GangPolicy
from clustermgtd.model.ids import InstanceId, JobId, LaunchToken, NodeName
from clustermgtd.model.offering import Offering
from clustermgtd.model.policy import Policy
from tests.simulation.bad_boots import is_protected
from tests.simulation.cloud import TOKEN_TAG

if TYPE_CHECKING:
    from tests.simulation.slurm_model import SimJob
    from tests.simulation.world import World

GANG_BUGS = {
    "gang-let-go-early": {"hold_s": 0.0},
    "gang-held-for-ever": {"hold_s": float("inf"), "hold_cost_max": float("inf")},
}
"""Planted mistakes: what the decisions believe of the policy."""


def gang_policy(seed: int) -> GangPolicy:
    """Every size, short and long holds, much and hardly any money."""
    rng = random.Random(f"gangs of {seed}")
    return GangPolicy(
        keep_above=rng.choice([0, 0, 1, 3, 1000]),
        hold_s=rng.choice([0.0, 40.0, 150.0, 600.0]),
        hold_cost_max=rng.choice([0.0005, 0.004, 100.0]),
        order=rng.choice(list(GangOrder)),
    )


@dataclass
class Watch:
    """Since when jobs, and nodes of jobs, lack instances while others of the job have theirs."""

    short_at: dict[tuple[JobId, int], float] = field(default_factory=dict)
    """Jobs, by attempt, with a node that nothing is asked for and not all nodes backed since; as of the decision before
    the first that met it so, because a decision may itself find that a node is refused."""
    complete: set[tuple[JobId, int]] = field(default_factory=set)
    """Jobs that had all their instances before the newest decision."""
    decided_at: float = 0.0
    """The newest decision but one that was carried out whole; what a later one stored before a crash is not older."""
    newest_at: float = 0.0
    """The newest that was."""
    refused_at: dict[tuple[JobId, int, NodeName], float] = field(default_factory=dict)
    """Nodes that were refused and not backed since, as of the first decision on it that was carried out whole."""
    noted: set[tuple[JobId, int, NodeName]] = field(default_factory=set)
    """Those that were refused before the present decision."""

    def believed(self, world: World, policy: Policy) -> Policy:
        """The policy as a planted mistake has it."""
        for bug, beliefs in GANG_BUGS.items():
            if bug in world.bugs:
                policy = replace(policy, gangs=replace(policy.gangs, **beliefs))
        return policy

    def before_decision(self, world: World) -> None:
        """Note who is short."""
        claims = _claims(world)
        seen: dict[tuple[JobId, int], float] = {}
        complete: set[tuple[JobId, int]] = set()
        self.noted = {
            (job.id, job.restarts, name)
            for job in _waiting_jobs(world)
            for name in job.nodes
            if _is_refused(claims.get(name))
        }
        waiting = _waiting_jobs(world, counts_unstored=True)
        live = world.cloud.live()  # what died meanwhile did not make the job complete
        believed = _open_claims(world.daemon.launches) if world.daemon else {}  # a stored reply may be unknown to it
        for job in _kept_jobs(world):
            key = (job.id, job.restarts)
            has_lost = any(name in claims and _is_lost(claims[name]) for name in job.nodes)
            if key in self.complete and not has_lost:
                # the decision found it complete too, and did not give up an instance that EC2 hides
                self.short_at.pop(key, None)
            if job not in waiting and key not in self.short_at:
                continue  # one that lost all that had come stays short
            lacks = has_lost or any(
                name not in claims or _is_refused(claims[name]) or _is_top_up(claims[name]) for name in job.nodes
            )
            is_complete = all(
                _is_backed(claims.get(name)) and _is_backed(believed.get(name)) and claims[name][1].instance in live
                for name in job.nodes
            )
            if is_complete:
                complete.add(key)
            if key in self.short_at or (lacks and not is_complete):
                seen[key] = self.short_at.get(key, self.decided_at)
        self.short_at, self.complete = seen, complete

    def after_decision(self, world: World) -> None:
        """The plan was carried out whole: nobody has waited for too long."""
        claims = _claims(world)
        seen: dict[tuple[JobId, int, NodeName], float] = {}
        stored = {(short.job, short.restarts) for short in world.table.offerings.short}
        for job in _waiting_jobs(world):
            has_lost = any(_is_lost(claims[name]) for name in job.nodes if name in claims)
            if has_lost and (job.id, job.restarts) not in stored:
                continue  # what it had was lost, and what it has now came after the decision: nothing waited
            for name in job.nodes:
                key = (job.id, job.restarts, name)
                if world.slurm.nodes[name].power != "powering-up" or name in world.foreign:
                    continue
                if key in self.noted or (key in self.refused_at and not _is_backed(claims.get(name))):
                    seen[key] = self.refused_at.get(key, world.now)
                if key in self.noted and _is_refused(claims.get(name)):
                    self._check_bounds(world, job, seen[key])
        self.refused_at = seen
        self.decided_at, self.newest_at = self.newest_at, world.now

    def _check_bounds(self, world: World, job: SimJob, since: float) -> None:
        world.counts["gang held"] += 1
        bounds, held_s, cost = world.policy.gangs, world.now - since, _cost(world, job, since)
        assert held_s < bounds.hold_s, f"job {job.id} waits for {held_s} s, and may for {bounds.hold_s}"
        assert cost < bounds.hold_cost_max, f"job {job.id} spent {cost} on waiting, and may {bounds.hold_cost_max}"

    def check_given_back(self, world: World, action: SetNodesDown) -> None:
        """Before nodes are set DOWN: no job loses by it what it may still keep."""
        if action.reason not in (Reason.HOLD_OVER, Reason.LAUNCH_FAILED, Reason.NO_CAPACITY):
            return
        claims = _claims(world)
        for job in _waiting_jobs(world):
            lost = sorted(set(action.nodes) & set(job.nodes))
            if not lost or world.table.fleet.is_stopped(job.queue) or any(is_protected(world, name) for name in lost):
                continue
            world.counts["gang released"] += 1
            since = self.short_at.get((job.id, job.restarts), world.now)
            is_over = world.now - since >= world.policy.gangs.hold_s
            is_spent = _cost(world, job, since) >= world.policy.gangs.hold_cost_max
            failures = {claims[name][1].failure for name in job.nodes if name in claims}
            is_final = FailureKind.UNKNOWN in failures or any(_is_refused_for_long(world, name) for name in lost)
            assert is_over or is_spent or is_final, f"job {job.id} loses {lost} after {world.now - since} s: {action}"

    def check_ended(self, world: World, instances: tuple[InstanceId, ...], reason: Reason) -> None:
        """Before instances are ended: none of them is one that a kept job waits with."""
        waiting = {
            claim.instance: job.id
            for job in _kept_jobs(world)
            for name, claim in _own_claims(world, job).items()
            if not world.slurm.nodes[name].is_down
        }
        live = world.cloud.live()
        for instance in instances:
            was_seen = instance not in world.blast.hidden
            is_of_use = was_seen and instance in live and live[instance].state in ("pending", "running")
            is_waiting = instance in waiting and is_of_use and reason is not Reason.POWER_CYCLE
            assert not is_waiting, f"{instance} is one that job {waiting.get(instance)} waits with: {reason}"


def _kept_jobs(world: World) -> list[SimJob]:
    jobs = world.slurm.jobs.values()
    return [job for job in jobs if job.state == "CONFIGURING" and world.policy.gangs.keeps(len(job.nodes))]


def _is_lost(claimed: tuple[Launch, NodeClaim]) -> bool:
    """Its instance ended; what replaces it may be refused in the same decision that asks for it."""
    return claimed[1].state is ClaimState.LOST


def _is_top_up(claimed: tuple[Launch, NodeClaim]) -> bool:
    """It was found refused, and asked for again, in one decision."""
    return any(gang.is_top_up and claimed[1].node in gang.nodes for gang in claimed[0].gangs)


def _claims(world: World) -> dict[NodeName, tuple[Launch, NodeClaim]]:
    return _open_claims(world.table.items)


def _open_claims(launches: Mapping[LaunchToken, Launch]) -> dict[NodeName, tuple[Launch, NodeClaim]]:
    return {claim.node: (launch, claim) for launch in launches.values() for claim in launch.claims if claim.is_open}


def _waiting_jobs(world: World, *, counts_unstored: bool = False) -> list[SimJob]:
    """Kept jobs with an instance that came for them; with `counts_unstored` also if the table does not say so yet."""
    kept = _kept_jobs(world)
    came = {record.tags.get(TOKEN_TAG) for record in world.cloud.live().values()} if kept and counts_unstored else set()
    served = {gang.job for launch in world.table.items.values() if launch.token in came for gang in launch.gangs}
    return [
        job
        for job in kept
        if job.id in served or any(claim.state in BACKED for claim in _own_claims(world, job).values())
    ]


def _own_claims(world: World, job: SimJob) -> dict[NodeName, NodeClaim]:
    """Claims that were made for this attempt of the job."""
    return {
        claim.node: claim
        for launch in world.table.items.values()
        for gang in launch.gangs
        if gang.is_kept and (gang.job, gang.restarts) == (job.id, job.restarts)
        for claim in launch.claims
        if claim.is_open and claim.node in gang.nodes and claim.node in job.nodes
    }


def _is_refused(claimed: tuple[Launch, NodeClaim] | None) -> bool:
    return claimed is not None and claimed[1].state is ClaimState.LAUNCH_FAILED and claimed[1].failure not in RETRIED


def _is_backed(claimed: tuple[Launch, NodeClaim] | None) -> bool:
    return claimed is not None and claimed[1].state in BACKED


def _is_refused_for_long(world: World, name: NodeName) -> bool:
    """A ban that no waiting ends is on an offering of the node's."""
    key = world.policy.nodes[name].key
    return any(
        ban.is_active(world.now)
        and ban.scope.kind not in PASSING
        and covers(ban, offering, key, world.subnets(), "", number)
        for ban in world.table.offerings.bans
        for number, tier in enumerate(world.policy.compute_resources[key].tiers)
        for offering in tier.offerings
    )


def _cost(world: World, job: SimJob, since: float) -> float:
    total, claims = 0.0, _claims(world)
    for name in job.nodes:
        launch, claim = claims.get(name, (None, None))
        record = world.shown.get(claim.instance) if claim is not None and claim.state in BACKED else None
        if launch is None or record is None:
            continue
        price = world.market.prices.of(Offering(record.instance_type, record.subnet, launch.request.market)) or 0.0
        total += price * max(0.0, world.now - max(since, record.launched_at)) / 3600.0
    return total
