"""`Scheduling`: Slurm, its queues and their compute resources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field

from clustermgtd.model.claim import AllocationStrategy
from clustermgtd.model.policy import ScalingStrategy
from clustermgtd.settings.common import (
    CapacityReservationTarget,
    HealthChecks,
    Iam,
    Image,
    Networking,
    PlacementGroup,
    QueueCustomActions,
    QueueLocalStorage,
    Tags,
)
from clustermgtd.settings.custom_slurm import COMPUTE_RESOURCE_OWNED, QUEUE_OWNED, denied, global_findings
from clustermgtd.settings.placement import group_findings, reservation_findings
from clustermgtd.settings.section import (
    Arn,
    CustomValue,
    Finding,
    HostAndPort,
    InstanceTypeName,
    ResourceName,
    SecretArn,
    Section,
    SubnetIdText,
    Url,
    repeated,
)

NodePriority = Annotated[int, Field(ge=1, le=2**32 - 1)]
SPOT_ONLY = frozenset({AllocationStrategy.CAPACITY_OPTIMIZED, AllocationStrategy.PRICE_CAPACITY_OPTIMIZED})
"""Strategies that EC2 has for spot instances alone."""
NODES_MAX = 65_533
"""Slurm's limit on the nodes of one cluster."""


class Dns(Section):
    """Names in a Route 53 zone. Compute nodes have none, and need none: Slurm tells where they are."""

    disable_managed_dns: bool = False
    """There is no zone: nothing else is ever done for compute nodes, and a zone for the head node is refused."""
    hosted_zone_id: str | None = None
    """The head node's name is put into this private Route 53 zone, which `Clustermgtd.Network.PrivateZone` names."""
    use_ec2_hostnames: bool = False
    """Without effect: nodes always keep EC2's host names."""


class Database(Section):
    """The MySQL server behind a slurmdbd on the head node."""

    uri: HostAndPort
    """host or host:port."""
    user_name: str
    """Database user."""
    password_secret_arn: SecretArn
    """ARN of the secret that holds the password."""
    database_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,64}$")] | None = None
    """Default: made from the cluster's name."""


class ExternalSlurmdbd(Section):
    """A slurmdbd that runs elsewhere."""

    host: str
    """Its address."""
    port: Annotated[int, Field(ge=1, le=65535)] = 6819
    """Its port."""


class SlurmSettings(Section):
    """slurm.conf of the whole cluster."""

    scaledown_idletime: Annotated[int, Field(ge=-1, le=71_000_000)] = 10
    """Minutes a node may idle before its instance ends (SuspendTime); -1 is never."""
    queue_update_strategy: Literal["COMPUTE_FLEET_STOP", "DRAIN", "TERMINATE"] = "COMPUTE_FLEET_STOP"
    """What becomes of running nodes whose queue changes."""
    enable_memory_based_scheduling: bool = False
    """Make memory a consumable resource (CR_CPU_Memory)."""
    custom_slurm_settings: tuple[Mapping[str, CustomValue], ...] = ()
    """Further lines for slurm.conf; keys that clustermgtd writes itself are refused."""
    custom_slurm_settings_include_file: Url | None = None
    """URL of a file with such lines, instead of CustomSlurmSettings."""
    munge_key_secret_arn: Arn | None = None
    """ARN of the secret that holds munge's key; default: one is made."""
    dns: Dns = Dns()
    database: Database | None = None
    external_slurmdbd: ExternalSlurmdbd | None = None

    def findings(self) -> Iterator[Finding]:
        yield from global_findings(self.custom_slurm_settings, ("CustomSlurmSettings",))
        if self.custom_slurm_settings and self.custom_slurm_settings_include_file:
            yield Finding(("CustomSlurmSettingsIncludeFile",), "cannot be given together with CustomSlurmSettings")
        if self.database and self.external_slurmdbd:
            yield Finding(("ExternalSlurmdbd",), "cannot be given together with Database")


class Instance(Section):
    """One of several instance types."""

    instance_type: InstanceTypeName
    """EC2 instance type."""


