"""Capacity blocks: nothing is launched outside of their time, and Slurm plans its jobs around their ends.

Level-triggered: the reservations of ours that Slurm should have follow from the blocks and the clock alone, so that a
daemon that comes back finds what is missing and what is left over. Reservations of others are read-only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from clustermgtd.model.action import (
    DeleteReservation,
    PowerDownNodes,
    PowerUpNodes,
    Reason,
    SetNodesDown,
    SetReservation,
)
from clustermgtd.model.capacity_block import BlockPhase, BlockReading, BlockState, BlockStatus, CapacityBlock
from clustermgtd.model.ids import CapacityReservationId, NodeName
from clustermgtd.model.node import Node, NodeBase, NodeFlag
from clustermgtd.model.offering import Market
from clustermgtd.model.policy import ComputeResourceKey, Policy
from clustermgtd.model.reservation import OWN_PREFIX, Reservation
from clustermgtd.model.snapshot import Snapshot

AFTER_S = 365 * 86_400.0
"""How long nodes stay reserved after their block's end, unless the block goes from cluster.yaml or from EC2 before."""
LATE_HOLD_S = 600.0
"""How far ahead nodes of a late block are reserved; renewed at half of it."""

_LAUNCHING = frozenset({BlockPhase.ACTIVE, BlockPhase.NONE})
"""EC2 is asked for instances; of a block that it does not know it says so itself."""
_HANDS_OFF = frozenset({BlockPhase.UNREAD, BlockPhase.STARTING})
_LEAVING = frozenset({BlockPhase.DRAINING, BlockPhase.ENDED})
_NOT_IDLE = frozenset(
    {
        NodeFlag.COMPLETING,
        NodeFlag.POWERED_DOWN,
        NodeFlag.POWERING_DOWN,
        NodeFlag.POWERING_UP,
        NodeFlag.POWER_DOWN,
        NodeFlag.POWER_DRAIN,
        NodeFlag.POWER_UP,
    }
)


def phase_of(id: CapacityReservationId, reading: BlockReading, now: float, drain_s: float) -> BlockPhase:
    """Where a block is in its life, by EC2's newest word and the clock."""
    block = reading.blocks.get(id)
    if block is None:
        return BlockPhase.NONE if id in reading.asked else BlockPhase.UNREAD
    if block.state is BlockState.ENDED or now >= block.ends_at:
        return BlockPhase.ENDED
    if block.state is BlockState.SCHEDULED:
        return BlockPhase.STARTING if reading.read_at < block.starts_at <= now else BlockPhase.WAITING
    return BlockPhase.DRAINING if now >= block.ends_at - drain_s else BlockPhase.ACTIVE


@dataclass(frozen=True, slots=True)
class Blocks:
    """The policy's capacity blocks at one moment of a decision."""

    statuses: tuple[BlockStatus, ...]
    reservations: tuple[SetReservation | DeleteReservation, ...]
    """What makes Slurm's reservations of ours those that there should be."""
    power_down: tuple[PowerDownNodes, ...]
    """Idle nodes whose block ends."""
    _phases: Mapping[NodeName, BlockPhase]

    @classmethod
    def of(cls, snapshot: Snapshot, policy: Policy, kept: Collection[str] = ()) -> Blocks:
        """As EC2's newest reading and the clock make them. Reservations of ours in `kept` belong to others of ours."""
        members = _members(policy)
        if not members and not snapshot.reservations:
            return cls((), (), (), {})
        now, drain_s = snapshot.now, policy.blocks.drain_s
        phases = {id: phase_of(id, snapshot.blocks, now, drain_s) for id in members}
        nodes: dict[CapacityReservationId, list[NodeName]] = {id: [] for id in members}
        of_key = {key: id for id, keys in members.items() for key in keys}
        for name in sorted(policy.nodes):
            id = of_key.get(policy.nodes[name].key)
            if id is not None and name in snapshot.nodes:
                nodes[id].append(name)
        of_node = {name: phases[id] for id, names in nodes.items() for name in names}
        statuses = (
            _status(id, key, phases[id], snapshot.blocks.blocks.get(id), drain_s)
            for id, keys in members.items()
            for key in keys
        )
        reservations = tuple(_reservations(phases, nodes, snapshot, policy, kept))
        ordered = sorted(set(statuses), key=lambda status: (status.queue, status.id))
        return cls(tuple(ordered), reservations, tuple(_power_down(of_node, snapshot)), of_node)

    def power_up(self, wanted: PowerUpNodes | None) -> PowerUpNodes | None:
        """Without nodes for which nothing can be launched now."""
        names = tuple(name for name in wanted.nodes if self._may_launch(name)) if wanted else ()
        return replace(wanted, nodes=names) if wanted and names else None

    def launchable(self, wanted: Iterable[NodeName]) -> list[NodeName]:
        """Those of the wanted nodes for which EC2 may be asked now."""
        return [name for name in wanted if self._may_launch(name)]

    def refusals(self, wanted: Iterable[NodeName], snapshot: Snapshot) -> list[SetNodesDown]:
        """Nodes that power up outside of their block's time get their answer without a call."""
        names = tuple(
            name
            for name in wanted
            if not self._may_launch(name)
            and self._phases[name] not in _HANDS_OFF
            and not snapshot.nodes[name].is_marked_by_others
        )
        detail = "the capacity block has not started, or ends"
        return [SetNodesDown(names, Reason.BLOCK_INACTIVE, detail)] if names else []

    def _may_launch(self, name: NodeName) -> bool:
        return self._phases.get(name, BlockPhase.ACTIVE) in _LAUNCHING


