"""Scheduled events of EC2: Slurm plans around them, and nodes leave their instances before.

Level-triggered: each event that is known and not over has a reservation of ours as long as a job may be on its node.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from clustermgtd.decide.reservations import is_met
from clustermgtd.model.action import DrainNodes, PowerDownNodes, Reason, SetNodesDown, SetReservation
from clustermgtd.model.claim import BACKED, Launch, NodeClaim
from clustermgtd.model.ids import InstanceId, LaunchToken, NodeName
from clustermgtd.model.node import Node, NodeFlag
from clustermgtd.model.notice import Notice, NoticeAction, NoticeKind
from clustermgtd.model.policy import Policy
from clustermgtd.model.reservation import OWN_PREFIX, Reservation
from clustermgtd.model.snapshot import Snapshot

PREFIX = f"{OWN_PREFIX}maintenance-"
"""How the name of an event's reservation begins; the instance's id follows."""
AFTER_S = 86_400.0
"""How long after an event's time its reservation ends at the latest: an end lets Slurm tell when jobs may start."""

_ENDING = frozenset({NoticeAction.TERMINATE, NoticeAction.STOP, NoticeAction.HIBERNATE, NoticeAction.REBOOT})
"""What runs on the instance ends for certain."""


@dataclass(slots=True)
class Maintenance:
    """What follows from scheduled events, in one decision."""

    actions: list[SetNodesDown | DrainNodes | PowerDownNodes] = field(default_factory=list)
    reservations: list[SetReservation] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)
    """Names of reservations that are not to be deleted."""
    unexplained_since: dict[str, float] = field(default_factory=dict)
    """Kept ones whose event is not known (any more): after a restart it may be told again."""
    wake_at: float = float("inf")
    """Epoch seconds at which the clock alone makes something due."""


def maintenance(
    launches: Mapping[LaunchToken, Launch], snapshot: Snapshot, policy: Policy, taken: Collection[NodeName] = ()
) -> Maintenance:
    """Reservations for nodes with a job, power-downs for idle ones, and drains when the lead time begins.

    Nodes in `taken` are helped otherwise. A job that still runs `policy.interruption_lead_s` before EC2 ends its
    instance is requeued then, as at a spot interruption; one on an instance whose time has passed without EC2's acting
    is left to end.
    """
    made = Maintenance()
    ours = [name for name in sorted(snapshot.reservations) if name.startswith(PREFIX)]
    if not ours and not _has_events(snapshot):
        return made
    down: dict[str, list[NodeName]] = defaultdict(list)
    drain: dict[str, list[NodeName]] = defaultdict(list)
    power_down: list[NodeName] = []
    for claim, node, event in _concerned(launches, snapshot, policy):
        begins_at = snapshot.now if event.effective_at is None else event.effective_at - policy.maintenance_lead_s
        _reserve(made, claim.instance, node, event, snapshot, policy)
        if node.name in taken or node.is_marked_by_others:
            continue
        if node.is_up and not node.is_running_job:
            if not node.is_power_down_pending:
                power_down.append(node.name)
        elif _acts_soon(event, snapshot, policy):
            down[_sentence(event)].append(node.name)
        elif snapshot.now >= begins_at and node.is_up and NodeFlag.DRAIN not in node.flags:
            drain[_sentence(event)].append(node.name)
    for text, names in sorted(down.items()):
        made.actions.append(SetNodesDown(tuple(sorted(names)), Reason.MAINTENANCE, text))
    for text, names in sorted(drain.items()):
        made.actions.append(DrainNodes(tuple(sorted(names)), Reason.MAINTENANCE, text))
    if power_down:
        made.actions.append(PowerDownNodes(tuple(sorted(power_down)), Reason.MAINTENANCE))
    _keep_unexplained(made, ours, launches, snapshot, policy)
    return made


def _has_events(snapshot: Snapshot) -> bool:
    return any(n.kind is NoticeKind.SCHEDULED_EVENT for notices in snapshot.notices.values() for n in notices)


def _concerned(
    launches: Mapping[LaunchToken, Launch], snapshot: Snapshot, policy: Policy
) -> Iterator[tuple[NodeClaim, Node, Notice]]:
    """Claims whose node counts on an instance with an event ahead, with the event that comes first."""
    for launch in launches.values():
        for claim in launch.claims:
            if claim.state not in BACKED:
                continue
            events = [
                notice
                for notice in snapshot.notices.get(claim.instance, ())
                if notice.kind is NoticeKind.SCHEDULED_EVENT and not notice.is_over
            ]
            node = snapshot.nodes.get(claim.node)
            if events and node is not None and node.name in policy.nodes and not _is_going(node):
                yield claim, node, min(events, key=lambda notice: (notice.effective_at or 0.0, notice.id))


def _is_going(node: Node) -> bool:
    return node.is_down or node.is_powered_down or node.is_powering_down or node.is_unclear


def _reserve(
    made: Maintenance, instance: InstanceId, node: Node, event: Notice, snapshot: Snapshot, policy: Policy
) -> None:
    """Make sure that Slurm plans around the event where a job may run into it. A node that is idle goes at once."""
    name = f"{PREFIX}{instance}"
    at = event.effective_at
    if at is None or at + AFTER_S <= snapshot.now:
        return
    made.kept.add(name)
    times = (at - policy.maintenance_lead_s, at - policy.interruption_lead_s)
    made.wake_at = min([made.wake_at, *(time for time in times if time > snapshot.now)])
    wanted = Reservation(name, (node.name,), times[0], at + AFTER_S)
    is_idle = node.is_up and not node.is_running_job
    if not is_idle and not is_met(snapshot.reservations.get(name), wanted, snapshot.now):
        made.reservations.append(SetReservation(wanted, Reason.MAINTENANCE))


def _acts_soon(event: Notice, snapshot: Snapshot, policy: Policy) -> bool:
    at = event.effective_at
    return at is not None and event.action in _ENDING and at - policy.interruption_lead_s <= snapshot.now < at


def _keep_unexplained(
    made: Maintenance,
    ours: list[str],
    launches: Mapping[LaunchToken, Launch],
    snapshot: Snapshot,
    policy: Policy,
) -> None:
    """A reservation whose instance still backs a node outlives the news of its event by the time of some readings."""
    unexplained = [name for name in ours if name not in made.kept]
    if not unexplained:
        return
    backed = {c.instance for launch in launches.values() for c in launch.claims if c.state in BACKED}
    for name in unexplained:
        since = snapshot.memory.unexplained_since.get(name, snapshot.now)
        is_recent = snapshot.now - since < policy.maintenance_forget_s
        if InstanceId(name.removeprefix(PREFIX)) in backed and is_recent:
            made.kept.add(name)
        if InstanceId(name.removeprefix(PREFIX)) in backed:
            made.unexplained_since[name] = since


def _sentence(event: Notice) -> str:
    at = event.effective_at
    when = "" if at is None else f" from {datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return f"EC2 schedules {event.action} of the instance{when}"
