"""Every label of every metric, with its closed list of values."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from enum import StrEnum

from clustermgtd import errors
from clustermgtd.decide.budget import BucketName
from clustermgtd.model.action import (
    INVOLUNTARY,
    Action,
    AssignAddresses,
    CancelJobs,
    ClosePartitions,
    DeleteReservation,
    DrainNodes,
    ExplainJobs,
    HoldNodes,
    LiftRequeueHold,
    OpenPartitions,
    PowerDownNodes,
    PowerUpNodes,
    Reason,
    RecordFleet,
    RecordLaunch,
    RecordOfferings,
    RecordSafeguards,
    ReleaseNodes,
    RestoreDrains,
    ReturnNodesToService,
    SetNodesDown,
    SetReservation,
    StartLaunch,
    TerminateInstances,
    WithdrawLaunch,
)
from clustermgtd.model.capacity_block import BlockPhase
from clustermgtd.model.claim import ClaimState
from clustermgtd.model.failure import REMEMBERED, FailureKind
from clustermgtd.model.fleet_status import FleetStatus
from clustermgtd.model.gang import GangEnd
from clustermgtd.model.instance import InstanceState
from clustermgtd.model.left_alone import LeftAlone
from clustermgtd.model.node import Node, NodeBase, NodeFlag
from clustermgtd.model.node_report import BootPhase
from clustermgtd.model.notice import NoticeKind
from clustermgtd.model.offering import Market
from clustermgtd.model.policy import TIERS_MAX
from clustermgtd.model.quota import QuotaClass
from clustermgtd.model.slurm_backend import BrokerEnd, SlurmBackend
from clustermgtd.telemetry.declarations import Label


class TickOutcome(StrEnum):
    """How a tick ended."""

    DONE = "done"
    NOT_OBSERVED = "not-observed"
    """A source could not be read whole, so nothing was decided."""
    FAILED = "failed"


class ActionKind(StrEnum):
    """One per class of `model.action.Action`."""

    RECORD_OFFERINGS = "record-offerings"
    RECORD_FLEET = "record-fleet"
    RECORD_SAFEGUARDS = "record-safeguards"
    RECORD_LAUNCH = "record-launch"
    START_LAUNCH = "start-launch"
    WITHDRAW_LAUNCH = "withdraw-launch"
    TERMINATE_INSTANCES = "terminate-instances"
    SET_NODES_DOWN = "set-nodes-down"
    HOLD_NODES = "hold-nodes"
    RESTORE_DRAINS = "restore-drains"
    DRAIN_NODES = "drain-nodes"
    RELEASE_NODES = "release-nodes"
    POWER_DOWN_NODES = "power-down-nodes"
    POWER_UP_NODES = "power-up-nodes"
    RETURN_NODES_TO_SERVICE = "return-nodes-to-service"
    ASSIGN_ADDRESSES = "assign-addresses"
    LIFT_REQUEUE_HOLD = "lift-requeue-hold"
    EXPLAIN_JOBS = "explain-jobs"
    SET_RESERVATION = "set-reservation"
    DELETE_RESERVATION = "delete-reservation"
    CLOSE_PARTITIONS = "close-partitions"
    OPEN_PARTITIONS = "open-partitions"
    CANCEL_JOBS = "cancel-jobs"


ACTION_KINDS: Mapping[type[Action], ActionKind] = {
    RecordOfferings: ActionKind.RECORD_OFFERINGS,
    RecordFleet: ActionKind.RECORD_FLEET,
    RecordSafeguards: ActionKind.RECORD_SAFEGUARDS,
    RecordLaunch: ActionKind.RECORD_LAUNCH,
    StartLaunch: ActionKind.START_LAUNCH,
    WithdrawLaunch: ActionKind.WITHDRAW_LAUNCH,
    TerminateInstances: ActionKind.TERMINATE_INSTANCES,
    SetNodesDown: ActionKind.SET_NODES_DOWN,
    HoldNodes: ActionKind.HOLD_NODES,
    RestoreDrains: ActionKind.RESTORE_DRAINS,
    DrainNodes: ActionKind.DRAIN_NODES,
    ReleaseNodes: ActionKind.RELEASE_NODES,
    PowerDownNodes: ActionKind.POWER_DOWN_NODES,
    PowerUpNodes: ActionKind.POWER_UP_NODES,
    ReturnNodesToService: ActionKind.RETURN_NODES_TO_SERVICE,
    AssignAddresses: ActionKind.ASSIGN_ADDRESSES,
    LiftRequeueHold: ActionKind.LIFT_REQUEUE_HOLD,
    ExplainJobs: ActionKind.EXPLAIN_JOBS,
    SetReservation: ActionKind.SET_RESERVATION,
    DeleteReservation: ActionKind.DELETE_RESERVATION,
    ClosePartitions: ActionKind.CLOSE_PARTITIONS,
    OpenPartitions: ActionKind.OPEN_PARTITIONS,
    CancelJobs: ActionKind.CANCEL_JOBS,
}


class ActionOutcome(StrEnum):
    """What became of an action."""

    OK = "ok"
    FAILED = "failed"


class NodeClass(StrEnum):
    """Slurm's base states and flags, reduced to what a person asks about elastic nodes; exactly one per node."""

    DOWN = "down"
    POWERING_UP = "powering-up"
    POWERING_DOWN = "powering-down"
    POWERED_DOWN = "powered-down"
    NOT_RESPONDING = "not-responding"
    DRAINING = "draining"
    ALLOCATED = "allocated"
    IDLE = "idle"
    OTHER = "other"


