"""What follows from announcements that EC2 takes instances back: their nodes leave before they die."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime

from clustermgtd.model.action import DrainNodes, PowerDownNodes, Reason, SetNodesDown
from clustermgtd.model.claim import BACKED, Launch, NodeClaim
from clustermgtd.model.ids import InstanceId, LaunchToken, NodeName
from clustermgtd.model.node import Node, NodeFlag
from clustermgtd.model.node_report import HookState
from clustermgtd.model.notice import Notice, NoticeAction, NoticeKind
from clustermgtd.model.policy import Policy, RebalancePolicy
from clustermgtd.model.snapshot import Snapshot

TAKEN = frozenset({NoticeKind.SPOT_INTERRUPTION, NoticeKind.RESERVATION_INTERRUPTION, NoticeKind.FLEET_TERMINATION})
"""Announcements that EC2 takes the instance, and that somebody else gets its capacity."""
HOOK_MARGIN_S = 10.0
"""A hook that is not done this long before the end is not waited for: the agent has ended it."""


def warned(launches: Mapping[LaunchToken, Launch], snapshot: Snapshot) -> Iterator[tuple[Launch, NodeClaim, Notice]]:
    """Claims whose live instance EC2 is about to take, with the announcement that acts first."""
    if not snapshot.notices:
        return
    for launch in launches.values():
        for claim in launch.claims:
            if claim.state not in BACKED:
                continue
            taken = [n for n in snapshot.notices.get(claim.instance, ()) if n.kind in TAKEN and not n.is_over]
            if taken:
                yield launch, claim, min(taken, key=lambda notice: (notice.effective_at or 0.0, notice.id))


def interruptions(
    launches: Mapping[LaunchToken, Launch], snapshot: Snapshot, policy: Policy, taken: Collection[NodeName] = ()
) -> list[SetNodesDown | DrainNodes | PowerDownNodes]:
    """Nodes to empty, because their instances are about to go; not those in `taken`, which are helped otherwise.

    A node is set DOWN, which makes Slurm requeue its job, so that the job runs elsewhere before the instance dies and
    is never taken for finished; then it powers down, and we stop paying. Until `policy.interruption_lead_s` before
    the end its job may go on on a draining node, to finish or to write a checkpoint; so may the site's hook until it is
    done, whatever that lead is.
    """
    down: dict[str, list[NodeName]] = defaultdict(list)
    drain: dict[tuple[Reason, str], list[NodeName]] = defaultdict(list)
    power_down: dict[Reason, list[NodeName]] = defaultdict(list)
    leaving: set[NodeName] = set(taken)
    for _, claim, notice in warned(launches, snapshot):
        node = snapshot.nodes.get(claim.node)
        if node is None or claim.node in taken or not _is_ours_to_empty(node):
            continue
        leaving.add(node.name)
        if _may_stay(node, claim.instance, notice, snapshot, policy):
            if NodeFlag.DRAIN not in node.flags:
                drain[Reason.INTERRUPTION, _sentence(notice)].append(node.name)
        else:
            down[_sentence(notice)].append(node.name)
    for name, notice in _at_risk(launches, snapshot, policy):
        node = snapshot.nodes.get(name)
        if node is None or name in leaving or not _is_ours_to_empty(node) or not node.is_up:
            continue
        if not node.is_running_job:
            leaving.add(name)
            if not node.is_power_down_pending:
                power_down[Reason.REBALANCE].append(name)
        elif policy.rebalance is RebalancePolicy.REPLACE and NodeFlag.DRAIN not in node.flags:
            drain[Reason.REBALANCE, _sentence(notice)].append(name)
    for name in sorted(policy.nodes):
        node = snapshot.nodes.get(name)
        if node is not None and name not in leaving and _is_emptied(node):
            power_down[Reason.MARK_LIFTED].append(name)
    return [
        *(SetNodesDown(tuple(sorted(names)), Reason.INTERRUPTION, text) for text, names in sorted(down.items())),
        *(DrainNodes(tuple(sorted(names)), reason, text) for (reason, text), names in sorted(drain.items())),
        *(PowerDownNodes(tuple(sorted(names)), reason) for reason, names in sorted(power_down.items())),
    ]


def _at_risk(
    launches: Mapping[LaunchToken, Launch], snapshot: Snapshot, policy: Policy
) -> Iterator[tuple[NodeName, Notice]]:
    """Nodes of instances that EC2 advises to replace, where the site follows the advice."""
    if policy.rebalance is RebalancePolicy.IGNORE or not snapshot.notices:
        return
    for launch in launches.values():
        for claim in launch.claims:
            if claim.state in BACKED:
                for notice in snapshot.notices.get(claim.instance, ()):
                    if notice.kind is NoticeKind.REBALANCE and not notice.is_over:
                        yield claim.node, notice


def _is_emptied(node: Node) -> bool:
    """We drained it, perhaps before a restart, and its last job has ended."""
    if NodeFlag.DRAIN not in node.flags or node.is_marked_by_others:
        return False
    is_drained_by_us = node.is_marked_by_us and not node.is_held_by_us
    return is_drained_by_us and node.is_up and not node.is_running_job and not node.is_power_down_pending


def _is_ours_to_empty(node: Node) -> bool:
    """Slurm counts on its instance, and nobody else's mark says what is to become of it."""
    is_going = node.is_down or node.is_powered_down or node.is_powering_down
    return not is_going and not node.is_marked_by_others


def _may_stay(node: Node, instance: InstanceId, notice: Notice, snapshot: Snapshot, policy: Policy) -> bool:
    """Its job has time left, or the site's hook is not done there. A hibernation begins at once."""
    if not node.is_up or notice.effective_at is None or notice.action is NoticeAction.HIBERNATE:
        return False
    if policy.has_interruption_hook:
        report = snapshot.node_reports.get(instance)
        if report is None or report.hook in (HookState.NONE, HookState.RUNNING):
            return snapshot.now < notice.effective_at - HOOK_MARGIN_S
    return node.is_running_job and snapshot.now < notice.effective_at - policy.interruption_lead_s


def _sentence(notice: Notice) -> str:
    at = notice.effective_at
    when = "" if at is None else f" at {datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
    verb = notice.action if notice.action is not NoticeAction.NONE else "take"
    match notice.kind:
        case NoticeKind.REBALANCE:
            return "EC2 advises to replace the spot instance"
        case NoticeKind.SPOT_INTERRUPTION:
            return f"EC2 will {verb} the spot instance{when}"
        case _:
            return f"EC2 will {verb} the instance{when}: {notice.kind}"
