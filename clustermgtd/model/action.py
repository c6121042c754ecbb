"""What a plan may hold: frozen values with a closed reason, applied once each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from clustermgtd.model.claim import Launch
from clustermgtd.model.fleet_status import FleetRecord
from clustermgtd.model.ids import InstanceId, JobId, LaunchToken, NodeName, QueueName
from clustermgtd.model.offering_memory import OfferingMemory
from clustermgtd.model.reservation import Reservation
from clustermgtd.model.safeguards import Safeguards


class Reason(StrEnum):
    """Why an action is taken. Goes unchanged to the log, the metric and Slurm; never parsed back."""

    DEMAND = "demand"
    """Slurm powers the node up and nothing backs it."""
    STATIC = "static"
    """A static node shall always be up."""
    WARM = "warm"
    """A schedule wants more nodes up than there are."""
    IDLE = "idle"
    """The node has been idle for longer than its compute resource's own idle time."""
    REPLY_LOST = "reply-lost"
    """The launch was intended and its outcome is not known."""
    TOP_UP = "top-up"
    """Of a job that keeps what arrived, the rest is asked for again."""
    HOLD_OVER = "hold-over"
    """A job that kept what arrived has waited for the rest for as long, or for as much money, as it may."""
    NOT_WANTED = "not-wanted"
    """Slurm let go of the nodes before their call was made."""
    POWER_DOWN = "power-down"
    """Slurm powers the node down."""
    NODE_GIVEN_UP = "node-given-up"
    """Slurm set the node DOWN before its instance was ready."""
    POWER_CYCLE = "power-cycle"
    """Slurm powers up a node whose instance is from before its last power-down."""
    LAUNCH_FAILED = "launch-failed"
    """EC2 gave no instance."""
    NO_CAPACITY = "no-capacity"
    """EC2 refused every offering lately and is not asked again before the bans end."""
    PROBE = "probe"
    """A ban has ended: does EC2 still refuse?"""
    JOB_INCOMPLETE = "job-incomplete"
    """The instance came for a job that gets all of its nodes or none, and others of them did not come."""
    INSTANCE_LOST = "instance-lost"
    """The instance ended without our asking."""
    INSTANCE_MISSING = "instance-missing"
    """EC2 has not shown the instance for longer than its reads may lag."""
    INTERRUPTION = "interruption"
    """EC2 announced that it takes the instance."""
    MAINTENANCE = "maintenance"
    """EC2 announced that it works on the instance at a known time."""
    REBALANCE = "rebalance"
    """EC2 advises to replace the spot instance, and the site follows it."""
    INSTANCE_STOPPED = "instance-stopped"
    """Somebody stopped the instance: it never comes back by itself, and its volumes are paid for."""
    NOT_RESPONDING = "not-responding"
    """Slurm gave up on slurmd."""
    UNREACHABLE = "unreachable"
    """Slurm takes the node for one that does not respond, and no instance is there that could."""
    UNHEALTHY = "unhealthy"
    """Slurm itself drained the node: a fresh instance is the cure."""
    IMPAIRED = "impaired"
    """A status check of EC2 fails for too long."""
    HEALTH_CHECK = "health-check"
    """The site's health check on the node fails."""
    SLURMD_FAILING = "slurmd-failing"
    """slurmd on the node ends again and again."""
    BOOT_TIMEOUT = "boot-timeout"
    """A phase of the boot takes too long, as the node's agent tells."""
    RESUME_TIMEOUT = "resume-timeout"
    """The node did not register within ResumeTimeout."""
    ORPHAN = "orphan"
    """The instance carries our tags and no claim."""
    MARK_LIFTED = "mark-lifted"
    """A state that we set ourselves is no longer needed."""
    DRAIN_WIPED = "drain-wiped"
    """Slurm suspended an idle node and with that lifted a drain that somebody else had set."""
    JOB_FREED = "job-freed"
    """What the requeue hold protects against has passed."""
    BLOCK_INACTIVE = "block-inactive"
    """The nodes' capacity block has not started, or is over: EC2 launches nothing there."""
    BLOCK_ENDING = "block-ending"
    """The nodes' capacity block ends soon, or has ended."""
    ADDRESS = "address"
    """Slurm has to be told where the instance is."""
    PROTECTED = "protected"
    """Nodes of the compute resource did not come up, again and again."""
    FLEET_STOP = "fleet-stop"
    """An operator stopped the cluster or the queue."""
    FLEET_START = "fleet-start"
    """An operator started the cluster or the queue."""


