"""Passive transitions: what the world says about a launch's claims. Stale news never moves a claim backwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from clustermgtd.model.claim import ClaimState, Launch, NodeClaim, advance
from clustermgtd.model.failure import RETRIED, FailureKind
from clustermgtd.model.ids import InstanceId, NodeName
from clustermgtd.model.node import Node, NodeFlag
from clustermgtd.model.policy import Policy
from clustermgtd.model.snapshot import Snapshot


def sync(launch: Launch, snapshot: Snapshot, policy: Policy, missing: Mapping[InstanceId, float]) -> Launch:
    """The launch with every claim moved to where the observation puts it; `missing` as in `unseen.Unseen`."""
    launch = _adopt(launch, snapshot)
    changed: dict[NodeName, NodeClaim] = {}
    is_wanted = is_awaited(launch, snapshot)
    for claim in launch.claims:
        moved = (
            (claim if is_wanted else _forget_unwanted(claim, launch, snapshot, policy))
            if claim.state is ClaimState.REQUESTED
            else _sync_claim(claim, snapshot, policy, missing)
        )
        if moved is not claim:
            changed[claim.node] = moved
    return launch.with_claims(changed) if changed else launch


def _adopt(launch: Launch, snapshot: Snapshot) -> Launch:
    """Instances that carry the token of a launch without a recorded reply are its instances.

    If fewer are shown than jobs wait for, which of them can start is not known before the replay's answer.
    """
    waiting = [claim for claim in launch.claims if claim.state is ClaimState.REQUESTED]
    if not waiting:
        return launch
    named = launch.instances
    found = sorted(i.id for i in snapshot.instances.values() if i.token == launch.token and i.id not in named)
    if len(found) < len(waiting) and launch.has_whole_gangs and is_awaited(launch, snapshot):
        return launch
    changed = {
        claim.node: assign(claim, instance, snapshot.now, "EC2 shows the launch token")
        for claim, instance in zip(waiting, found, strict=False)
    }
    return launch.with_claims(changed) if changed else launch


def is_awaited(launch: Launch, snapshot: Snapshot) -> bool:
    """Slurm still powers up a node of this launch whose fate is not known."""
    return any(
        claim.state is ClaimState.REQUESTED
        and (node := snapshot.nodes.get(claim.node)) is not None
        and node.is_powering_up
        for claim in launch.claims
    )


def assign(claim: NodeClaim, instance: InstanceId, now: float, cause: str) -> NodeClaim:
    """The claim with its instance: REQUESTED -> LAUNCHED."""
    return replace(advance(claim, ClaimState.LAUNCHED, now, cause), instance=instance)


def _sync_claim(claim: NodeClaim, snapshot: Snapshot, policy: Policy, missing: Mapping[InstanceId, float]) -> NodeClaim:
    node = snapshot.nodes.get(claim.node)
    match claim.state:
        case ClaimState.LAUNCHED | ClaimState.ASSIGNED | ClaimState.READY | ClaimState.DRAINING:
            ended = _ending(claim, snapshot, policy, missing)
            if ended:
                return advance(claim, ClaimState.LOST, snapshot.now, ended)
            return claim if node is None else _follow_node(claim, node, snapshot)
        case ClaimState.TERMINATING:
            ended = _ending(claim, snapshot, policy, missing)
            if ended:
                return advance(claim, ClaimState.TERMINATED, snapshot.now, ended)
            # what Slurm wants the node for next has not been refused
            return replace(claim, failure=None) if claim.failure and _is_let_go(node) else claim
        case ClaimState.LAUNCH_FAILED:
            if claim.failure in RETRIED and node is not None and node.is_powering_up:
                if snapshot.now - claim.since < policy.replay_interval_s:
                    return claim
                return advance(claim, ClaimState.TERMINATED, snapshot.now, f"asked again after {claim.failure}")
            return _released(claim, node, snapshot.now)
        case ClaimState.LOST:
            if node is not None and node.is_powering_up:
                return advance(claim, ClaimState.TERMINATED, snapshot.now, "replaced: the node still powers up")
            return _released(claim, node, snapshot.now)
        case ClaimState.REQUESTED | ClaimState.TERMINATED:
            return claim


def _forget_unwanted(claim: NodeClaim, launch: Launch, snapshot: Snapshot, policy: Policy) -> NodeClaim:
    """Give up on a call without a known outcome once its instances would have been seen.

    Only a launch none of whose nodes is awaited is given up: while one is, the call is made again for all of them,
    and instances that came for a node that was given up would be nobody's.
    """
    called_at = max(claim.since, launch.last_attempt_at)
    if snapshot.now - called_at < policy.launch_timeout_s:
        return claim
    failed = advance(claim, ClaimState.LAUNCH_FAILED, snapshot.now, "no outcome, and the node is not wanted any more")
    return replace(failed, failure=FailureKind.SERVICE)


def _ending(claim: NodeClaim, snapshot: Snapshot, policy: Policy, missing: Mapping[InstanceId, float]) -> str:
    """Why the claim's instance counts as gone; empty while it does not."""
    instance = snapshot.instances.get(claim.instance)
    if instance is not None:
        return "" if instance.is_live else f"EC2 shows {instance.state} {instance.state_reason}".rstrip()
    unseen = snapshot.now - missing.get(claim.instance, snapshot.now)
    if unseen >= policy.missing_grace_s:
        return f"EC2 has not shown it for {unseen:.0f} s"
    return ""


def _follow_node(claim: NodeClaim, node: Node, snapshot: Snapshot) -> NodeClaim:
    now = snapshot.now
    if claim.state in (ClaimState.LAUNCHED, ClaimState.ASSIGNED):
        if node.is_up:
            return advance(claim, ClaimState.READY, now, "slurmd registered")
        instance = snapshot.instances.get(claim.instance)
        has_address = instance is not None and node.address == instance.private_address != ""
        if claim.state is ClaimState.LAUNCHED and has_address and node.is_powering_up:
            return advance(claim, ClaimState.ASSIGNED, now, "Slurm has the address")
        return claim
    leaving = node.is_power_down_pending or NodeFlag.DRAIN in node.flags
    if claim.state is ClaimState.READY and leaving:
        return advance(claim, ClaimState.DRAINING, now, "a drain or a pending power-down")
    if claim.state is ClaimState.DRAINING and not leaving and node.is_up:
        return advance(claim, ClaimState.READY, now, "the drain was lifted")
    return claim


def _released(claim: NodeClaim, node: Node | None, now: float) -> NodeClaim:
    """Close a claim without an instance once Slurm does not count on one any more."""
    if node is None:
        return advance(claim, ClaimState.TERMINATED, now, "Slurm does not know the node")
    if _is_let_go(node):
        return advance(claim, ClaimState.TERMINATED, now, "Slurm let go of the node")
    return claim


def _is_let_go(node: Node | None) -> bool:
    return node is not None and (node.is_down or node.is_powered_down or node.is_powering_down)
