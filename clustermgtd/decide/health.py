"""Ill instances: each kind of illness is waited for as long as the site says, then the node leaves its instance.

A job that still runs is let end on a draining node. Where it is lost anyway, or there is none, the node goes DOWN and
is powered down, and the next job or the node's being static brings a fresh instance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from clustermgtd.model.action import DrainNodes, Reason, SetNodesDown
from clustermgtd.model.claim import BACKED, ClaimState, Launch, NodeClaim
from clustermgtd.model.failed_node import FailedNode
from clustermgtd.model.ids import InstanceId, LaunchToken, NodeName
from clustermgtd.model.node import Node, NodeFlag
from clustermgtd.model.node_report import BootPhase, NodeReport
from clustermgtd.model.notice import NoticeKind
from clustermgtd.model.policy import Policy
from clustermgtd.model.snapshot import Snapshot

_BOOTING = frozenset({ClaimState.LAUNCHED, ClaimState.ASSIGNED})


@dataclass(frozen=True, slots=True)
class _Symptom:
    reason: Reason
    key: str
    """Tells symptoms of one instance apart."""
    timeout_s: float
    detail: str
    since: float | None = None
    """None: since it was first observed."""
    seen_at: float = float("inf")
    """When its source was last read; what was read before the timeout ended proves nothing."""


@dataclass(slots=True)
class Illness:
    """Which nodes are on ill instances, in one decision."""

    failed: dict[NodeName, FailedNode] = field(default_factory=dict)
    """For longer than is waited."""
    idle: set[NodeName] = field(default_factory=set)
    """Those of them that no job is on: `leave` sees to them."""
    kept: set[NodeName] = field(default_factory=set)
    """Those of them whose instance is kept, for people to look at."""
    spared: set[NodeName] = field(default_factory=set)
    """Rejected by Slurm, and not for long enough."""
    ill_since: dict[tuple[InstanceId, str], float] = field(default_factory=dict)
    kept_since: dict[InstanceId, float] = field(default_factory=dict)
    wake_at: float = float("inf")

    def leave(self, snapshot: Snapshot, taken: Collection[NodeName]) -> list[SetNodesDown | DrainNodes]:
        """What is done about them, but for nodes in `taken`, which have an action already."""
        down: dict[tuple[Reason, str, bool], list[NodeName]] = defaultdict(list)
        drain: dict[tuple[Reason, str], list[NodeName]] = defaultdict(list)
        for name, failed in sorted(self.failed.items()):
            node = snapshot.nodes[name]
            if name in taken or node.is_marked_by_others or node.is_down:
                continue
            is_kept = name in self.kept
            is_draining = NodeFlag.DRAIN in node.flags
            if _may_end(node) or (is_kept and (node.is_up or is_draining)):
                if node.is_up and not is_draining:
                    drain[failed.reason, failed.detail].append(name)
            elif is_kept or failed.reason is not Reason.UNHEALTHY:  # which Slurm rejected: `exits` powers it down
                down[failed.reason, failed.detail, not is_kept].append(name)
        return [
            *(SetNodesDown(tuple(names), *why) for why, names in sorted(down.items())),
            *(DrainNodes(tuple(names), *why) for why, names in sorted(drain.items())),
        ]


def illness(launches: Mapping[LaunchToken, Launch], snapshot: Snapshot, policy: Policy) -> Illness:
    """What ails whom, since when, and who is given up."""
    found = Illness()
    for launch in launches.values():
        for claim in launch.claims:
            node = snapshot.nodes.get(claim.node)
            if claim.state not in BACKED or node is None or node.name not in policy.nodes:
                continue
            if node.is_unclear or node.is_powered_down or node.is_powering_down:
                continue
            for symptom in _symptoms(claim, node, snapshot, policy):
                _weigh(found, symptom, claim, node, snapshot)
            if node.name in found.failed and not _may_end(node):
                found.idle.add(node.name)
                _keep(found, claim, node, snapshot, policy)
    return found


def _weigh(found: Illness, symptom: _Symptom, claim: NodeClaim, node: Node, snapshot: Snapshot) -> None:
    key = (claim.instance, symptom.key)
    since = symptom.since
    if since is None:
        since = found.ill_since[key] = snapshot.memory.ill_since.get(key, snapshot.now)
    ends_at = since + symptom.timeout_s
    if snapshot.now < ends_at or symptom.seen_at < ends_at:
        if ends_at > snapshot.now:
            found.wake_at = min(found.wake_at, ends_at)
        if symptom.reason is Reason.UNHEALTHY:
            found.spared.add(node.name)
    elif node.name not in found.failed:
        found.failed[node.name] = FailedNode(node.name, claim.instance, symptom.reason, symptom.detail)


def _keep(found: Illness, claim: NodeClaim, node: Node, snapshot: Snapshot, policy: Policy) -> None:
    if policy.health.keep_s <= 0 or node.is_marked_by_others:
        return
    since = snapshot.memory.kept_since.get(claim.instance, snapshot.now)
    found.kept_since[claim.instance] = since
    if snapshot.now < since + policy.health.keep_s:
        found.kept.add(node.name)
        found.wake_at = min(found.wake_at, since + policy.health.keep_s)


def _may_end(node: Node) -> bool:
    """A job is on it that may yet end as it would."""
    return node.is_running_job and not node.is_down and node.is_responding and NodeFlag.POWERING_UP not in node.flags


def _symptoms(claim: NodeClaim, node: Node, snapshot: Snapshot, policy: Policy) -> Iterator[_Symptom]:
    health = policy.health
    report = snapshot.node_reports.get(claim.instance)
    if health.impaired_s is not None:
        for notice in snapshot.notices.get(claim.instance, ()):
            if notice.kind is NoticeKind.IMPAIRED and not notice.is_over:
                yield _Symptom(
                    Reason.IMPAIRED, f"impaired {notice.matter}", health.impaired_s, notice.detail, notice.announced_at
                )
    if NodeFlag.INVALID_REG in node.flags:
        detail = node.reason or "slurmctld rejects slurmd's registration"
        yield _Symptom(Reason.UNHEALTHY, "rejected", _or_for_ever(health.invalid_registration_s), detail)
    if report is not None and report.health is not None and health.check_s is not None:
        last = report.health.output.strip().rpartition("\n")[2]
        detail = f"the health check ends with {report.health.exit_code}: {last}"
        yield _Symptom(Reason.HEALTH_CHECK, "health-check", health.check_s, detail)
    if report is not None and report.slurmd is not None and health.slurmd_s is not None:
        detail = f"slurmd ended {report.slurmd.failures} times in a row, with {report.slurmd.exit_code}"
        yield _Symptom(Reason.SLURMD_FAILING, "slurmd", health.slurmd_s, detail)
    if claim.state in _BOOTING and not node.is_up:
        yield from _boot(claim, report, snapshot, policy)


def _or_for_ever(timeout_s: float | None) -> float:
    return float("inf") if timeout_s is None else timeout_s


def _boot(claim: NodeClaim, report: NodeReport | None, snapshot: Snapshot, policy: Policy) -> Iterator[_Symptom]:
    """The phase that the boot is in lasts too long, if the agents' reports were read since."""
    reached = [phase for phase in BootPhase if report is not None and phase in report.phases]
    if reached:
        timeout_s = policy.health.boot_s.get(reached[-1])
        since, told = None, f"its agent has come to {reached[-1]}"
    else:
        instance = snapshot.instances.get(claim.instance)
        if instance is None or not instance.launched_at:
            return
        timeout_s = policy.health.agent_start_s
        since, told = instance.launched_at, "its agent has told nothing"
    if timeout_s is not None:
        detail = f"{told} and no further in {timeout_s:.0f} s"
        key = f"boot {reached[-1] if reached else ''}"
        yield _Symptom(Reason.BOOT_TIMEOUT, key, timeout_s, detail, since, snapshot.node_reports_at)
