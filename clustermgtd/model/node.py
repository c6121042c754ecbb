"""Slurm's view of a node."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from clustermgtd.model.ids import NodeName, QueueName

REASON_PREFIX = "clustermgtd:"
"""Every node reason we write starts with this; a reason without it belongs to somebody else and is read-only."""

PROTECTED_MARK = f"{REASON_PREFIX} protected"
"""How it begins if nodes of its compute resource did not come up."""
HOLD_MARK = f"{REASON_PREFIX} no-capacity"
"""How the reason of a node begins that we keep out of scheduling because EC2 has nothing for it."""

PARKED_ADDRESS = "127.0.0.1"
"""NodeAddr of a node that has no instance yet: it resolves at once and refuses connections at once.

slurmctld blocks for ten seconds on each node of a job that it ends whose name does not resolve
(docs/reference/slurm-facts.md)."""
SLURM_REASONS = (
    "Not responding",
    "Node unexpectedly rebooted",
    "ResumeTimeout reached",
    "Low RealMemory",
    "Low CPUs",
    "Low TmpDisk",
    "Low socket*core*thread count",
    "CoreSpec differ",
    "RestrictedCoresPerGPU",
    "Could not unpack gres data",
    "gres/",
    "Prolog error",
    "Prolog/Epilog failure",
    "Epilog error",
    "Job env setup error",
    "Kill task failed",
    "batch job complete failure",
    "Duplicate jobid",
)
"""How the reasons begin that Slurm itself writes when it sets a node DOWN or drains it.

Four were seen on 22.05; the others are in the source of releases up to 26.05.
"""
_APPENDED = " : "
"""Before what Slurm, from 23.02 on, writes behind a reason that is there: `maintenance : ResumeTimeout reached`."""
_REBOOT_FAILED = "reboot timed out"
"""How a reason ends that slurmctld adds to an operator's when a node does not come back from a reboot."""


class NodeBase(StrEnum):
    """Slurm's base states, as `scontrol show node` prints the first word of `State=`."""

    ALLOCATED = "ALLOCATED"
    DOWN = "DOWN"
    ERROR = "ERROR"
    FUTURE = "FUTURE"
    IDLE = "IDLE"
    MIXED = "MIXED"
    UNKNOWN = "UNKNOWN"


class NodeFlag(StrEnum):
    """Slurm's state flags (the words after `+`), releases 22.05 to 26.05; an unlisted one is kept as `UNRECOGNISED`."""

    BLOCKED = "BLOCKED"
    CLOUD = "CLOUD"
    COMPLETING = "COMPLETING"
    DRAIN = "DRAIN"
    DYNAMIC_FUTURE = "DYNAMIC_FUTURE"
    DYNAMIC_NORM = "DYNAMIC_NORM"
    EXTERNAL = "EXTERNAL"
    FAIL = "FAIL"
    INVALID_REG = "INVALID_REG"
    MAINTENANCE = "MAINTENANCE"
    NOT_RESPONDING = "NOT_RESPONDING"
    PERFCTRS = "PERFCTRS"
    PLANNED = "PLANNED"
    POWERED_DOWN = "POWERED_DOWN"
    POWERING_DOWN = "POWERING_DOWN"
    POWERING_UP = "POWERING_UP"
    POWER_DOWN = "POWER_DOWN"
    POWER_UP = "POWER_UP"
    POWER_DRAIN = "POWER_DRAIN"
    REBOOT_CANCEL = "REBOOT_CANCEL"
    REBOOT_ISSUED = "REBOOT_ISSUED"
    REBOOT_REQUESTED = "REBOOT_REQUESTED"
    RESERVED = "RESERVED"
    RESUME = "RESUME"
    UNDRAIN = "UNDRAIN"
    UNRECOGNISED = "UNRECOGNISED"

    __hash__ = str.__hash__  # Enum's own is Python code, and every look at a node's flags would run it