INVOLUNTARY: Mapping[Reason, bool] = {
    # Slurm asked for it, or nobody can use the instance
    Reason.POWER_DOWN: False,
    Reason.POWER_CYCLE: False,
    Reason.NODE_GIVEN_UP: False,
    Reason.RESUME_TIMEOUT: False,
    Reason.JOB_INCOMPLETE: False,
    Reason.LAUNCH_FAILED: False,
    Reason.NO_CAPACITY: False,
    Reason.HOLD_OVER: False,
    Reason.PROTECTED: False,
    Reason.MARK_LIFTED: False,
    # an operator or the configuration asked for it
    Reason.FLEET_STOP: False,
    Reason.BLOCK_INACTIVE: False,
    Reason.BLOCK_ENDING: False,
    Reason.IDLE: False,
    # EC2 ended it, or says that it will: nothing is saved by waiting
    Reason.INSTANCE_LOST: False,
    Reason.INSTANCE_STOPPED: False,
    Reason.INTERRUPTION: False,
    Reason.MAINTENANCE: False,
    # concluded from what is not seen, or from symptoms: a wrong observation would end what works
    Reason.INSTANCE_MISSING: True,
    Reason.NOT_RESPONDING: True,
    Reason.UNREACHABLE: True,
    Reason.UNHEALTHY: True,
    Reason.IMPAIRED: True,
    Reason.HEALTH_CHECK: True,
    Reason.SLURMD_FAILING: True,
    Reason.BOOT_TIMEOUT: True,
    Reason.REBALANCE: True,
    Reason.ORPHAN: True,
}
"""For every reason with which an instance may end, or a node with an instance may go: is it involuntary?"""


@dataclass(frozen=True, slots=True)
class RecordOfferings:
    """Store what was learned about offerings."""

    offerings: OfferingMemory


@dataclass(frozen=True, slots=True)
class RecordFleet:
    """Store how far the cluster and its queues have come, and which partitions are closed by us."""

    record: FleetRecord


@dataclass(frozen=True, slots=True)
class RecordSafeguards:
    """Store what is held back, and what was not, before it is done."""

    safeguards: Safeguards


@dataclass(frozen=True, slots=True)
class RecordLaunch:
    """Store what was observed about a launch's claims."""

    launch: Launch


@dataclass(frozen=True, slots=True)
class StartLaunch:
    """Store the intent, call CreateFleet under the token, record the reply."""

    launch: Launch
    reason: Reason


@dataclass(frozen=True, slots=True)
class WithdrawLaunch:
    """Prevent a call that waits for its turn. One that is made meanwhile is left alone."""

    token: LaunchToken
    reason: Reason


@dataclass(frozen=True, slots=True)
class TerminateInstances:
    """End instances. Their claims are TERMINATING already, or there are none (orphans)."""

    instances: tuple[InstanceId, ...]
    reason: Reason


@dataclass(frozen=True, slots=True)
class SetNodesDown:
    """Set nodes DOWN with a reason of ours, so that Slurm requeues their jobs, then power them down."""

    nodes: tuple[NodeName, ...]
    reason: Reason
    detail: str = ""
    """For people: the provider's code and sentence."""
    powers_down: bool = True
    """If false they stay DOWN with their instances, for people to look at."""


