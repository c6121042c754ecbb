"""Protected mode: a compute resource whose nodes do not come up is launched no more, but for one try now and then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from clustermgtd.decide.bans import TAKEN_BACK, place_of
from clustermgtd.decide.offerings import Availability
from clustermgtd.model.action import Reason
from clustermgtd.model.claim import ClaimState, Launch, NodeClaim
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.fleet_status import FleetStatus
from clustermgtd.model.ids import LaunchToken, QueueName
from clustermgtd.model.node import REASON_PREFIX
from clustermgtd.model.offering_memory import Ban, BanScope
from clustermgtd.model.policy import ComputeResourceKey, Policy
from clustermgtd.model.safeguards import BootRecord, ProtectionPolicy
from clustermgtd.model.snapshot import Snapshot

CODE = "BootstrapFailures"
_BOOTING = frozenset({ClaimState.LAUNCHED, ClaimState.ASSIGNED})
_STARTS = (FleetStatus.START_REQUESTED, FleetStatus.STARTING)
_BOOT_TIMEOUT_MARK = f"{REASON_PREFIX} {Reason.BOOT_TIMEOUT}"
_BY_HAND = "Client.UserInitiatedShutdown"


@dataclass(frozen=True, slots=True)
class Protection:
    """One decision's view of nodes that do not come up."""

    now: float
    boots: tuple[BootRecord, ...] = ()
    """To be stored."""
    booting: frozenset[ComputeResourceKey] = frozenset()
    """Protected compute resources of which an instance, or an answer, is still awaited."""

    @property
    def queues(self) -> frozenset[QueueName]:
        """Queues with a protected compute resource."""
        return frozenset(record.queue for record in self.boots if record.is_protected)

    @property
    def closed(self) -> frozenset[ComputeResourceKey]:
        """Compute resources for which nothing is launched now."""
        return frozenset(_key(record) for record in self.boots if record.is_protected and self.now < record.until)

    def shape(self, availability: Availability, policy: Policy) -> Availability:
        """The same with a ban on each protected compute resource: active until a try is due, ended afterwards.

        Bans do all that is needed: nodes are given back or kept out of scheduling, and one small launch at a time
        tries. Other than a ban of EC2's it does not end with an instance, but with a node that came up.
        """
        bans = list(availability.bans)
        probed = set(availability.probed)
        for record in self.boots:
            compute_resource = policy.compute_resources.get(_key(record))
            if compute_resource is None or not record.is_protected:
                continue
            scope = BanScope(FailureKind.BOOTSTRAP, place=place_of(compute_resource.key))
            bans.append(Ban(scope, record.since, record.until, record.level, code=CODE))
            if compute_resource.key in self.booting:
                probed.add(scope)
        return replace(availability, bans=tuple(bans), probed=frozenset(probed))


def protection(launches: Mapping[LaunchToken, Launch], snapshot: Snapshot, policy: Policy) -> Protection:
    """What the boots that ended with this decision teach. `launches` are as it makes them.

    A node that comes up, an operator's start, or another configuration ends it. Each compute resource is counted by
    itself, so that one that works hides nothing of another.
    """
    rules = policy.protection
    if rules.failures_max == 0:
        return Protection(snapshot.now)
    records = {_key(record): record for record in snapshot.safeguards.boots if _is_valid(record, snapshot, policy)}
    for key, cause in _boots(launches, snapshot):
        compute_resource = policy.compute_resources.get(key)
        if not cause:
            records.pop(key, None)
        elif compute_resource is not None:
            new = BootRecord(key.queue, key.name, 0, compute_resource.configuration)
            records[key] = _failed(records.get(key, new), cause, snapshot.now, rules)
    ordered = tuple(records[key] for key in sorted(records, key=lambda key: (key.queue, key.name)))
    protected = {key for key, record in records.items() if record.is_protected}
    booting = frozenset(
        key
        for launch in (launches.values() if protected else ())
        if (key := _key_of(launch)) in protected
        and any(claim.state in _BOOTING or claim.state is ClaimState.REQUESTED for claim in launch.claims)
    )
    return Protection(snapshot.now, ordered, booting)


def _failed(record: BootRecord, cause: str, now: float, rules: ProtectionPolicy) -> BootRecord:
    record = replace(record, failures=record.failures + 1, cause=cause)
    if record.is_protected and now >= record.until:
        level = record.level + 1
        return replace(record, level=level, until=now + rules.backoff_s[min(level, len(rules.backoff_s) - 1)])
    if not record.is_protected and record.failures >= rules.failures_max:
        return replace(record, since=now, until=now + rules.backoff_s[0])
    return record


def _is_valid(record: BootRecord, snapshot: Snapshot, policy: Policy) -> bool:
    compute_resource = policy.compute_resources.get(_key(record))
    if compute_resource is None or compute_resource.configuration != record.configuration:
        return False
    return not any(
        scope.status in _STARTS and scope.queue in ("", record.queue) and record.since <= scope.since
        for scope in snapshot.fleet.scopes
    )


def _boots(launches: Mapping[LaunchToken, Launch], snapshot: Snapshot) -> Iterator[tuple[ComputeResourceKey, str]]:
    """Boots that this decision sees ending: why they failed; empty for a node that came up."""
    for token, launch in sorted(launches.items()):
        before = snapshot.launches.get(token)
        if before is None or launch is before:
            continue
        for claim, old in zip(launch.claims, before.claims, strict=True):
            if old.state not in _BOOTING or claim.state is old.state:
                continue
            if claim.state is ClaimState.READY:
                yield _key_of(launch), ""
            elif cause := _why_failed(claim, snapshot):
                yield _key_of(launch), cause


def _why_failed(claim: NodeClaim, snapshot: Snapshot) -> str:
    """Why the boot counts as failed; empty if somebody broke it off, or EC2 took the capacity back."""
    if claim.state is ClaimState.LOST:
        instance = snapshot.instances.get(claim.instance)
        is_excused = instance is None or instance.state_reason in (*TAKEN_BACK, _BY_HAND)
        return "" if is_excused else claim.history[-1].cause
    node = snapshot.nodes.get(claim.node)
    if claim.state is not ClaimState.TERMINATING or node is None:
        return ""
    if node.reason.startswith(_BOOT_TIMEOUT_MARK):
        return node.reason
    if not node.is_down or node.is_marked_by_us or node.is_marked_by_others:
        return ""
    return node.reason or "Slurm gave the node up before slurmd registered"


def _key(record: BootRecord) -> ComputeResourceKey:
    return ComputeResourceKey(record.queue, record.compute_resource)


def _key_of(launch: Launch) -> ComputeResourceKey:
    return ComputeResourceKey(launch.request.queue, launch.request.compute_resource)