def next_change(statuses: Iterable[BlockStatus], now: float) -> float:
    """When the clock alone changes the phase of a block, epoch seconds; infinity if it never will."""
    times = (at for status in statuses for at in (status.starts_at, status.drains_at, status.ends_at))
    return min((at for at in times if at > now), default=float("inf"))


def _members(policy: Policy) -> dict[CapacityReservationId, list[ComputeResourceKey]]:
    """Compute resources by block, if they can be launched nowhere else."""
    members: dict[CapacityReservationId, list[ComputeResourceKey]] = defaultdict(list)
    for key, id in policy.blocks.of.items():
        if all(tier.market is Market.CAPACITY_BLOCK for tier in policy.compute_resources[key].tiers):
            members[id].append(key)
    return {id: members[id] for id in sorted(members)}


def _status(
    id: CapacityReservationId,
    key: ComputeResourceKey,
    phase: BlockPhase,
    block: CapacityBlock | None,
    drain_s: float,
) -> BlockStatus:
    if block is None:
        return BlockStatus(id, key.queue, phase)
    return BlockStatus(id, key.queue, phase, block.starts_at, block.ends_at - drain_s, block.ends_at)


def _reservations(
    phases: Mapping[CapacityReservationId, BlockPhase],
    nodes: Mapping[CapacityReservationId, list[NodeName]],
    snapshot: Snapshot,
    policy: Policy,
    others: Collection[str],
) -> Iterator[SetReservation | DeleteReservation]:
    """What makes Slurm's reservations of ours those that there should be."""
    kept = set(others)
    for id, phase in phases.items():
        if phase in _HANDS_OFF:
            kept |= {_before_name(id), _after_name(id)}
            continue
        block = snapshot.blocks.blocks.get(id)
        if block is None or not nodes[id]:
            continue
        for wanted, reason in _wanted(block, phase, tuple(nodes[id]), snapshot, policy):
            kept.add(wanted.name)
            if not is_met(snapshot.reservations.get(wanted.name), wanted, snapshot.now):
                yield SetReservation(wanted, reason)
    for name, found in sorted(snapshot.reservations.items()):
        # slurmctld forgets one that has ended by itself, some seconds later
        if found.is_ours and name not in kept and found.ends_at > snapshot.now:
            yield DeleteReservation(name)


def _wanted(
    block: CapacityBlock, phase: BlockPhase, nodes: tuple[NodeName, ...], snapshot: Snapshot, policy: Policy
) -> Iterator[tuple[Reservation, Reason]]:
    """The reservations that Slurm should have for one block, and why.

    The one before the start ends by itself, and the one at the end is there from the beginning, so that both hold
    while no daemon runs.
    """
    now = snapshot.now
    if phase is BlockPhase.WAITING:
        name = _before_name(block.id)
        ends_at = block.starts_at
        if ends_at <= now:
            known = snapshot.reservations.get(name)
            is_held = known is not None and known.ends_at >= now + LATE_HOLD_S / 2
            ends_at = known.ends_at if known is not None and is_held else now + LATE_HOLD_S
        yield Reservation(name, nodes, now, ends_at), Reason.BLOCK_INACTIVE
    starts_at = block.ends_at - policy.blocks.drain_s
    if phase is BlockPhase.ENDED:
        starts_at = min(starts_at, now)
    yield Reservation(_after_name(block.id), nodes, starts_at, block.ends_at + AFTER_S), Reason.BLOCK_ENDING


def is_met(found: Reservation | None, wanted: Reservation, now: float) -> bool:
    """Slurm has what is wanted, up to fractions of seconds; which moment of the past one began is all the same."""
    if found is None or found.nodes != wanted.nodes or abs(found.ends_at - wanted.ends_at) > 1:
        return False
    have_begun = found.starts_at <= now + 1 and wanted.starts_at <= now + 1
    return have_begun or abs(found.starts_at - wanted.starts_at) <= 1


def _power_down(phases: Mapping[NodeName, BlockPhase], snapshot: Snapshot) -> Iterator[PowerDownNodes]:
    """Idle nodes of blocks that end: whoever has a job keeps it until EC2 takes the instance."""
    idle = tuple(name for name, phase in sorted(phases.items()) if phase in _LEAVING and _is_idle(snapshot.nodes[name]))
    if idle:
        yield PowerDownNodes(idle, Reason.BLOCK_ENDING)


def _is_idle(node: Node) -> bool:
    return node.base is NodeBase.IDLE and not node.flags & _NOT_IDLE and not node.is_marked_by_others


def _before_name(id: CapacityReservationId) -> str:
    return f"{OWN_PREFIX}{id}-before"


def _after_name(id: CapacityReservationId) -> str:
    return f"{OWN_PREFIX}{id}-after"
