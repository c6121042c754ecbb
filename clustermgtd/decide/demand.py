"""What Slurm wants that nothing backs yet."""

from __future__ import annotations

from collections.abc import Mapping

from clustermgtd.decide.offerings import Availability
from clustermgtd.model.action import PowerUpNodes, Reason
from clustermgtd.model.claim import Launch
from clustermgtd.model.ids import LaunchToken, NodeName
from clustermgtd.model.node import Node, NodeFlag
from clustermgtd.model.policy import Policy
from clustermgtd.model.snapshot import Snapshot


def claimed(launches: Mapping[LaunchToken, Launch]) -> set[NodeName]:
    """Nodes with an open claim, whatever its state."""
    return {claim.node for launch in launches.values() for claim in launch.claims if claim.is_open}


def unclaimed_demand(launches: Mapping[LaunchToken, Launch], snapshot: Snapshot, policy: Policy) -> list[NodeName]:
    """Managed nodes that power up without a claim, sorted.

    A node whose former claim is not closed has to wait: its instance may still be paid for.
    """
    wanted = [n for n in policy.nodes if (node := snapshot.nodes.get(n)) is not None and node.is_powering_up]
    return sorted(set(wanted) - claimed(launches)) if wanted else []


def is_free_and_powered_down(node: Node) -> bool:
    """It may be powered up without a job: nobody's drain or mark is on it."""
    return (
        node.is_powered_down
        and not node.is_down
        and not node.is_marked_by_others
        and not node.is_unclear
        and not node.flags & {NodeFlag.POWER_UP, NodeFlag.POWERING_UP, NodeFlag.DRAIN}
    )


def static_power_up(
    launches: Mapping[LaunchToken, Launch], snapshot: Snapshot, policy: Policy, availability: Availability
) -> PowerUpNodes | None:
    """Static nodes that are powered down, free of anybody's drain, not tried just now, and that EC2 may have."""
    if not any(placed.is_static for placed in policy.nodes.values()):
        return None
    taken = claimed(launches)
    tried = snapshot.memory.power_up_asked_at
    due = [
        name
        for name in sorted(policy.nodes)
        if policy.nodes[name].is_static
        and name not in taken
        and (node := snapshot.nodes.get(name)) is not None
        and is_free_and_powered_down(node)
        and snapshot.now - tried.get(name, float("-inf")) >= policy.static_retry_s
        and availability.limit(policy.compute_resources[policy.nodes[name].key]) >= 1
    ]
    return PowerUpNodes(tuple(due), Reason.STATIC) if due else None
