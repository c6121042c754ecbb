"""What operators' stops and starts make the daemon do, and when they are done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from clustermgtd.model.action import (
    Action,
    CancelJobs,
    ClosePartitions,
    OpenPartitions,
    PowerDownNodes,
    Reason,
    RecordFleet,
    SetNodesDown,
)
from clustermgtd.model.fleet_status import CLUSTER, FleetRecord, FleetStatus, ScopeStatus, StopOptions, advanced
from clustermgtd.model.ids import JobId, NodeName, QueueName
from clustermgtd.model.job import Job
from clustermgtd.model.node import Node, NodeBase
from clustermgtd.model.partition import PartitionState
from clustermgtd.model.policy import Policy
from clustermgtd.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class FleetStep:
    """One decision's part in stopping and starting."""

    record: FleetRecord
    stopped: frozenset[QueueName] = frozenset()
    """Queues in which nothing is launched."""
    partitions: tuple[Action, ...] = ()
    """Partitions to close or open, after the record is stored."""

    def record_action(self, snapshot: Snapshot) -> list[RecordFleet]:
        return [RecordFleet(self.record)] if self.record != snapshot.fleet else []

    def launchable(self, policy: Policy) -> Policy:
        """The policy without the nodes for which nothing may be launched."""
        if not self.stopped:
            return policy
        return replace(policy, nodes={n: p for n, p in policy.nodes.items() if p.key.queue not in self.stopped})

    def stopped_nodes(self, policy: Policy) -> frozenset[NodeName]:
        """Nodes of stopped queues: they are seen to here, whatever else could be done about them."""
        if not self.stopped:
            return frozenset()
        return frozenset(name for name, placed in policy.nodes.items() if placed.key.queue in self.stopped)


def fleet_step(snapshot: Snapshot, policy: Policy, protected: Collection[QueueName] = ()) -> FleetStep:
    """How far stops and starts have come, by what is stored about launches, and the partitions to close and open.

    A partition is closed only if it is UP, and is remembered before it is closed, so that what somebody else closed
    is never opened by us. Level-triggered: slurmctld forgets such changes when it reads its configuration.

    A queue with a `protected` compute resource is PROTECTED as long as it runs, and so is the cluster.
    """
    record = snapshot.fleet
    if record.is_settled and not protected and not any(s.status is FleetStatus.PROTECTED for s in record.scopes):
        return FleetStep(record)
    queues = {key.queue for key in policy.compute_resources}
    for queue in sorted({CLUSTER, *protected} if protected else ()):
        record = record.with_scope(record.scope(queue))
    stopped = frozenset(queue for queue in queues if record.is_stopped(queue))
    states = snapshot.partitions
    to_close = sorted(queue for queue in stopped if states.get(queue) is PartitionState.UP)
    ours = {queue for queue in record.closed if queue in stopped or states.get(queue) is PartitionState.INACTIVE}
    to_open = sorted(ours - stopped)
    record = replace(record, closed=tuple(sorted(ours | set(to_close))))
    protected_in = set(protected)
    for scope in record.scopes:
        covered = {scope.queue} & queues if scope.queue else queues
        is_protected = not protected_in.isdisjoint(covered)
        status = _next_status(scope, covered, record, snapshot, policy, is_protected=is_protected)
        if status is not None:
            record = record.with_scope(advanced(scope, status, snapshot.now))
    partitions: list[Action] = []
    if to_close:
        partitions.append(ClosePartitions(tuple(to_close)))
    if to_open:
        partitions.append(OpenPartitions(tuple(to_open)))
    return FleetStep(record, stopped, tuple(partitions))


