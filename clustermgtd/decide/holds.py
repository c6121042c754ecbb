"""Keeps nodes that EC2 has nothing for out of scheduling, so that jobs go elsewhere, and lets them go on time."""

from __future__ import annotations

from collections import defaultdict

from clustermgtd.decide.offerings import Availability, sentence
from clustermgtd.model.action import HoldNodes, Reason, ReleaseNodes
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import NodeName
from clustermgtd.model.node import Node, NodeBase, NodeFlag
from clustermgtd.model.policy import ComputeResourceKey, Policy
from clustermgtd.model.snapshot import Snapshot

_BUSY = frozenset(
    {
        NodeFlag.COMPLETING,
        NodeFlag.DRAIN,
        NodeFlag.FAIL,
        NodeFlag.POWERING_UP,
        NodeFlag.POWER_UP,
        NodeFlag.POWER_DOWN,
    }
)


def holds(
    snapshot: Snapshot, policy: Policy, availability: Availability
) -> tuple[list[HoldNodes], ReleaseNodes | None, tuple[NodeName, ...]]:
    """Nodes to drain, nodes to let go, and all that carry our mark now or will.

    Only nodes without an instance and without a job are held, and of them as many stay free as may still be had at
    once: where 24 instances together were refused, 23 nodes are left for smaller jobs. Level-triggered: what is held
    follows from the bans alone, so a mark ends with its ban, whichever daemon set it.
    """
    has_active = any(ban.is_active(snapshot.now) for ban in availability.bans)
    if not has_active and not snapshot.offerings.held and not any(n.is_held_by_us for n in snapshot.nodes.values()):
        return [], None, ()
    free: dict[ComputeResourceKey, list[NodeName]] = defaultdict(list)
    held: dict[ComputeResourceKey, list[NodeName]] = defaultdict(list)
    released: list[NodeName] = []
    for name in sorted(snapshot.nodes):
        node, placed = snapshot.nodes[name], policy.nodes.get(name)
        is_held = _is_held(node, snapshot)
        if placed is not None and is_held and _is_unused(node) and policy.bans.holds_nodes:
            held[placed.key].append(name)
        elif is_held:
            released.append(name)
        elif placed is not None and _is_unused(node) and not node.flags & _BUSY and not node.is_marked_by_others:
            free[placed.key].append(name)
    wanted: list[HoldNodes] = []
    marked: list[NodeName] = []
    for key in sorted(free.keys() | held.keys(), key=lambda key: (key.queue, key.name)):
        compute_resource = policy.compute_resources[key]
        limit = availability.limit(compute_resource) if policy.bans.holds_nodes else float("inf")
        names = [*free[key], *held[key]]
        spared = len(names) if limit >= len(names) else int(limit)
        to_hold = names[spared : len(free[key])] if spared < len(free[key]) else []
        released += held[key][: max(0, spared - len(free[key]))]
        marked += to_hold + held[key][max(0, spared - len(free[key])) :]
        if to_hold:
            refusals = availability.refusals(compute_resource)
            is_protected = any(ban.scope.kind is FailureKind.BOOTSTRAP for ban in refusals)
            why = Reason.PROTECTED if is_protected else Reason.NO_CAPACITY
            wanted.append(HoldNodes(tuple(to_hold), sentence(refusals), why))
    release = ReleaseNodes(tuple(sorted(released))) if released else None
    return wanted, release, tuple(sorted([*marked, *released]))


def _is_unused(node: Node) -> bool:
    """Slurm counts on no instance, and no job has it."""
    return node.base is NodeBase.IDLE and (node.is_powered_down or node.is_powering_down)


def _is_held(node: Node, snapshot: Snapshot) -> bool:
    """Our drain: by its reason, or because we set it and a power-up took the reason away."""
    has_lost_reason = NodeFlag.DRAIN in node.flags and not node.reason and node.name in snapshot.offerings.held
    return node.is_held_by_us or has_lost_reason
