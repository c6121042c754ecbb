"""Nodes and launches of which nothing is to be said or done: by far the most, told at a glance."""

from __future__ import annotations

from collections.abc import Mapping

from clustermgtd.model.claim import ClaimState, Launch, NodeClaim
from clustermgtd.model.ids import LaunchToken, NodeName
from clustermgtd.model.node import Node, NodeBase, NodeFlag
from clustermgtd.model.policy import Policy
from clustermgtd.model.snapshot import Snapshot

_AT_REST = frozenset({NodeFlag.CLOUD, NodeFlag.POWERED_DOWN})
_UP = frozenset({NodeFlag.CLOUD})
_UP_BASES = (NodeBase.ALLOCATED, NodeBase.IDLE, NodeBase.MIXED)


def is_ordinary(node: Node | None, claim: NodeClaim | None, snapshot: Snapshot) -> bool:
    """Powered down and idle, or up on the running instance of its claim."""
    if node is None:
        return False
    if claim is None:
        return node.base is NodeBase.IDLE and node.flags == _AT_REST
    if claim.state is not ClaimState.READY or node.flags != _UP or node.base not in _UP_BASES:
        return False
    instance = snapshot.instances.get(claim.instance)
    return instance is not None and instance.is_usable


def is_at_rest(launch: Launch, snapshot: Snapshot) -> bool:
    """Every claim is closed, or READY with an ordinary node: the observation changes nothing about it."""
    return all(
        claim.state is ClaimState.TERMINATED or is_ordinary(snapshot.nodes.get(claim.node), claim, snapshot)
        for claim in launch.claims
    )


def unusual_nodes(
    launches: Mapping[LaunchToken, Launch], snapshot: Snapshot, policy: Policy
) -> dict[NodeName, list[NodeClaim]]:
    """The managed nodes that are not ordinary, sorted, with their open claims: normally one or none."""
    claims: dict[NodeName, list[NodeClaim]] = {}
    for launch in launches.values():
        for claim in launch.claims:
            if claim.state is not ClaimState.TERMINATED:
                claims.setdefault(claim.node, []).append(claim)
    unusual = []
    for name in policy.nodes:
        own = claims.get(name)
        is_odd = own is not None and len(own) > 1
        if is_odd or not is_ordinary(snapshot.nodes.get(name), own[0] if own else None, snapshot):
            unusual.append(name)
    return {name: claims.get(name, []) for name in sorted(unusual)}
