"""Ways out of node states that Slurm does not leave by itself, or leaves late; and what is only reported.

docs/reference/node-states.md is made from the decisions and lists every state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from clustermgtd.decide.ordinary import is_ordinary
from clustermgtd.model.action import PowerDownNodes, Reason, SetNodesDown
from clustermgtd.model.claim import BACKED, ClaimState, NodeClaim
from clustermgtd.model.ids import InstanceId, NodeName
from clustermgtd.model.left_alone import LeftAlone
from clustermgtd.model.node import Node, NodeBase, NodeFlag
from clustermgtd.model.policy import Policy
from clustermgtd.model.snapshot import Snapshot

HUNG_S = 600.0
"""For so long Slurm may wait for a machine that does not answer to clean up its last job. By default it gives up after
SlurmdTimeout, which is less; some releases were seen to wait for ever."""


@dataclass(frozen=True, slots=True)
class Exits:
    """What is done about nodes, and what is said about those of which nothing is done."""

    actions: list[SetNodesDown | PowerDownNodes]
    left_alone: dict[NodeName, LeftAlone]
    silent_since: dict[NodeName, float]


@dataclass(frozen=True, slots=True)
class _Down:
    """Set it DOWN, then power it down."""

    reason: Reason
    detail: str = ""


_Outcome = _Down | Reason | LeftAlone | None
"""A reason alone is one for a power-down."""


def exits(
    unusual: Mapping[NodeName, Sequence[NodeClaim]],
    snapshot: Snapshot,
    policy: Policy,
    taken: Collection[NodeName],
    hidden: Collection[InstanceId] = (),
) -> Exits:
    """For each of the `unusual` nodes at most one outcome. Those in `taken` have an action of this plan already;
    instances that are `hidden` are not shown by EC2, and their nodes answer."""
    down: dict[tuple[Reason, str], list[NodeName]] = defaultdict(list)
    power_down: dict[Reason, list[NodeName]] = defaultdict(list)
    found = Exits([], {}, {})
    live = (
        {text for i in snapshot.instances.values() if i.is_live for text in (i.id, i.private_address) if text}
        if unusual
        else set()
    )
    for name, claims in unusual.items():
        node = snapshot.nodes.get(name)
        claim = claims[-1] if claims else None
        if is_ordinary(node, claim, snapshot):
            continue
        outcome = _outcome(node, claim, snapshot)
        if outcome is None and claim is not None and claim.instance in hidden:
            outcome = LeftAlone.HIDDEN
        if node is not None and outcome is None and _is_silent(node, claim, live):
            found.silent_since[name] = snapshot.memory.silent_since.get(name, snapshot.now)
            grace_s = HUNG_S if claim is not None and claim.holds_instance else policy.missing_grace_s
            if snapshot.now - found.silent_since[name] >= grace_s:
                outcome = _Down(Reason.UNREACHABLE) if node.counts_on_instance else Reason.UNREACHABLE
        match outcome:
            case LeftAlone():
                found.left_alone[name] = outcome
            case Reason() if name not in taken:
                power_down[outcome].append(name)
            case _Down(reason, detail) if name not in taken:
                down[reason, detail].append(name)
    found.actions.extend(SetNodesDown(tuple(names), *why) for why, names in sorted(down.items()))
    found.actions.extend(PowerDownNodes(tuple(names), reason) for reason, names in sorted(power_down.items()))
    return found


def _outcome(node: Node | None, claim: NodeClaim | None, snapshot: Snapshot) -> _Outcome:
    if node is None or node.base is NodeBase.FUTURE:
        return LeftAlone.NOT_SHOWN
    if node.is_unclear:
        return LeftAlone.UNCLEAR
    if node.is_rebooting:
        return LeftAlone.REBOOTING
    if node.is_marked_by_others:
        return LeftAlone.MARKED
    if node.is_down:
        return None
    if node.is_power_up_revoked:
        return _Down(Reason.POWER_DOWN)
    if node.counts_on_instance and claim is not None:
        doomed = _doom(claim, snapshot)
        if doomed is not None:
            return doomed
    return _unusable(node, snapshot) or _unclaimed(node, claim)


def _doom(claim: NodeClaim, snapshot: Snapshot) -> _Down | None:
    """Slurm counts on an instance that is ending, or will not come back."""
    instance = snapshot.instances.get(claim.instance)
    if claim.state is ClaimState.TERMINATING:
        return _Down(Reason.INSTANCE_LOST, "its instance is being ended")
    if claim.state in BACKED and instance is not None and instance.is_stopped:
        return _Down(Reason.INSTANCE_STOPPED, f"EC2 shows {instance.state} {instance.state_reason}".rstrip())
    return None


def _unusable(node: Node, snapshot: Snapshot) -> Reason | LeftAlone | None:
    """Idle and up, but kept from jobs by Slurm itself, or by a drain that nobody explained."""
    is_draining = bool(node.flags & {NodeFlag.DRAIN, NodeFlag.FAIL})
    if node.is_power_down_pending or node.is_powering_down or node.is_running_job:
        return None
    if is_draining and not node.reason and node.name not in snapshot.offerings.held:
        return LeftAlone.MARKED
    is_rejected = NodeFlag.INVALID_REG in node.flags or (is_draining and node.is_marked_by_slurm)
    return Reason.UNHEALTHY if is_rejected and node.counts_on_instance else None


def _unclaimed(node: Node, claim: NodeClaim | None) -> LeftAlone | None:
    is_backed = claim is not None and (claim.holds_instance or claim.state is ClaimState.LOST)
    return LeftAlone.UNCLAIMED if node.counts_on_instance and node.is_responding and not is_backed else None


def _is_silent(node: Node, claim: NodeClaim | None, live: Collection[str]) -> bool:
    """Slurm says that it does not respond, and no instance of ours is there that could, or that runs a job.

    `live` are ids and addresses of instances. A powered-down node keeps the flag after RESUME and UNDRAIN; with the
    next reconfiguration or restart of slurmctld no job gets it any more. A node that was left COMPLETING by a dead
    machine is in the same position.
    """
    if node.is_responding or node.is_down or node.is_powering_up:
        return False
    if claim is not None and claim.holds_instance:
        return node.counts_on_instance and node.base is NodeBase.IDLE and NodeFlag.COMPLETING in node.flags
    if node.counts_on_instance:
        return node.instance_id not in live and node.address not in live
    is_idle = node.base is NodeBase.IDLE and node.is_powered_down
    return is_idle and not node.flags & {NodeFlag.DRAIN, NodeFlag.POWER_UP, NodeFlag.POWER_DOWN}