@dataclass(frozen=True, slots=True)
class Node:
    """One node as slurmctld sees it at the moment of the observation."""

    name: NodeName
    base: NodeBase
    flags: frozenset[NodeFlag] = frozenset()
    partitions: tuple[QueueName, ...] = ()
    address: str = ""
    """`NodeAddr`; equal to the name until something sets it."""
    hostname: str = ""
    """`NodeHostName`; equal to the name until slurmd registers or something sets it."""
    reason: str = ""
    instance_id: str = ""
    """`InstanceId`, empty before Slurm 23.11."""
    last_busy_at: float = 0.0
    """`LastBusyTime`: since when an idle node has been idle, epoch seconds, whole ones; 0 where Slurm does not say, as
    of nodes that are powered down. Of a busy node it is older than its job."""

    @property
    def state(self) -> str:
        """As scontrol prints it."""
        return "+".join([self.base, *sorted(self.flags, key=_PRINTED.index)])

    @property
    def is_powering_up(self) -> bool:
        """Slurm wants an instance here and has not seen slurmd register yet (shown as `#`).

        A node that ran into ResumeTimeout or was set DOWN keeps the flag for a moment in some releases; DOWN wins. So
        does a power-down that was asked for meanwhile, unless a job waits for the node.
        """
        return NodeFlag.POWERING_UP in self.flags and not self.is_down and not self.is_power_up_revoked

    @property
    def is_power_up_revoked(self) -> bool:
        """A power-down was asked for while the node powered up, and no job has it. Slurm would boot it first."""
        has_no_job = self.base is NodeBase.IDLE and NodeFlag.POWERING_UP in self.flags
        return has_no_job and self.is_power_down_pending

    @property
    def is_powered_down(self) -> bool:
        """Slurm counts on no instance here (`~`)."""
        return NodeFlag.POWERED_DOWN in self.flags

    @property
    def is_powering_down(self) -> bool:
        """SuspendProgram was called; SuspendTimeout runs (`%`)."""
        return NodeFlag.POWERING_DOWN in self.flags

    @property
    def is_power_down_pending(self) -> bool:
        """A power-down was asked for and will follow (`!`)."""
        return NodeFlag.POWER_DOWN in self.flags or NodeFlag.POWER_DRAIN in self.flags

    @property
    def is_responding(self) -> bool:
        return NodeFlag.NOT_RESPONDING not in self.flags

    @property
    def is_down(self) -> bool:
        return self.base in (NodeBase.DOWN, NodeBase.ERROR)

    @property
    def is_running_job(self) -> bool:
        """A job holds this node, or is being cleaned up on it."""
        return self.base in (NodeBase.ALLOCATED, NodeBase.MIXED) or NodeFlag.COMPLETING in self.flags

    @property
    def is_up(self) -> bool:
        """slurmd has registered: jobs start here at once."""
        return (
            self.base in (NodeBase.ALLOCATED, NodeBase.IDLE, NodeBase.MIXED)
            and not self.flags & _NOT_UP
            and self.is_responding
        )

    @property
    def is_unclear(self) -> bool:
        """Slurm does not know, or does not say, how it is: pending information, never ill health."""
        return self.base in (NodeBase.UNKNOWN, NodeBase.FUTURE)

    @property
    def is_rebooting(self) -> bool:
        """Somebody had Slurm reboot it; it is DOWN until slurmd registers or ResumeTimeout is over."""
        return NodeFlag.REBOOT_ISSUED in self.flags

    @property
    def counts_on_instance(self) -> bool:
        """Slurm takes for granted that an instance is there."""
        return not self.is_down and not self.is_unclear and not self.flags & _WITHOUT_INSTANCE

    @property
    def is_marked_by_us(self) -> bool:
        """The present reason was written by this daemon, and by nobody after it."""
        return self.reason.startswith(REASON_PREFIX) and not self.is_marked_by_slurm

    @property
    def is_held_by_us(self) -> bool:
        """We drained it, because EC2 has nothing for it."""
        return NodeFlag.DRAIN in self.flags and self.reason.startswith((HOLD_MARK, PROTECTED_MARK))

    @property
    def is_marked_by_others(self) -> bool:
        """A person or another program set it DOWN or draining and said why, or reboots it: read-only to us."""
        if self.is_rebooting:
            return True
        is_marked = self.is_down or NodeFlag.DRAIN in self.flags or NodeFlag.FAIL in self.flags
        return is_marked and bool(self.reason) and not self.is_marked_by_us and not self.is_marked_by_slurm

    @property
    def is_marked_by_slurm(self) -> bool:
        """The present reason was written by Slurm itself, or its last part was."""
        return self.last_reason.startswith(SLURM_REASONS) or self.reason.endswith(_REBOOT_FAILED)

    @property
    def last_reason(self) -> str:
        """The reason, or what Slurm appended to it: what was there before it is then about an earlier matter."""
        appended = self.reason.rpartition(_APPENDED)[2]
        return appended if appended.startswith(SLURM_REASONS) else self.reason


_PRINTED = (
    *(NodeFlag.BLOCKED, NodeFlag.CLOUD, NodeFlag.COMPLETING, NodeFlag.DRAIN, NodeFlag.DYNAMIC_FUTURE),
    *(NodeFlag.DYNAMIC_NORM, NodeFlag.EXTERNAL, NodeFlag.INVALID_REG, NodeFlag.FAIL, NodeFlag.MAINTENANCE),
    *(NodeFlag.POWER_DOWN, NodeFlag.POWER_UP, NodeFlag.PERFCTRS, NodeFlag.POWERED_DOWN, NodeFlag.REBOOT_REQUESTED),
    *(NodeFlag.REBOOT_ISSUED, NodeFlag.RESERVED, NodeFlag.RESUME, NodeFlag.NOT_RESPONDING, NodeFlag.PLANNED),
    *(NodeFlag.POWERING_UP, NodeFlag.POWERING_DOWN, NodeFlag.UNDRAIN, NodeFlag.POWER_DRAIN, NodeFlag.REBOOT_CANCEL),
    NodeFlag.UNRECOGNISED,
)
"""The order in which scontrol prints flags."""
_WITHOUT_INSTANCE = frozenset({NodeFlag.POWERED_DOWN, NodeFlag.POWERING_DOWN, NodeFlag.POWERING_UP, NodeFlag.POWER_UP})
_NOT_UP = frozenset(
    {NodeFlag.POWERED_DOWN, NodeFlag.POWERING_DOWN, NodeFlag.POWERING_UP, NodeFlag.POWER_UP, NodeFlag.INVALID_REG}
)
