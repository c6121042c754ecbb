"""`Clustermgtd`: our own settings, beside ParallelCluster's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field

from clustermgtd.model.job import JobTag
from clustermgtd.model.policy import RebalancePolicy
from clustermgtd.settings.capacity_tiers import CapacityTiers
from clustermgtd.settings.events import Events
from clustermgtd.settings.gangs import Gangs
from clustermgtd.settings.governor import Governor
from clustermgtd.settings.health import Health
from clustermgtd.settings.infrastructure import Infrastructure
from clustermgtd.settings.network import Network
from clustermgtd.settings.node_agent import NodeAgent
from clustermgtd.settings.schedules import Schedule
from clustermgtd.settings.section import (
    AbsolutePath,
    ClusterName,
    Finding,
    InstanceTypeName,
    ResourceName,
    ScriptUrl,
    Seconds,
    Section,
    Sha256,
    StorageName,
    TableName,
)
from clustermgtd.settings.slurm_access import Accounting, Licenses, SlurmAccess
from clustermgtd.settings.storage import StorageResource

SlurmTimeout = Annotated[int, Field(ge=1, le=65_533)]
"""Whole seconds in the range of Slurm's 16-bit settings."""
IdleTime = Annotated[int, Field(ge=-1, le=2**31 - 1)]


class Hooks(Section):
    """Where ResumeProgram and SuspendProgram hand their requests over."""

    socket_path: AbsolutePath = "/run/clustermgtd/hooks.sock"
    """Unix socket."""
    spool_dir: AbsolutePath = "/var/spool/clustermgtd"
    """Folder for requests while no daemon answers."""
    allowed_users: Annotated[tuple[str, ...], Field(min_length=1)] = ("slurm", "root")
    """Users whose programs may talk to the socket; the daemon's own always may."""


class Metrics(Section):
    """The Prometheus endpoint."""

    enabled: bool = True
    """Serve metrics."""
    address: str = "127.0.0.1"
    """IP address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 9840
    """TCP port; 0 takes a free one."""


class Log(Section):
    """The daemon's log, on standard error."""

    format: Literal["json", "console"] = "json"
    """One JSON object per line, or text for people."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is written."""


class LaunchSettings(Section):
    """CreateFleet calls."""

    batch_max: Annotated[int, Field(ge=1, le=1000)] = 250
    """Instances in one call, unless a job needs all or nothing."""
    timeout_seconds: Seconds = 600.0
    """A launch without any reply for this long has failed, seconds."""
    replay_seconds: Seconds = 5.0
    """Between two calls under one launch token, seconds."""

    def findings(self) -> Iterator[Finding]:
        if self.replay_seconds >= self.timeout_seconds:
            yield Finding(("ReplaySeconds",), f"must be less than TimeoutSeconds ({self.timeout_seconds:g})")


class Termination(Section):
    """TerminateInstances calls."""

    batch_max: Annotated[int, Field(ge=1, le=1000)] = 500
    """Instances in one call."""
    retry_seconds: Seconds = 20.0
    """Until a termination that is not seen is asked for again, seconds."""
    orphan_grace_seconds: Annotated[float, Field(ge=5)] = 180.0
    """Age at which an instance without a claim may be ended, seconds; must exceed EC2's read lag."""
    involuntary_per_minute: Annotated[int, Field(ge=1, le=100_000)] = 20
    """Instances that may be ended within a minute although neither Slurm nor an operator asked for it: those that EC2
    does not show any more, that do not respond, that nobody claims. What exceeds it is held back whole, until it is
    fewer or an operator confirms it (`clustermgtctl fleet confirm-terminations`)."""
    involuntary_percent: Annotated[float, Field(gt=0, le=100)] = 25.0
    """The same of one queue's instances, percent; two are always allowed."""
    missing_grace_seconds: Annotated[float, Field(ge=2)] = 120.0
    """An instance that EC2 has not shown for this long is gone, seconds; must exceed EC2's read lag."""

    def findings(self) -> Iterator[Finding]:
        if self.orphan_grace_seconds < self.missing_grace_seconds:
            message = (
                f"must be at least MissingGraceSeconds ({self.missing_grace_seconds:g}): both outlast EC2's read lag"
            )
            yield Finding(("OrphanGraceSeconds",), message)


class Protection(Section):
    """Compute resources whose instances start and do not become nodes."""

    failures_max: Annotated[int, Field(ge=0, le=100_000)] = 10
    """After so many in a row without one that came up, nothing is launched for the compute resource any more; 0 never
    stops. It ends when a node comes up, with `clustermgtctl fleet start`, or with another configuration."""
    backoff_seconds: Annotated[
        tuple[Annotated[float, Field(ge=1, le=86_400)], ...], Field(min_length=1, max_length=10)
    ] = (600.0, 1800.0, 7200.0)
    """Until one launch, of `Offerings.ProbeNodes` nodes or one job, may try again: after the first stop, after one more
    failure, and so on, seconds; the last one repeats."""

    def findings(self) -> Iterator[Finding]:
        if list(self.backoff_seconds) != sorted(self.backoff_seconds):
            yield Finding(("BackoffSeconds",), "must not become shorter with each failure")


