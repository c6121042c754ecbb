"""What the site wants, reduced to what decisions depend on. Built from cluster.yaml by `settings.policy`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from clustermgtd.model.claim import AllocationStrategy, LaunchTemplate
from clustermgtd.model.ids import ComputeResourceName, NodeName, QueueName
from clustermgtd.model.job import JobTag
from clustermgtd.model.offering import Market, Offering


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
class ComputeResourcePolicy:
    """How nodes of one compute resource are launched."""

    key: ComputeResourceKey
    template: LaunchTemplate
    offerings: tuple[Offering, ...]
    market: Market
    strategy: AllocationStrategy
    max_price: float | None = None

    @property
    def can_be_all_or_nothing(self) -> bool:
        """EC2 takes MinTargetCapacity only with one instance type or one zone (here: one subnet)."""
        return len({o.instance_type for o in self.offerings}) == 1 or len({o.subnet for o in self.offerings}) == 1


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
    job_tags: tuple[JobTag, ...] = ()
    """Facts about jobs that their instances are tagged with."""
