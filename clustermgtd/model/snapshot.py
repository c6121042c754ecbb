"""One complete observation of the world, and what a decision about it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from clustermgtd.model.action import Action
from clustermgtd.model.capacity_block import BlockReading, BlockStatus
from clustermgtd.model.claim import Launch
from clustermgtd.model.failed_node import FailedNode
from clustermgtd.model.fleet_status import FleetRecord
from clustermgtd.model.gang import HeldGang
from clustermgtd.model.ids import InstanceId, JobId, LaunchToken, NodeName, QueueName, SubnetId
from clustermgtd.model.instance import Instance
from clustermgtd.model.job import Job
from clustermgtd.model.left_alone import LeftAlone
from clustermgtd.model.node import Node
from clustermgtd.model.node_report import NodeReport
from clustermgtd.model.notice import Notices
from clustermgtd.model.offering import Subnet
from clustermgtd.model.offering_memory import OfferingMemory
from clustermgtd.model.partition import PartitionState
from clustermgtd.model.reservation import Reservation
from clustermgtd.model.safeguards import Safeguards
from clustermgtd.model.schedule import ScheduleName, ScheduleTime
from clustermgtd.model.warm import WarmStatus


@dataclass(frozen=True, slots=True)
class Sighting:
    """An orphan that waits for its second look."""

    first_at: float
    count: int


@dataclass(frozen=True, slots=True)
class Memory:
    """What one decision tells the next. Losing it costs time, never correctness: almost every entry only delays."""

    is_new: bool = True
    """No decision was made yet: the daemon has just started, or just become the leader."""
    orphans: Mapping[InstanceId, Sighting] = field(default_factory=dict)
    missing_since: Mapping[InstanceId, float] = field(default_factory=dict)
    """First observation without an instance that a claim names, and without an answer from its node."""
    hidden_since: Mapping[InstanceId, float] = field(default_factory=dict)
    """First observation without an instance whose node answers."""
    terminate_called_at: Mapping[InstanceId, float] = field(default_factory=dict)
    power_up_asked_at: Mapping[NodeName, float] = field(default_factory=dict)
    silent_since: Mapping[NodeName, float] = field(default_factory=dict)
    """First observation of a node as not responding without an instance of ours."""
    freed_jobs: Mapping[JobId, tuple[NodeName, ...]] = field(default_factory=dict)
    """Jobs that lost a node by our hand, with their allocation then."""
    freed_at: Mapping[JobId, float] = field(default_factory=dict)
    """When each of `freed_jobs` last lost a node, was COMPLETING, or showed the hold."""
    ill_since: Mapping[tuple[InstanceId, str], float] = field(default_factory=dict)
    """First observation of an instance's symptom that does not say itself when it began."""
    kept_since: Mapping[InstanceId, float] = field(default_factory=dict)
    """Ill instances that are kept for people to look at."""
    unexplained_since: Mapping[str, float] = field(default_factory=dict)
    """First observation of a maintenance reservation of ours whose event is not known."""
    drained_by_others: Mapping[NodeName, str] = field(default_factory=dict)
    """Reasons of drains that are not ours. One that Slurm wipes while no daemon looks stays wiped."""
    wanted_since: Mapping[NodeName, float] = field(default_factory=dict)
    """First observation in which Slurm powered a node up that may wait for a capacity tier."""

    def unless_carried_out(self, before: Memory) -> Memory:
        """What is remembered of a plan that could not be carried out whole: its terminations are asked for anew, and
        counted anew, because the count may not have been stored."""
        return replace(self, terminate_called_at=before.terminate_called_at)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Facts of one moment. Complete: a source that could not be read whole makes no snapshot at all."""

    now: float
    """Epoch seconds; the only time there is."""
    nodes: Mapping[NodeName, Node]
    jobs: Mapping[JobId, Job]
    instances: Mapping[InstanceId, Instance]
    """Read before `nodes` and `launches`, so that a claim is never younger than the instance list that lacks it."""
    launches: Mapping[LaunchToken, Launch]
    """Open ones."""
    in_flight: frozenset[LaunchToken] = frozenset()
    """Launches whose call is being made right now: hands off."""
    waiting: frozenset[LaunchToken] = frozenset()
    """Those in flight whose call has not been made yet and can still be prevented: EC2's limits do not allow it."""
    token_prefix: str = ""
    """Unique to this table and this leader's term."""
    next_launch: int = 0
    """Number of the next launch in this term."""
    memory: Memory = field(default_factory=Memory)
    offerings: OfferingMemory = OfferingMemory()
    """As stored."""
    subnets: Mapping[SubnetId, Subnet] = field(default_factory=dict)
    """Those of the policy's offerings that could be read; may be some minutes old."""
    notices: Notices = field(default_factory=dict)
    """What AWS announced about live instances of ours. Hints: any of them may be missing, late or wrong by now."""
    blocks: BlockReading = BlockReading()
    """The newest reading of the policy's capacity blocks; may be some minutes old."""
    reservations: Mapping[str, Reservation] = field(default_factory=dict)
    """Slurm's, everybody's, by name; not read, and so empty, where there is neither a block nor a scheduled event, and
    nothing of ours left."""
    node_reports: Mapping[InstanceId, NodeReport] = field(default_factory=dict)
    """What agents told, as far as it was read; some seconds old, and of instances too that `instances` lacks. Whoever
    reaches a node's permissions can write any of them."""
    node_reports_at: float = 0.0
    """When the newest complete reading of them began, epoch seconds; 0: never."""
    fleet: FleetRecord = FleetRecord()
    """As stored: what operators asked for."""
    safeguards: Safeguards = Safeguards()
    """As stored."""
    schedules: Mapping[ScheduleName, ScheduleTime] = field(default_factory=dict)
    """Those of the policy, as of `now`."""
    partitions: Mapping[QueueName, PartitionState] = field(default_factory=dict)
    """All of them, or none while `fleet` is settled."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about a snapshot, in this order."""

    actions: tuple[Action, ...]
    memory: Memory
    next_launch: int
    offerings: OfferingMemory = OfferingMemory()
    """What is known about offerings after this decision; among the actions is its record if it changed."""
    left_alone: Mapping[NodeName, LeftAlone] = field(default_factory=dict)
    """Nodes that jobs cannot use, or that nobody backs, and that are only reported."""
    gangs: tuple[HeldGang, ...] = ()
    """Jobs that came short: those that wait, and those that do not any more since this decision."""
    blocks: tuple[BlockStatus, ...] = ()
    """The policy's capacity blocks, by queue and id."""
    fleet: FleetRecord = FleetRecord()
    """What is known about stops and starts after this decision; among the actions is its record if it changed."""
    wake_at: float = float("inf")
    """Epoch seconds at which the clock alone makes something due: a demand has waited long enough for a capacity tier,
    an instance's maintenance comes near, a node has idled for as long as it may, a schedule begins or ends."""
    warm: tuple[WarmStatus, ...] = ()
    """Compute resources that schedules name, by queue and name."""
    safeguards: Safeguards = Safeguards()
    """What is held back after this decision; among the actions is its record if it changed."""
    failed: tuple[FailedNode, ...] = ()
    """Nodes on ill instances that are being left, sorted by name."""