class Offerings(Section):
    """What is remembered of instance types, zones and markets that EC2 refused."""

    ban_seconds: Annotated[tuple[Annotated[float, Field(ge=1, le=86_400)], ...], Field(min_length=1, max_length=10)] = (
        45.0,
        180.0,
        600.0,
        1800.0,
    )
    """After a first refusal for want of capacity, quota or addresses, after one more in a row, and so on, seconds; the
    last one repeats."""
    unsupported_seconds: Annotated[float, Field(ge=60)] = 43_200.0
    """A type that EC2 does not have in a zone is not asked for again for so long, seconds."""
    configuration_seconds: Annotated[float, Field(ge=10)] = 1800.0
    """A compute resource whose requests EC2 refuses as wrong is not launched for so long, seconds, unless its
    configuration changes before."""
    forget_seconds: Annotated[float, Field(ge=10)] = 1800.0
    """A ban that ended this long ago and that nobody tried is forgotten, seconds."""
    probe_nodes: Annotated[int, Field(ge=1, le=100)] = 1
    """Nodes of the one launch that tries whether a refusal still holds after its ban has ended."""
    hold_nodes: bool = True
    """While everything that a compute resource may use is banned, its unused nodes are drained, with a reason that
    begins with `clustermgtd: no-capacity`, so that jobs go to other compute resources or wait."""
    subnet_refresh_seconds: Annotated[float, Field(ge=10)] = 300.0
    """Between two readings of the subnets' zones and free addresses, seconds."""

    def findings(self) -> Iterator[Finding]:
        if list(self.ban_seconds) != sorted(self.ban_seconds):
            yield Finding(("BanSeconds",), "must not become shorter with each refusal")


class Interruptions(Section):
    """What happens to jobs when EC2 announces that it takes an instance back."""

    lead_seconds: Annotated[float, Field(ge=0, le=600)] = 120.0
    """A node's jobs are requeued this long before its instance ends, seconds, or at once if the warning leaves less.
    Until then the node only drains, so that a job may finish or write a checkpoint; 120 is at once for spot
    instances. A node whose `NodeAgent.InterruptionHook` is not done is waited for, up to 10 seconds before the end."""
    maintenance_lead_minutes: Annotated[float, Field(ge=0, le=10_080)] = 30.0
    """Before a scheduled event of EC2 from when on no job may run on the instance's node, minutes: a Slurm reservation
    keeps new jobs from running into it, and whoever still runs is on a draining node. Idle nodes leave at once."""
    rebalance: Annotated[RebalancePolicy, Field(strict=False)] = RebalancePolicy.IGNORE
    """What follows from EC2's advice that a spot instance is at elevated risk: `ignore`; `drain-idle` powers idle nodes
    down; `replace` also drains busy ones, so that they power down when their jobs have ended."""


class CapacityBlocks(Section):
    """Compute resources with `CapacityType: CAPACITY_BLOCK`."""

    drain_minutes: Annotated[float, Field(ge=0, le=1440)] = 40.0
    """Before a block's end from when on no job may run on its nodes, and idle nodes are powered down, minutes. EC2
    begins to end instances 30 minutes before the end."""
    refresh_seconds: Annotated[float, Field(ge=5)] = 300.0
    """Between two readings of the blocks' states, seconds; about a block's start they are read more often."""


class Prices(Section):
    """What instances cost. A built-in table serves until AWS has answered, and where it cannot be asked."""

    enabled: bool = True
    """Read the price list and the spot price history; if false the built-in table orders offerings."""
    refresh_hours: Annotated[float, Field(ge=0.1, le=168)] = 12.0
    """Between two readings, hours."""


class Quotas(Section):
    """The account's vCPU quotas."""

    enabled: bool = True
    """Read them, and warn of launches that go over one."""
    refresh_hours: Annotated[float, Field(ge=0.1, le=168)] = 1.0
    """Between two readings, hours."""


class QueueTimes(Section):
    """Times of one queue that differ from the cluster's."""

    scaledown_idletime_seconds: IdleTime | None = None
    """Seconds a node may idle before its instance ends; -1 is never."""
    resume_timeout_seconds: SlurmTimeout | None = None
    """Seconds from Slurm's wish to slurmd's registration."""
    suspend_timeout_seconds: SlurmTimeout | None = None
    """Seconds from SuspendProgram until Slurm may use the node again."""


class OwnComputeResource(Section):
    """What is ours about one compute resource."""

    scaledown_idletime_seconds: IdleTime | None = None
    """Seconds a node may idle before its instance ends; -1 is never. Default: the queue's."""
    capacity_tiers: CapacityTiers | None = None
    """Instead of the queue's; `[]` is none."""


class OwnQueue(QueueTimes):
    """What is ours about one queue: times that differ from the cluster's, and capacity tiers."""

    capacity_tiers: CapacityTiers | None = None
    """Instead of the cluster's; `[]` is none."""
    compute_resources: Mapping[ResourceName, OwnComputeResource] = Field(default_factory=dict)
    """Settings by the compute resource's name."""


