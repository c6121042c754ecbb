"""Instances that claims name and EC2 does not show: gone, late to be shown, or hidden while their slurmd answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from clustermgtd.model.claim import NodeClaim
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Unseen:
    """Each instance is in one of the two."""

    missing_since: dict[InstanceId, float] = field(default_factory=dict)
    """Since when neither EC2 shows it nor its node answers, as far as decisions looked."""
    hidden_since: dict[InstanceId, float] = field(default_factory=dict)
    """Since when EC2 has not shown it, though its node answers."""

    def hidden_for(self, seconds: float, now: float) -> frozenset[InstanceId]:
        """Those that EC2 has hidden for so long."""
        return frozenset(id for id, since in self.hidden_since.items() if now - since >= seconds)


def unseen(snapshot: Snapshot) -> Unseen:
    """What open claims name and EC2 does not show.

    slurmctld hears from each slurmd at least every third of SlurmdTimeout, and says so when it does not. So whoever
    answers is there, whatever EC2 says; what counts against it is only that somebody else answers in its name.
    """
    found = Unseen()
    claims = [
        claim
        for launch in snapshot.launches.values()
        for claim in launch.claims
        if claim.is_open and claim.instance and claim.instance not in snapshot.instances
    ]
    if not claims:
        return found
    others = _others(snapshot)
    memory = snapshot.memory
    for claim in claims:
        known = memory.missing_since.get(claim.instance, snapshot.now)
        if _answers(claim, snapshot, others):
            found.hidden_since[claim.instance] = memory.hidden_since.get(claim.instance, known)
        else:
            found.missing_since[claim.instance] = known
    return found


def _answers(claim: NodeClaim, snapshot: Snapshot, others: Mapping[str, set[InstanceId]]) -> bool:
    """slurmd does, on the claim's instance as far as anybody can tell.

    A claim is made for a node that powers up, so a node that is up under it has registered since.
    """
    node = snapshot.nodes.get(claim.node)
    if not claim.holds_instance or node is None or not node.is_up or node.instance_id not in ("", claim.instance):
        return False
    report = snapshot.node_reports.get(claim.instance)
    if report is not None and (report.ended or report.node not in (None, claim.node)):
        return False
    return not others.get(claim.node) and not others.get(node.address)


def _others(snapshot: Snapshot) -> Mapping[str, set[InstanceId]]:
    """Live instances by address, and by the node that their agents say they are."""
    found: dict[str, set[InstanceId]] = defaultdict(set)
    for instance in snapshot.instances.values():
        if instance.is_live:
            found[instance.private_address].add(instance.id)
            report = snapshot.node_reports.get(instance.id)
            if report is not None and report.node is not None and not report.ended:
                found[report.node].add(instance.id)
    return found
