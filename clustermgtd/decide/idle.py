"""Idle nodes that may idle for less than the rest of their partition: Slurm has one SuspendTime for all of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from clustermgtd.model.action import PowerDownNodes, Reason
from clustermgtd.model.ids import NodeName
from clustermgtd.model.node import Node, NodeBase, NodeFlag
from clustermgtd.model.policy import Policy
from clustermgtd.model.snapshot import Snapshot

_HELD = frozenset({NodeFlag.COMPLETING, NodeFlag.DRAIN, NodeFlag.FAIL, NodeFlag.REBOOT_REQUESTED})
"""A job is being cleaned up there, or somebody has other plans with the node."""


@dataclass(frozen=True, slots=True)
class Idling:
    """What follows from idle times, in one decision."""

    power_down: tuple[PowerDownNodes, ...] = ()
    wake_at: float = float("inf")
    """Epoch seconds at which the next node has idled for long enough."""


def idling(snapshot: Snapshot, policy: Policy, spared: Collection[NodeName] = ()) -> Idling:
    """Nodes to power down because they have been idle for as long as they may, by Slurm's own count.

    Not those that are `spared`, static, or held by a job: one that still runs, is being cleaned up, or is suspended
    (Slurm shows its node as IDLE). `POWER_DOWN` does no harm to a job that Slurm places there before it arrives: it
    waits for the job's end. `POWER_DOWN_ASAP` would drain the node, which requeues a job that waits for others of its
    nodes to power up (docs/reference/slurm-facts.md).
    """
    if not policy.idle_after_s:
        return Idling()
    busy = {name for job in snapshot.jobs.values() for name in job.nodes}
    due: list[NodeName] = []
    wake_at = float("inf")
    for name in sorted(policy.nodes):
        placed, node = policy.nodes[name], snapshot.nodes.get(name)
        idle_s = policy.idle_after_s.get(placed.key)
        if idle_s is None or node is None or placed.is_static or name in busy or name in spared or not is_idle(node):
            continue
        if snapshot.now >= node.last_busy_at + idle_s:
            due.append(name)
        else:
            wake_at = min(wake_at, node.last_busy_at + idle_s)
    return Idling((PowerDownNodes(tuple(due), Reason.IDLE),) if due else (), wake_at)


def is_idle(node: Node) -> bool:
    """Up, free, and nobody's: idle since `last_busy_at`."""
    is_free = node.base is NodeBase.IDLE and node.is_up and not node.is_power_down_pending
    return is_free and not node.flags & _HELD and node.last_busy_at > 0