class Gpus(Section):
    """GPUs of an instance type."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")]
    """Slurm's GRES type, such as a100."""
    count: Annotated[int, Field(ge=1)]
    """How many."""


class InstanceTypeFacts(Section):
    """Facts about an instance type that the built-in table does not know, or knows wrongly."""

    v_cpus: Annotated[int, Field(ge=1)]
    """Virtual CPUs, all threads."""
    memory_mib: Annotated[int, Field(ge=1, alias="MemoryMiB")]
    """MiB."""
    threads_per_core: Literal[1, 2] = 2
    """Threads of one core."""
    gpus: Gpus | None = None
    architecture: Literal["x86_64", "arm64"] = "x86_64"
    """Instruction set."""

    def findings(self) -> Iterator[Finding]:
        if self.v_cpus % self.threads_per_core:
            yield Finding(("VCpus",), f"must be a multiple of ThreadsPerCore ({self.threads_per_core})")


class Clustermgtd(Section):
    """This daemon."""

    cluster_name: ClusterName = "cluster"
    """In tags, in the table's name and in Slurm."""
    table: TableName | None = None
    """DynamoDB table of claims; default: clustermgtd-<ClusterName>."""
    period_seconds: Annotated[float, Field(ge=0.1, le=300)] = 30.0
    """Between two looks at the world if nothing wakes the daemon, seconds."""
    scaledown_idletime_seconds: IdleTime | None = None
    """Seconds a node may idle; finer than ScaledownIdletime, which it replaces; -1 is never."""
    resume_timeout_seconds: SlurmTimeout | None = None
    """Seconds from Slurm's wish to slurmd's registration; default: DevSettings.Timeouts.ComputeNodeBootstrapTimeout."""
    suspend_timeout_seconds: SlurmTimeout = 120
    """Seconds from SuspendProgram until Slurm may use the node again."""
    queues: Mapping[ResourceName, OwnQueue] = Field(default_factory=dict)
    """Settings by queue name."""
    capacity_tiers: CapacityTiers = ()
    """Where instances come from, in order of preference: each tier is asked when the one before has nothing. Without
    any, instances are what the queue says, and nothing else is tried."""
    tier_return_seconds: Annotated[float, Field(ge=1, le=86_400)] = 600.0
    """How long the jobs after one that went on to a lower tier begin in that tier at once, seconds, so that a market
    with little capacity is not asked by every job; each time in a row that the higher tiers have nothing after it,
    twice as long as before, up to eight times."""
    schedules: Mapping[ResourceName, Schedule] = Field(default_factory=dict)
    """Times at which nodes are up before anybody needs them, by a name of yours."""
    slurm: SlurmAccess = SlurmAccess()
    accounting: Accounting = Accounting()
    licenses: Licenses = Field(default_factory=dict)
    """Licenses that Slurm counts, by name: how many jobs may hold at a time. A job waits for those it asks for
    before it gets nodes."""
    hooks: Hooks = Hooks()
    metrics: Metrics = Metrics()
    log: Log = Log()
    launch: LaunchSettings = LaunchSettings()
    termination: Termination = Termination()
    protection: Protection = Protection()
    governor: Governor = Governor()
    gangs: Gangs = Gangs()
    offerings: Offerings = Offerings()
    interruptions: Interruptions = Interruptions()
    health: Health = Health()
    capacity_blocks: CapacityBlocks = CapacityBlocks()
    prices: Prices = Prices()
    quotas: Quotas = Quotas()
    events: Events = Events()
    node_agent: NodeAgent = NodeAgent()
    network: Network = Network()
    infrastructure: Infrastructure = Infrastructure()
    storage_resources: Mapping[StorageName, StorageResource] = Field(default_factory=dict)
    """What AWS knows about file systems, by their Name in SharedStorage; `cluster-home` is the /home of
    `HeadNode.SharedStorageType`. Machines of a stack find in it what the stack made."""
    job_tags: Annotated[tuple[Annotated[JobTag, Field(strict=False)], ...], Field(max_length=len(JobTag))] = ()
    """Facts about jobs that instances are tagged with when they are launched: `JobId`, `User`, `Account`, `Partition`.
    Whoever may read tags sees them, users of the instance too. A launch that serves several jobs has the first one's,
    and `clustermgtd:shared`."""
    script_checksums: Mapping[ScriptUrl, Sha256] = Field(default_factory=dict)
    """SHA-256 of programs of CustomActions by their URL, as sha256sum prints them: a program that has another is not
    run, and the boot fails."""
    instance_types: Mapping[InstanceTypeName, InstanceTypeFacts] = Field(default_factory=dict)
    """Facts about instance types by name; needed for types that the built-in table does not know."""

    def findings(self) -> Iterator[Finding]:
        if self.events.queue_url and self.events.visibility_seconds <= self.period_seconds:
            message = (
                f"must be more than Clustermgtd.PeriodSeconds ({self.period_seconds:g}): a message waits for a round"
            )
            yield Finding(("Events", "VisibilitySeconds"), message)

    @property
    def table_name(self) -> str:
        return self.table or f"clustermgtd-{self.cluster_name}"
