"""Drains of operators and other programs that Slurm itself lifts when it suspends their idle node.

With `idle_on_node_suspend` the end of a node's idle time wipes its drain and leaves the reason
(docs/reference/slurm-facts.md). Whoever drained a node has not changed their mind because it was idle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from clustermgtd.model.action import RestoreDrains
from clustermgtd.model.ids import NodeName
from clustermgtd.model.node import Node, NodeBase, NodeFlag
from clustermgtd.model.policy import Policy
from clustermgtd.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class ForeignDrains:
    """What follows in one decision."""

    snapshot: Snapshot
    """In which the wiped drains are there again: everything else is decided as if they had stayed."""
    actions: list[RestoreDrains]
    known: Mapping[NodeName, str]
    """Nodes with a drain of somebody else, and its reason."""


def foreign_drains(snapshot: Snapshot, policy: Policy) -> ForeignDrains:
    """Who drained what, and what Slurm wiped since the last decision.

    A reason that was left alone is no evidence: one stays when an operator powers a DOWN node down on purpose. So only
    a drain that was seen is restored, and one that is lifted by hand, which clears the reason, is not.
    """
    known: dict[NodeName, str] = {}
    wiped: dict[str, list[NodeName]] = defaultdict(list)
    before = snapshot.memory.drained_by_others
    for name in sorted(policy.nodes):
        node = snapshot.nodes.get(name)
        if node is None:
            continue
        if NodeFlag.DRAIN in node.flags:
            if node.is_marked_by_others:
                known[name] = node.reason
        elif name in before and node.reason == before[name] and _is_suspended(node):
            known[name] = node.reason
            if node.base is NodeBase.IDLE:
                wiped[node.reason].append(name)
    if not wiped:
        return ForeignDrains(snapshot, [], known)
    restored = {
        name: replace(node, flags=node.flags | {NodeFlag.DRAIN})
        for names in wiped.values()
        for name in names
        if (node := snapshot.nodes[name])
    }
    actions = [RestoreDrains(tuple(names), text) for text, names in sorted(wiped.items())]
    return ForeignDrains(replace(snapshot, nodes={**snapshot.nodes, **restored}), actions, known)


def _is_suspended(node: Node) -> bool:
    return node.is_powering_down or node.is_powered_down