def node_class(node: Node) -> NodeClass:
    """The first class of the list above that fits. A drained node that runs a job is draining, an idle one too."""
    if node.is_down:
        return NodeClass.DOWN
    if node.is_powering_up or NodeFlag.POWER_UP in node.flags:
        return NodeClass.POWERING_UP
    if node.is_powering_down:
        return NodeClass.POWERING_DOWN
    if node.is_powered_down:
        return NodeClass.POWERED_DOWN
    if not node.is_responding:
        return NodeClass.NOT_RESPONDING
    if NodeFlag.DRAIN in node.flags or node.is_power_down_pending:
        return NodeClass.DRAINING
    if node.is_running_job:
        return NodeClass.ALLOCATED
    return NodeClass.IDLE if node.base is NodeBase.IDLE else NodeClass.OTHER


class HookKind(StrEnum):
    """Which program of Slurm's asked."""

    RESUME = "resume"
    SUSPEND = "suspend"
    RESUME_FAIL = "resume-fail"
    START_GATE = "start-gate"


class HookSource(StrEnum):
    """Which way a hook's request came."""

    SOCKET = "socket"
    SPOOL = "spool"


class HookRejection(StrEnum):
    """Why a hook's request was not taken."""

    MALFORMED = "malformed"
    UNSUPPORTED_VERSION = "unsupported-version"
    TOO_LARGE = "too-large"
    NOT_PERMITTED = "not-permitted"
    """The peer is neither root, nor SlurmUser, nor the daemon's user."""
    BUSY = "busy"
    """A bound was reached: connections or inbox."""
    TIMED_OUT = "timed-out"
    """The peer did not finish its request in time."""
    UNREADABLE = "unreadable"
    """The spool folder, or a file in it, cannot be read, moved or removed."""


class GateReason(StrEnum):
    """Why the start gate let a job go; the words of `reconcile.start_gate`."""

    READY = "ready"
    """The job's nodes have registered."""
    NOT_CONFIGURING = "not-configuring"
    """Slurm requeued or cancelled the job, or it has ended."""
    FULL = "full"
    """As many jobs wait as may."""
    DEADLINE = "deadline"
    UNREADABLE = "unreadable"
    """Slurm could not be asked."""
    STOPPING = "stopping"
    """The daemon stops."""


class Port(StrEnum):
    """Which port a call went through."""

    FLEET = "fleet"
    SCHEDULER = "scheduler"
    CLAIM_STORE = "claim-store"
    NOTICE_QUEUE = "notice-queue"
    INSTANCE_STATUS = "instance-status"
    NODE_AGENTS = "node-agents"


CALL_OK = "ok"
CALL_CANCELLED = "cancelled"
CALL_UNEXPECTED = "unexpected"


def call_outcomes() -> Iterator[str]:
    """How a port call may end: three words of ours, and the classes of the error tree."""
    yield from (CALL_OK, CALL_CANCELLED, CALL_UNEXPECTED)
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, errors.ClustermgtdError):
            yield value.__name__


def call_outcome(error: BaseException | None) -> str:
    """The label value for a call that raised `error`, or returned."""
    match error:
        case None:
            return CALL_OK
        case errors.ClustermgtdError():
            return type(error).__name__ if type(error).__module__ == errors.__name__ else CALL_UNEXPECTED
        case asyncio.CancelledError():
            return CALL_CANCELLED
        case _:
            return CALL_UNEXPECTED


