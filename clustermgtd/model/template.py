"""What a launch template of ours must hold: the part of an instance that does not depend on the offering."""

from __future__ import annotations

from dataclasses import dataclass

from clustermgtd.model.ids import InstanceType
from clustermgtd.model.offering import Market
from clustermgtd.model.policy import ComputeResourceKey


@dataclass(frozen=True, slots=True)
class RootVolume:
    """EBS settings of the root device; None leaves the image's value."""

    size_gib: int | None = None
    encrypted: bool = True
    volume_type: str = "gp3"
    iops: int | None = None
    throughput_mib_s: int | None = None


@dataclass(frozen=True, slots=True)
class PlacementGroup:
    """A cluster placement group: instances close to each other, in one zone."""

    name: str
    is_managed: bool = False
    """We make it if it is missing; otherwise it has to exist."""


@dataclass(frozen=True, slots=True)
class CapacityReservation:
    """Capacity that was reserved before. One of the two is given."""

    id: str = ""
    """One reservation: nothing is launched beyond it."""
    group_arn: str = ""
    """A resource group of reservations: what does not fit in runs on demand."""


@dataclass(frozen=True, slots=True)
class TemplateKey:
    """What one launch template is for."""

    compute_resource: ComputeResourceKey
    tier: int = 0
    """Number of the compute resource's capacity tier, from 0."""


@dataclass(frozen=True, slots=True)
class TemplateSpec:
    """The launch template of one capacity tier. IMDSv2 is required and instance tags are readable there, always."""

    key: ComputeResourceKey
    image_id: str
    security_groups: tuple[str, ...] = ()
    instance_profile: str = ""
    """Name or ARN; empty for none."""
    key_name: str = ""
    user_data: str = ""
    """Plain text; the adapter encodes it."""
    root_volume: RootVolume = RootVolume()
    assign_public_ip: bool | None = None
    """None leaves the subnet's setting."""
    detailed_monitoring: bool = False
    instance_types: tuple[InstanceType, ...] = ()
    """Those that are launched with the template: its network cards and cores fit all of them. Empty asks for none."""
    market: Market = Market.ON_DEMAND
    placement_group: PlacementGroup | None = None
    reservation: CapacityReservation | None = None
    """None uses open reservations that happen to match."""
    efa: bool = False
    """An Elastic Fabric Adapter on every network card that has one."""
    multithreading: bool = True
    """False: one thread per core."""
    tags: tuple[tuple[str, str], ...] = ()
    """For instances and volumes, sorted by key; the adapter adds the launch token and what ParallelCluster's tools
    look for (`parallelcluster:cluster-name`, `:node-type`, `:queue-name`, `:compute-resource-name`)."""
    tier: int = 0
    """Number of the capacity tier, from 0."""