class Efa(Section):
    """Elastic Fabric Adapter."""

    enabled: bool = False
    """Give every instance one."""
    gdr_support: bool = False
    """GPUDirect RDMA; without effect in current EFA releases."""


class ComputeResourceNetworking(Section):
    """Network settings of one compute resource."""

    placement_group: PlacementGroup = PlacementGroup()


class ComputeResource(Section):
    """A number of equal nodes of a queue."""

    name: ResourceName
    """Unique in the queue; part of node names."""
    instance_type: InstanceTypeName | None = None
    """EC2 instance type; either this or Instances."""
    instances: tuple[Instance, ...] = ()
    """Several interchangeable instance types with equal numbers of CPUs and GPUs; either this or InstanceType."""
    min_count: Annotated[int, Field(ge=0)] = 0
    """Static nodes: always up."""
    max_count: Annotated[int, Field(ge=1, le=NODES_MAX)] = 10
    """Static and dynamic nodes together."""
    spot_price: Annotated[float, Field(ge=0)] | None = None
    """US dollars an hour for one instance, SPOT queues only; default: the on-demand price."""
    disable_simultaneous_multithreading: bool = False
    """One thread per core."""
    schedulable_memory: Annotated[int, Field(ge=1)] | None = None
    """MiB that jobs may ask for (RealMemory); default: 95 % of the instance type's."""
    efa: Efa = Efa()
    capacity_reservation_target: CapacityReservationTarget | None = None
    networking: ComputeResourceNetworking = ComputeResourceNetworking()
    health_checks: HealthChecks = HealthChecks()
    custom_slurm_settings: Mapping[str, CustomValue] = Field(default_factory=dict)
    """Further keys for the nodes' line in slurm.conf; keys that clustermgtd writes itself are refused."""
    tags: Tags = ()
    """Tags of the instances, in addition to the queue's."""
    static_node_priority: NodePriority = 1
    """Weight of static nodes: Slurm uses low ones first."""
    dynamic_node_priority: NodePriority = 1000
    """Weight of dynamic nodes: Slurm uses low ones first."""

    def findings(self) -> Iterator[Finding]:
        if self.instance_type and self.instances:
            yield Finding(("Instances",), "InstanceType and Instances cannot be given together")
        if not self.instance_type and not self.instances:
            yield Finding((), "needs InstanceType or Instances")
        for index, first in repeated([instance.instance_type for instance in self.instances]):
            yield Finding(("Instances", index, "InstanceType"), f"is also Instances[{first}]")
        if self.min_count > self.max_count:
            at = "MinCount" if "min_count" in self.model_fields_set else "MaxCount"
            yield Finding((at,), f"MinCount {self.min_count} is more than MaxCount {self.max_count}")
        yield from denied(self.custom_slurm_settings, COMPUTE_RESOURCE_OWNED, ("CustomSlurmSettings",))

    @property
    def instance_types(self) -> tuple[str, ...]:
        """In order of preference, never empty."""
        if self.instance_type is not None:
            return (self.instance_type,)
        return tuple(instance.instance_type for instance in self.instances)

    @property
    def dynamic_count(self) -> int:
        return self.max_count - self.min_count


class QueueNetworking(Networking):
    """A queue's place in the network."""

    subnet_ids: Annotated[tuple[SubnetIdText, ...], Field(min_length=1)]
    """Subnets that instances may be launched in."""
    assign_public_ip: bool | None = None
    """Default: the subnet's setting."""
    placement_group: PlacementGroup = PlacementGroup()

    def findings(self) -> Iterator[Finding]:
        for index, first in repeated(list(self.subnet_ids)):
            yield Finding(("SubnetIds", index), f"is also SubnetIds[{first}]")


class ComputeSettings(Section):
    """Settings of all compute nodes of a queue."""

    local_storage: QueueLocalStorage = QueueLocalStorage()