class BanState(StrEnum):
    """Whether an offering is refused without asking."""

    ACTIVE = "active"
    ENDED = "ended"
    """One launch at a time tries it, until one succeeds or the ban is forgotten."""


ANY_MARKET = "any"
"""Of a ban that does not depend on the market: a full subnet, a type that a zone does not have."""
OTHER_QUEUE = "other"
"""Counted for a queue that is not in the configuration any more."""
NO_REASON = "none"
"""Of an action that carries no reason: storing what was observed."""


class Facts(StrEnum):
    """What is read from AWS in the background."""

    ON_DEMAND_PRICES = "on-demand-prices"
    SPOT_PRICES = "spot-prices"
    QUOTAS = "quotas"
    SUBNETS = "subnets"
    INSTANCE_STATUS = "instance-status"
    NOTICE_QUEUE = "notice-queue"
    CAPACITY_BLOCKS = "capacity-blocks"


class NoticeOutcome(StrEnum):
    """What became of a message; the words of `ports.notice_queue` and `reconcile.notice_book`."""

    TAKEN = "taken"
    """Something in it is new."""
    REPEATED = "repeated"
    """All of it was known, or older than what is known."""
    REFUSED = "refused"
    """Too many wait for a round: it stays in the queue."""
    NO_NEWS = "no-news"
    """There is nothing in it for this cluster."""
    UNKNOWN = "unknown"
    """Nobody here reads messages of its kind."""
    BAD = "bad"
    """It is not what its kind should be."""


NO_NOTICE = "none"
"""Of a message that announces nothing about instances."""


class BlockEdge(StrEnum):
    """A moment in the life of a capacity block."""

    START = "start"
    DRAIN = "drain"
    """From here on no job of the queue may run."""
    END = "end"


TICK_OUTCOME = Label("outcome", tuple(TickOutcome))
ACTION = Label("action", tuple(ActionKind))
REASON = Label("reason", (*Reason, NO_REASON))
ACTION_OUTCOME = Label("outcome", tuple(ActionOutcome))
INSTANCE_STATE = Label("state", tuple(InstanceState))
NODE_CLASS = Label("state", tuple(NodeClass))
LEFT_ALONE = Label("why", tuple(LeftAlone))
CLAIM_STATE = Label("state", tuple(ClaimState))
MARKET = Label("market", tuple(Market))
FAILURE = Label("kind", tuple(FailureKind))
BAN_KIND = Label("kind", tuple(sorted(REMEMBERED)))
BAN_MARKET = Label("market", (*Market, ANY_MARKET))
BAN_STATE = Label("state", tuple(BanState))
INVOLUNTARY_REASON = Label("reason", tuple(reason for reason, is_involuntary in INVOLUNTARY.items() if is_involuntary))
FLEET_STATUS = Label("status", tuple(FleetStatus))
GANG_END = Label("end", tuple(GangEnd))
HOOK_KIND = Label("kind", tuple(HookKind))
HOOK_SOURCE = Label("source", tuple(HookSource))
HOOK_REJECTION = Label("reason", tuple(HookRejection))
GATE_REASON = Label("reason", tuple(GateReason))
PORT = Label("port", tuple(Port))
CALL_OUTCOME = Label("outcome", tuple(call_outcomes()))
BOOT_PHASE = Label("phase", tuple(BootPhase))
FACTS = Label("facts", tuple(Facts))
NOTICE_KIND = Label("kind", (*NoticeKind, NO_NOTICE))
NOTICE_OUTCOME = Label("outcome", tuple(NoticeOutcome))
BLOCK_PHASE = Label("phase", tuple(BlockPhase))
BLOCK_EDGE = Label("edge", tuple(BlockEdge))
QUOTA_CLASS = Label("class", tuple(QuotaClass))
BUCKET = Label("bucket", tuple(BucketName))
SLURM_BACKEND = Label("backend", tuple(SlurmBackend))
BROKER_END = Label("why", tuple(BrokerEnd))
TIER = Label("tier", tuple(str(number) for number in range(TIERS_MAX)))
QUEUE = Label("queue", (), f"the queues of cluster.yaml, and `{OTHER_QUEUE}`")
METHOD = Label("method", (), "the methods of the port's Protocol")
VERSION = Label("version", (), "one value")
