"""What the site wants, reduced to what decisions depend on. Built from cluster.yaml by `settings.policy`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from clustermgtd.model.claim import AllocationStrategy, LaunchTemplate
from clustermgtd.model.gang import GangPolicy
from clustermgtd.model.ids import CapacityReservationId, ComputeResourceName, NodeName, QueueName
from clustermgtd.model.job import JobTag
from clustermgtd.model.node_report import BootPhase
from clustermgtd.model.offering import Market, Offering
from clustermgtd.model.price import Prices
from clustermgtd.model.safeguards import ProtectionPolicy, TerminationPolicy
from clustermgtd.model.schedule import WarmNodes

TIERS_MAX = 8
"""Capacity tiers of one compute resource."""


class ScalingStrategy(StrEnum):
    """ParallelCluster's `Scheduling.ScalingStrategy`."""

    ALL_OR_NOTHING = "all-or-nothing"
    GREEDY_ALL_OR_NOTHING = "greedy-all-or-nothing"
    BEST_EFFORT = "best-effort"


@dataclass(frozen=True, slots=True)
class ComputeResourceKey:
    queue: QueueName
    name: ComputeResourceName


@dataclass(frozen=True, slots=True)
class CapacityTier:
    """One way to get a compute resource's instances: all that the requests of one launch template share."""

    template: LaunchTemplate
    offerings: tuple[Offering, ...]
    """Never empty; all of one market."""
    market: Market
    strategy: AllocationStrategy
    max_price: float | None = None
    """US dollars an hour for one spot instance; None is the on-demand price."""
    pool: str = ""
    """The reservation or placement group that it is launched into, if any: a shortage there says nothing about
    everybody's capacity."""
    max_wait_s: float = 0.0
    """How much longer than for the tiers before a demand waits, since it began, if this one has nothing."""


@dataclass(frozen=True, slots=True)
class ComputeResourcePolicy:
    """How nodes of one compute resource are launched."""

    key: ComputeResourceKey
    tiers: tuple[CapacityTier, ...]
    """In order of preference; never empty."""
    configuration: str = ""
    """Changes with everything that a human can change about its requests."""

    @property
    def is_tiered(self) -> bool:
        """A refusal may not be the last word: there is another tier, or this one is waited for."""
        return len(self.tiers) > 1 or self.tiers[0].max_wait_s > 0

    @property
    def offerings(self) -> tuple[Offering, ...]:
        """Those of all tiers."""
        return tuple(offering for tier in self.tiers for offering in tier.offerings)


@dataclass(frozen=True, slots=True)
class BanPolicy:
    """How long refusals by EC2 are remembered. Seconds."""

    steps_s: tuple[float, ...] = (45.0, 180.0, 600.0, 1800.0)
    """After a first refusal for want of capacity, quota or addresses, after one more in a row, and so on; the last one
    repeats."""
    unsupported_s: float = 43_200.0
    """A type that EC2 does not offer in a zone."""
    configuration_s: float = 1800.0
    """A compute resource whose request EC2 refuses, unless its configuration changes before."""
    forget_s: float = 1800.0
    """A ban that ended this long ago, and that nobody tried, is dropped: the next refusal is a first one."""
    probe_nodes: int = 1
    """Nodes of the one launch that tries whether an ended ban is over; a job that takes all or nothing is tried
    whole."""
    holds_nodes: bool = True
    """Keep nodes out of scheduling while every offering of their compute resource is banned."""


class RebalancePolicy(StrEnum):
    """What follows from EC2's advice that a spot instance is at elevated risk of interruption."""

    IGNORE = "ignore"
    DRAIN_IDLE = "drain-idle"
    """Power idle nodes down."""
    REPLACE = "replace"
    """Also drain busy ones, so that they power down when their jobs have ended."""


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """How long which illness is waited for, seconds; None is for ever."""

    impaired_s: float | None = 300.0
    check_s: float | None = 0.0
    slurmd_s: float | None = 300.0
    invalid_registration_s: float | None = 0.0
    agent_start_s: float | None = None
    boot_s: Mapping[BootPhase, float | None] = field(default_factory=dict)
    """After each phase, until the next one."""
    keep_s: float = 0.0
    """An ill instance whose node has no job is kept for so long."""