class SlurmQueue(Section):
    """A partition."""

    name: ResourceName
    """Unique in the cluster; the partition's name."""
    capacity_type: Literal["ONDEMAND", "SPOT", "CAPACITY_BLOCK"] = "ONDEMAND"
    """How instances are paid for."""
    allocation_strategy: Annotated[AllocationStrategy, Field(strict=False)] | None = None
    """How EC2 chooses among Instances; default: lowest-price. Only for compute resources with Instances."""
    job_exclusive_allocation: bool = False
    """A node runs one job at a time (OverSubscribe=EXCLUSIVE)."""
    capacity_reservation_target: CapacityReservationTarget | None = None
    compute_settings: ComputeSettings = ComputeSettings()
    custom_actions: QueueCustomActions = QueueCustomActions()
    iam: Iam = Iam()
    image: Image = Image()
    health_checks: HealthChecks = HealthChecks()
    networking: QueueNetworking
    tags: Tags = ()
    """Tags of the instances, in addition to the cluster's."""
    custom_slurm_settings: Mapping[str, CustomValue] = Field(default_factory=dict)
    """Further keys for the partition's line in slurm.conf; keys that clustermgtd writes itself are refused."""
    compute_resources: Annotated[tuple[ComputeResource, ...], Field(min_length=1)]
    """Kinds of nodes. There is no limit on their number."""

    def findings(self) -> Iterator[Finding]:
        for index, first in repeated([resource.name for resource in self.compute_resources]):
            yield Finding(("ComputeResources", index, "Name"), f"is also the name of ComputeResources[{first}]")
        yield from denied(self.custom_slurm_settings, QUEUE_OWNED, ("CustomSlurmSettings",))
        yield from self._strategy_findings()
        for index, resource in enumerate(self.compute_resources):
            at = ("ComputeResources", index)
            if resource.spot_price is not None and self.capacity_type != "SPOT":
                message = f"needs CapacityType: SPOT, the queue's is {self.capacity_type}"
                yield Finding((*at, "SpotPrice"), message)
            if self.capacity_type == "CAPACITY_BLOCK" and resource.instances:
                yield Finding((*at, "Instances"), "a capacity block is of one type; use InstanceType")
            for found in (
                *reservation_findings(self.capacity_type, self.capacity_reservation_target, resource),
                *group_findings(self.networking.placement_group, len(self.networking.subnet_ids), resource),
            ):
                yield Finding((*at, *found.location), found.message, found.suggestion)

    def _strategy_findings(self) -> Iterator[Finding]:
        if self.allocation_strategy is None:
            return
        single = [resource.name for resource in self.compute_resources if not resource.instances]
        if single:
            message = f"only for compute resources with Instances; {single[0]} has InstanceType"
            yield Finding(("AllocationStrategy",), message)
        if self.allocation_strategy in SPOT_ONLY and self.capacity_type != "SPOT":
            message = f"{self.allocation_strategy} is for CapacityType: SPOT, the queue's is {self.capacity_type}"
            yield Finding(("AllocationStrategy",), message, "lowest-price or prioritized")


class Scheduling(Section):
    """Slurm and its queues."""

    scheduler: Literal["slurm"]
    """The only one supported."""
    scaling_strategy: Annotated[ScalingStrategy, Field(strict=False)] = ScalingStrategy.ALL_OR_NOTHING
    """Whether a job's instances are launched together or not at all."""
    slurm_settings: SlurmSettings = SlurmSettings()
    slurm_queues: Annotated[tuple[SlurmQueue, ...], Field(min_length=1)]
    """Partitions; the first one is the default. There is no limit on their number."""

    def findings(self) -> Iterator[Finding]:
        for index, first in repeated([queue.name for queue in self.slurm_queues]):
            yield Finding(("SlurmQueues", index, "Name"), f"is also the name of SlurmQueues[{first}]")
        total = sum(resource.max_count for queue in self.slurm_queues for resource in queue.compute_resources)
        if total > NODES_MAX:
            yield Finding(("SlurmQueues",), f"{total} nodes in all; Slurm stops at {NODES_MAX}")
        ours = {queue.name for queue in self.slurm_queues}
        for index, entry in enumerate(self.slurm_settings.custom_slurm_settings):
            for key, value in entry.items():
                if key.lower() == "partitionname" and value in ours:
                    location = ("SlurmSettings", "CustomSlurmSettings", index, key)
                    yield Finding(location, "is the name of a queue", "use that queue's CustomSlurmSettings")