@dataclass(frozen=True, slots=True)
class HoldNodes:
    """Drain unused nodes without an instance, for a reason of ours: Slurm puts jobs elsewhere or lets them wait."""

    nodes: tuple[NodeName, ...]
    detail: str
    """For people: what is banned and until when."""
    reason: Reason = Reason.NO_CAPACITY


@dataclass(frozen=True, slots=True)
class RestoreDrains:
    """Drain nodes without an instance again, with the reason of whoever had drained them."""

    nodes: tuple[NodeName, ...]
    text: str
    """Theirs, to the letter."""
    reason: Reason = Reason.DRAIN_WIPED


@dataclass(frozen=True, slots=True)
class DrainNodes:
    """Let no further job start on nodes that are up; what runs there goes on. Ends with the node's power-down."""

    nodes: tuple[NodeName, ...]
    reason: Reason
    detail: str = ""
    """For people."""


@dataclass(frozen=True, slots=True)
class ReleaseNodes:
    """Lift our drain."""

    nodes: tuple[NodeName, ...]
    reason: Reason = Reason.MARK_LIFTED


@dataclass(frozen=True, slots=True)
class PowerDownNodes:
    nodes: tuple[NodeName, ...]
    reason: Reason


@dataclass(frozen=True, slots=True)
class PowerUpNodes:
    nodes: tuple[NodeName, ...]
    reason: Reason


@dataclass(frozen=True, slots=True)
class ReturnNodesToService:
    """Clear DOWN from nodes that are powered down, so that they can be scheduled again."""

    nodes: tuple[NodeName, ...]
    reason: Reason


@dataclass(frozen=True, slots=True)
class AssignAddresses:
    """Tell Slurm the nodes' addresses (only where slurmd's registration does not)."""

    addresses: tuple[tuple[NodeName, str], ...]
    """Node and private address, sorted by node."""
    reason: Reason = Reason.ADDRESS


@dataclass(frozen=True, slots=True)
class LiftRequeueHold:
    """Let a job that Slurm requeued start at once."""

    job: JobId
    reason: Reason = Reason.JOB_FREED


@dataclass(frozen=True, slots=True)
class ExplainJobs:
    """Say on pending jobs why they wait, where nobody else says something; or take that back."""

    jobs: tuple[JobId, ...]
    text: str
    """Begins with `REASON_PREFIX`; empty takes back what began so."""
    reason: Reason = Reason.PROTECTED


@dataclass(frozen=True, slots=True)
class SetReservation:
    """Make a reservation of ours in Slurm, or change it, so that it is as given."""

    reservation: Reservation
    reason: Reason


@dataclass(frozen=True, slots=True)
class DeleteReservation:
    """Delete a reservation of ours."""

    name: str
    reason: Reason = Reason.MARK_LIFTED


@dataclass(frozen=True, slots=True)
class ClosePartitions:
    """Set partitions INACTIVE: Slurm starts no job there."""

    partitions: tuple[QueueName, ...]
    reason: Reason = Reason.FLEET_STOP


@dataclass(frozen=True, slots=True)
class OpenPartitions:
    """Set partitions UP that we closed."""

    partitions: tuple[QueueName, ...]
    reason: Reason = Reason.FLEET_START


@dataclass(frozen=True, slots=True)
class CancelJobs:
    """End jobs for good."""

    jobs: tuple[JobId, ...]
    reason: Reason


Action = (
    RecordOfferings
    | RecordFleet
    | RecordSafeguards
    | RecordLaunch
    | StartLaunch
    | WithdrawLaunch
    | TerminateInstances
    | SetNodesDown
    | HoldNodes
    | RestoreDrains
    | DrainNodes
    | ReleaseNodes
    | PowerDownNodes
    | PowerUpNodes
    | ReturnNodesToService
    | AssignAddresses
    | LiftRequeueHold
    | ExplainJobs
    | SetReservation
    | DeleteReservation
    | ClosePartitions
    | OpenPartitions
    | CancelJobs
)
