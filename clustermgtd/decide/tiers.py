"""Demands that may be met in several capacity tiers: since when they wait, and what a refusal means to them.

Claims that EC2 refused stay LAUNCH_FAILED while another tier is waited for, until something can be asked for again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from clustermgtd.decide.offerings import Availability
from clustermgtd.model.claim import ClaimState, Launch, NodeClaim
from clustermgtd.model.failure import REMEMBERED
from clustermgtd.model.ids import LaunchToken, NodeName
from clustermgtd.model.job import Job
from clustermgtd.model.policy import ComputeResourceKey, Policy
from clustermgtd.model.snapshot import Snapshot


def wanted_since(snapshot: Snapshot, policy: Policy) -> dict[NodeName, float]:
    """For each node that powers up and may wait for a tier: when that was first noticed."""
    known = snapshot.memory.wanted_since
    tiered = {key for key, compute_resource in policy.compute_resources.items() if compute_resource.is_tiered}
    if not tiered:
        return {}
    return {
        name: known.get(name, snapshot.now)
        for name in sorted(policy.nodes)
        if policy.nodes[name].key in tiered and (node := snapshot.nodes.get(name)) is not None and node.is_powering_up
    }


def began_at(nodes: tuple[NodeName, ...], job: Job | None, since: Mapping[NodeName, float], now: float) -> float:
    """When a demand began, epoch seconds: with its job's allocation, which a restart of ours does not forget."""
    if job is not None and job.is_configuring and job.started_at > 0:
        return min(job.started_at, now)
    return min((since[node] for node in nodes if node in since), default=now)


@dataclass(frozen=True, slots=True)
class AskedElsewhere:
    """Refused nodes whose refusal is not the last word, because their compute resource has other tiers."""

    again: frozenset[NodeName] = frozenset()
    """Those that can be asked for again; whether there is something for them is decided as for any other node."""
    waiting: frozenset[NodeName] = frozenset()
    """Those that are not given back to Slurm because of their claim: the above, and those of jobs of which an instance
    is still ending."""
    blocked: frozenset[NodeName] = frozenset()
    """Nodes of such jobs, with or without a claim: nothing is asked for until all of them can be asked for at once."""


def asked_elsewhere(
    launches: Mapping[LaunchToken, Launch],
    snapshot: Snapshot,
    policy: Policy,
    availability: Availability,
    since: Mapping[NodeName, float],
) -> AskedElsewhere:
    """What a refusal means, job by job.

    A job of which some instances came in vain waits until they are gone, unless no tier is left for it: then it
    learns so at once.
    """
    again: set[NodeName] = set()
    waiting: set[NodeName] = set()
    blocked: set[NodeName] = set()
    for token, launch in sorted(launches.items()):
        key = ComputeResourceKey(launch.request.queue, launch.request.compute_resource)
        compute_resource = policy.compute_resources.get(key)
        outcome = launch.outcome
        if compute_resource is None or not compute_resource.is_tiered or token in snapshot.in_flight:
            continue
        if outcome is None or not outcome.refusals:
            continue  # nothing was learned, so the same would be asked for in vain
        refused = {c.node: c for c in launch.claims if c.node in policy.nodes and _is_refused(c, snapshot)}
        for nodes, minimum, job in _demands(launch, snapshot) if refused else ():
            names = [node for node in nodes if node in refused]
            if not names:
                continue
            if not any(refused[node].state is ClaimState.TERMINATING for node in names):
                again.update(names)
                waiting.update(names)
                continue
            choice = availability.choose(compute_resource, minimum, began_at(nodes, job, since, snapshot.now))
            if choice.offerings or choice.is_waiting:
                waiting.update(names)
                blocked.update(nodes)
    return AskedElsewhere(frozenset(again - blocked), frozenset(waiting), frozenset(blocked))


def _demands(launch: Launch, snapshot: Snapshot) -> Iterator[tuple[tuple[NodeName, ...], int, Job | None]]:
    """Nodes of a launch that are of use together only, how many instances at once that takes, and their job.

    Nodes that the job lost while they power up are of use one by one: Slurm may have given them to others. Jobs that
    keep what arrived are seen to in `decide.gangs`.
    """
    of_jobs = {node for gang in launch.gangs for node in gang.nodes}
    for gang in (gang for gang in launch.gangs if not gang.is_kept):
        job = snapshot.jobs.get(gang.job)
        together = () if gang.takes_part or job is None else tuple(node for node in gang.nodes if node in job.nodes)
        if together:
            yield together, len(together), job
        yield from (((node,), 1, job) for node in gang.nodes if node not in together)
    yield from (((claim.node,), 1, None) for claim in launch.claims if claim.node not in of_jobs)


def _is_refused(claim: NodeClaim, snapshot: Snapshot) -> bool:
    node = snapshot.nodes.get(claim.node)
    return (
        claim.failure in REMEMBERED
        and claim.state in (ClaimState.LAUNCH_FAILED, ClaimState.TERMINATING)
        and node is not None
        and node.is_powering_up
        and not node.is_down
    )