def _next_status(
    scope: ScopeStatus,
    queues: Collection[QueueName],
    record: FleetRecord,
    snapshot: Snapshot,
    policy: Policy,
    *,
    is_protected: bool,
) -> FleetStatus | None:
    """The status that the observation brings, if it brings another."""
    match scope.status:
        case FleetStatus.RUNNING if is_protected:
            return FleetStatus.PROTECTED
        case FleetStatus.PROTECTED if not is_protected:
            return FleetStatus.RUNNING
        case FleetStatus.STOP_REQUESTED:
            return FleetStatus.STOPPING
        case FleetStatus.STOPPING if _are_down(queues, snapshot, policy):
            return FleetStatus.STOPPED
        case FleetStatus.STOPPED if not _are_down(queues, snapshot, policy):
            return FleetStatus.STOPPING
        case FleetStatus.START_REQUESTED:
            return FleetStatus.STARTING
        case FleetStatus.STARTING if not any(q in record.closed and not record.is_stopped(q) for q in queues):
            return FleetStatus.RUNNING
        case _:
            return None


def _are_down(queues: Collection[QueueName], snapshot: Snapshot, policy: Policy) -> bool:
    """Slurm counts on no node, and no claim holds an instance. Nodes with somebody's mark are left as they are."""
    up = {
        name
        for name, placed in policy.nodes.items()
        if placed.key.queue in queues
        and (node := snapshot.nodes.get(name)) is not None
        and not (node.is_powered_down or node.is_powering_down)
    }
    left_alone = {name for name in up if snapshot.nodes[name].is_marked_by_others}
    return up <= left_alone and not any(
        claim.holds_instance and claim.node not in left_alone
        for launch in snapshot.launches.values()
        if launch.request.queue in queues
        for claim in launch.claims
    )


def stop_nodes(
    step: FleetStep, snapshot: Snapshot, policy: Policy, *, handled: Collection[NodeName]
) -> tuple[list[CancelJobs], list[SetNodesDown | PowerDownNodes]]:
    """Jobs to cancel and nodes to power down in stopped queues, but for nodes that are `handled` already.

    A node that powers up is set DOWN first, because Slurm does not power it down before ResumeTimeout otherwise. That
    is done at once in any case: its job has not begun.
    """
    if not step.stopped:
        return [], []
    jobs_of: dict[NodeName, list[Job]] = defaultdict(list)
    for job in snapshot.jobs.values():
        for name in job.nodes:
            jobs_of[name].append(job)
    cancelled: set[JobId] = set()
    down: list[NodeName] = []
    power_down: list[NodeName] = []
    options = {queue: step.record.stop_options(queue) for queue in step.stopped}
    for node, queue in _up(step, snapshot, policy):
        begun = [job for job in jobs_of[node.name] if not job.is_configuring]
        if options[queue].kills_jobs:
            cancelled |= {job.id for job in begun if job.state != "COMPLETING"}
        if node.name in handled or node.is_marked_by_others or node.is_down:
            continue
        if node.is_powering_up or _is_to_be_requeued(node, options[queue], has_begun=bool(begun)):
            down.append(node.name)
        elif not node.is_running_job and not node.is_power_down_pending:
            power_down.append(node.name)
    actions: list[SetNodesDown | PowerDownNodes] = []
    if down:
        actions.append(SetNodesDown(tuple(sorted(down)), Reason.FLEET_STOP))
    if power_down:
        actions.append(PowerDownNodes(tuple(sorted(power_down)), Reason.FLEET_STOP))
    return [CancelJobs(tuple(sorted(cancelled)), Reason.FLEET_STOP)] if cancelled else [], actions


def _up(step: FleetStep, snapshot: Snapshot, policy: Policy) -> Iterator[tuple[Node, QueueName]]:
    for name in sorted(policy.nodes):
        queue = policy.nodes[name].key.queue
        node = snapshot.nodes.get(name)
        if queue in step.stopped and node is not None and not (node.is_powered_down or node.is_powering_down):
            yield node, queue


def _is_to_be_requeued(node: Node, options: StopOptions, *, has_begun: bool) -> bool:
    """Its jobs go back to the queue. What waits for other nodes to power up has not begun; what is cancelled, or may
    end first, is waited for."""
    if node.base not in (NodeBase.ALLOCATED, NodeBase.MIXED):
        return False
    return not has_begun or not (options.when_idle or options.kills_jobs)


def nodes_of(actions: Sequence[Action]) -> set[NodeName]:
    """Nodes that a plan sets DOWN or powers down already."""
    return {name for a in actions if isinstance(a, SetNodesDown | PowerDownNodes) for name in a.nodes}
