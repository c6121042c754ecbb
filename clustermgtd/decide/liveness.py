"""Active transitions: claims whose instance has to go, and nodes that Slurm has to be helped out of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from clustermgtd.model.action import PowerDownNodes, Reason, ReturnNodesToService, SetNodesDown
from clustermgtd.model.claim import BACKED, ClaimState, Launch, NodeClaim, advance
from clustermgtd.model.failure import RETRIED
from clustermgtd.model.ids import InstanceId, NodeName
from clustermgtd.model.node import Node, NodeFlag
from clustermgtd.model.policy import Policy
from clustermgtd.model.snapshot import Snapshot

NodeUpdate = SetNodesDown | PowerDownNodes | ReturnNodesToService


def end_unwanted(launch: Launch, snapshot: Snapshot, policy: Policy) -> tuple[Launch, dict[InstanceId, Reason]]:
    """The launch with claims that nobody wants any more TERMINATING, and why, by instance."""
    changed: dict[NodeName, NodeClaim] = {}
    reasons: dict[InstanceId, Reason] = {}
    for claim in launch.claims:
        if claim.state not in BACKED:
            continue
        reason = _why_unwanted(claim, snapshot, policy)
        if reason is not None:
            changed[claim.node] = advance(claim, ClaimState.TERMINATING, snapshot.now, reason)
            reasons[claim.instance] = reason
    return (launch.with_claims(changed) if changed else launch), reasons


def _why_unwanted(claim: NodeClaim, snapshot: Snapshot, policy: Policy) -> Reason | None:
    node = snapshot.nodes.get(claim.node)
    instance = snapshot.instances.get(claim.instance)
    if node is None:
        return Reason.NODE_GIVEN_UP if claim.node not in policy.nodes else None
    if node.is_unclear:
        return None
    if node.is_powered_down or node.is_powering_down:
        is_given_up = node.is_down and claim.state in (ClaimState.LAUNCHED, ClaimState.ASSIGNED)
        return Reason.NODE_GIVEN_UP if is_given_up else Reason.POWER_DOWN
    if node.is_powering_up and claim.state in (ClaimState.READY, ClaimState.DRAINING):
        return Reason.POWER_CYCLE
    if node.is_powering_up and instance is not None and instance.is_stopped:
        return Reason.INSTANCE_STOPPED
    return None


def still_ending(launch: Launch, snapshot: Snapshot, policy: Policy) -> dict[InstanceId, Reason]:
    """Instances whose termination is due to be asked for (again), because they are not seen gone; and why they end."""
    called = snapshot.memory.terminate_called_at
    return {
        claim.instance: Reason.JOB_INCOMPLETE if claim.failure else Reason.POWER_DOWN
        for claim in launch.claims
        if claim.state is ClaimState.TERMINATING
        and snapshot.now - called.get(claim.instance, float("-inf")) >= policy.terminate_retry_s
    }


def help_nodes(
    unusual: Mapping[NodeName, Sequence[NodeClaim]], snapshot: Snapshot, spared: frozenset[NodeName] = frozenset()
) -> list[NodeUpdate]:
    """Updates that bring nodes out of states which Slurm itself does not leave, among the `unusual` ones.

    Nodes without an instance that are `spared` are not given back: their job waits for them, or others see to it.

    A node is returned to service only when its former instance is seen gone: one that is still booting could register
    for the node's next job and then end under it.
    """
    down: dict[tuple[Reason, str], list[NodeName]] = defaultdict(list)
    power_down: dict[Reason, list[NodeName]] = defaultdict(list)
    recovered: dict[Reason, list[NodeName]] = defaultdict(list)
    for name, claims in unusual.items():
        node = snapshot.nodes.get(name)
        if node is None or node.is_unclear or node.is_marked_by_others:
            continue
        if node.is_down:
            reason = _why_down(node)
            if node.is_powered_down:
                if not any(claim.holds_instance for claim in claims):
                    recovered[reason].append(name)
            elif not node.is_powering_down and not _is_leaving(node):
                power_down[reason].append(name)
            continue
        if node.is_powered_down or node.is_powering_down:
            continue
        for claim in claims:
            if claim.state is ClaimState.LOST and not node.is_powering_up:
                down[Reason.INSTANCE_LOST, claim.history[-1].cause].append(name)
            elif claim.failure in RETRIED or name in spared:
                continue
            elif claim.failure is not None and node.is_powering_up:
                down[Reason.LAUNCH_FAILED, claim.history[-1].cause].append(name)
    return [
        *(SetNodesDown(tuple(nodes), reason, detail) for (reason, detail), nodes in sorted(down.items())),
        *(PowerDownNodes(tuple(nodes), reason) for reason, nodes in sorted(power_down.items())),
        *(ReturnNodesToService(tuple(nodes), reason) for reason, nodes in sorted(recovered.items())),
    ]


def _is_leaving(node: Node) -> bool:
    """Its power-down follows by itself. One that was asked for before it went DOWN while it powered up does not."""
    return node.is_power_down_pending and NodeFlag.POWERING_UP not in node.flags


def _why_down(node: Node) -> Reason:
    if node.is_marked_by_us:
        return Reason.MARK_LIFTED
    return Reason.RESUME_TIMEOUT if node.last_reason.startswith("ResumeTimeout") else Reason.NOT_RESPONDING