@dataclass(frozen=True, slots=True)
class BlockPolicy:
    """Compute resources that live in capacity blocks, and when those are left."""

    of: Mapping[ComputeResourceKey, CapacityReservationId] = field(default_factory=dict)
    """The block of each compute resource whose `CapacityType` is `CAPACITY_BLOCK`."""
    drain_s: float = 2400.0
    """Before a block's end: no job may run later than that."""


@dataclass(frozen=True, slots=True)
class PlacedNode:
    """Where a node name belongs."""

    key: ComputeResourceKey
    is_static: bool


@dataclass(frozen=True, slots=True)
class Policy:
    """All of it. Times in seconds."""

    compute_resources: Mapping[ComputeResourceKey, ComputeResourcePolicy]
    nodes: Mapping[NodeName, PlacedNode]
    """Every node this daemon manages; a node that is not listed is nobody's business of ours."""
    scaling: ScalingStrategy = ScalingStrategy.ALL_OR_NOTHING
    launch_batch_max: int = 250
    """Instances in one CreateFleet call unless a job needs all or nothing (then up to 1,000)."""
    terminate_batch_max: int = 500
    missing_grace_s: float = 120.0
    """An instance that EC2 has not shown for this long is gone; must exceed EC2's read lag."""
    orphan_grace_s: float = 180.0
    """Age at which a live instance without a claim may be ended, if it was seen twice."""
    replay_interval_s: float = 5.0
    """Between two calls under one launch token."""
    launch_timeout_s: float = 600.0
    """An unwanted launch without any reply for this long is given up; must exceed EC2's read lag."""
    terminate_retry_s: float = 20.0
    static_retry_s: float = 60.0
    """Between two attempts to power a static node up."""
    names_resolve: bool = False
    """True where DNS knows every node's name, with or without an instance: then no address is parked."""
    assigns_addresses: bool = False
    """True where Slurm does not take addresses from slurmd's registration (`cloud_reg_addrs`)."""
    bans: BanPolicy = BanPolicy()
    tier_return_s: float = 600.0
    """How long demands begin in a lower tier once the higher ones were refused; twice as long each time in a row, up to
    eight times."""
    interruption_lead_s: float = 120.0
    """Jobs are requeued this long before EC2 takes their instance, or when it is announced if that is later."""
    has_interruption_hook: bool = False
    """Node agents run a program of the site's when their instance is taken."""
    rebalance: RebalancePolicy = RebalancePolicy.IGNORE
    maintenance_lead_s: float = 1800.0
    """From so long before a scheduled event no job may run on the instance's node."""
    maintenance_forget_s: float = 180.0
    """A reservation whose event is not told of any more goes after this time; must exceed the time between two readings
    of EC2's status."""
    terminations: TerminationPolicy = TerminationPolicy()
    health: HealthPolicy = HealthPolicy()
    protection: ProtectionPolicy = ProtectionPolicy()
    blocks: BlockPolicy = BlockPolicy()
    idle_after_s: Mapping[ComputeResourceKey, float] = field(default_factory=dict)
    """Compute resources whose dynamic nodes we power down ourselves once they have been idle for so long, because
    Slurm's SuspendTime, one for a whole partition, is longer."""
    warm: Mapping[ComputeResourceKey, tuple[WarmNodes, ...]] = field(default_factory=dict)
    """What schedules want up, never empty tuples."""
    job_tags: tuple[JobTag, ...] = ()
    """Facts about jobs that their instances are tagged with."""
    gangs: GangPolicy = GangPolicy()
    prices: Prices = Prices()
    """As known when the policy was made."""
