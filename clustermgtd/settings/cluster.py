"""The whole of cluster.yaml, and what is derived from several sections at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from clustermgtd.model.ids import ComputeResourceName, NodeName, QueueName
from clustermgtd.model.policy import ComputeResourceKey
from clustermgtd.model.schedule import ScheduleName, WarmNodes
from clustermgtd.settings.capacity_tiers import CapacityTier, ResolvedTier, resolved, tier_findings
from clustermgtd.settings.common import QueueLocalStorage, Tags
from clustermgtd.settings.daemon import Clustermgtd, OwnQueue, QueueTimes
from clustermgtd.settings.document import Location
from clustermgtd.settings.instance_types import InstanceTypeInfo, lookup
from clustermgtd.settings.network import named_subnets
from clustermgtd.settings.nodes import HeadNode, LoginNodes
from clustermgtd.settings.scheduling import ComputeResource, Scheduling, SlurmQueue
from clustermgtd.settings.section import Finding, RegionName, Section, repeated
from clustermgtd.settings.site import (
    AdditionalPackages,
    ClusterIam,
    ClusterImage,
    DeploymentSettings,
    DevSettings,
    DirectoryService,
    Imds,
    Monitoring,
    tag_findings,
)
from clustermgtd.settings.storage import HOME_NAME, SharedStorage, storage_findings

NEVER = -1


@dataclass(frozen=True, slots=True)
class Nodes:
    """The node names of one compute resource."""

    key: ComputeResourceKey
    static: tuple[NodeName, ...]
    dynamic: tuple[NodeName, ...]


class Settings(Section):
    """One cluster, in ParallelCluster 3's spelling."""

    region: RegionName | None = None
    """AWS Region; default: AWS_REGION, or the Region of the head node."""
    image: ClusterImage
    head_node: HeadNode
    login_nodes: LoginNodes | None = None
    scheduling: Scheduling
    shared_storage: tuple[SharedStorage, ...] = ()
    """Shared file systems."""
    monitoring: Monitoring = Monitoring()
    additional_packages: AdditionalPackages = AdditionalPackages()
    tags: Tags = ()
    """Tags of everything in AWS; at most 40 together with a queue's."""
    iam: ClusterIam = ClusterIam()
    directory_service: DirectoryService | None = None
    imds: Imds = Imds()
    custom_s3_bucket: Annotated[str | None, Field(alias="CustomS3Bucket")] = None
    """ParallelCluster's deployment only."""
    additional_resources: str | None = None
    """ParallelCluster's deployment only."""
    deployment_settings: DeploymentSettings = DeploymentSettings()
    dev_settings: DevSettings = DevSettings()
    clustermgtd: Clustermgtd = Clustermgtd()

    def findings(self) -> Iterator[Finding]:
        yield from self._storage_findings()
        yield from self._tag_findings()
        yield from self._instance_type_findings()
        queues = [queue.name for queue in self.scheduling.slurm_queues]
        for name in self.clustermgtd.queues:
            if name not in queues:
                yield Finding(("Clustermgtd", "Queues", name), "is not the name of a queue", ", ".join(queues[:5]))
        yield from self._tier_findings()
        yield from self._checksum_findings()
        yield from self._schedule_findings()
        known = self.clustermgtd.network.subnets
        for location, name in named_subnets(self.model_dump(by_alias=True, exclude_unset=True)):
            if name not in known:
                message = f"{name} is not a subnet of Clustermgtd.Network.Subnets"
                yield Finding(location, message, ", ".join([*known][:5]))
        yield from self._accounting_findings()

    def _accounting_findings(self) -> Iterator[Finding]:
        slurm, local = self.scheduling.slurm_settings, self.clustermgtd.accounting.local_database
        new = self.clustermgtd.infrastructure.database
        others = [f"Scheduling.SlurmSettings.{one}" for one in slurm.given("database", "external_slurmdbd")]
        for other in (*others, *(["Clustermgtd.Accounting.LocalDatabase"] if local else [])) if new else ():
            location: Location = ("Clustermgtd", "Infrastructure", "Database")
            yield Finding(
                location, f"cannot be given together with {other}", "one database keeps the records; drop one"
            )
        if local:
            for other in slurm.given("database", "external_slurmdbd"):
                message = f"cannot be true together with Scheduling.SlurmSettings.{other}"
                yield Finding(("Clustermgtd", "Accounting", "LocalDatabase"), message)
        if (slurm.database or local or new) and len(self.clustermgtd.cluster_name) > 40:
            message = "at most 40 characters with accounting: Slurm makes names of database tables from it"
            yield Finding(("Clustermgtd", "ClusterName"), message)

    def _storage_findings(self) -> Iterator[Finding]:
        yield from _under(("SharedStorage",), storage_findings(self.shared_storage))
        for index, first in repeated([storage.name for storage in self.shared_storage]):
            yield Finding(("SharedStorage", index, "Name"), f"is also the name of SharedStorage[{first}]")
        for index, first in repeated([storage.mount_point for storage in self.shared_storage]):
            yield Finding(("SharedStorage", index, "MountDir"), f"is also the MountDir of SharedStorage[{first}]")
        names = [*(storage.name for storage in self.shared_storage), HOME_NAME]
        for name in self.clustermgtd.storage_resources:
            if name not in names:
                yield Finding(("Clustermgtd", "StorageResources", name), "is no file system's name", ", ".join(names))

    def _tag_findings(self) -> Iterator[Finding]:
        yield from _under(("Tags",), tag_findings(self.tags))
        job_tags = len(set(self.clustermgtd.job_tags))
        most = 40 - (job_tags + 1 if job_tags else 0)
        for index, queue in enumerate(self.scheduling.slurm_queues):
            for number, resource in enumerate(queue.compute_resources):
                if len(self.instance_tags(queue, resource)) > most and len(self.tags) <= 40:
                    location = ("Scheduling", "SlurmQueues", index, "ComputeResources", number)
                    why = f"; EC2 takes 50, {50 - most} of them are ours, JobTags included" if most < 40 else ""
                    text = f"has more than {most} tags together with its queue's and the cluster's{why}"
                    yield Finding(location, text)

    def _instance_type_findings(self) -> Iterator[Finding]:
        known = self.clustermgtd.instance_types
        for index, queue in enumerate(self.scheduling.slurm_queues):
            for number, resource in enumerate(queue.compute_resources):
                at: Location = ("Scheduling", "SlurmQueues", index, "ComputeResources", number)
                infos: list[InstanceTypeInfo] = []
                for position, name in enumerate(resource.instance_types):
                    where = ("InstanceType",) if resource.instance_type else ("Instances", position, "InstanceType")
                    info = lookup(name, known)
                    if isinstance(info, str):
                        yield Finding((*at, *where), info, f"give its facts in Clustermgtd.InstanceTypes.{name}")
                        continue
                    infos.append(info)
                    if not infos[0].is_interchangeable_with(info):
                        message = f"{name} and {infos[0].name} differ in CPUs, GPUs or architecture"
                        yield Finding((*at, *where), message, "put it into a compute resource of its own")
                memory = min((info.memory_mib for info in infos), default=None)
                if resource.schedulable_memory and memory and resource.schedulable_memory > memory:
                    yield Finding((*at, "SchedulableMemory"), f"is more than the instance type's {memory} MiB")

    def _tier_findings(self) -> Iterator[Finding]:
        """Each thing is said once, of the first compute resource that it is wrong for."""
        said: set[Location] = set()
        for queue in self.scheduling.slurm_queues:
            own = self.clustermgtd.queues.get(queue.name, OwnQueue())
            names = [resource.name for resource in queue.compute_resources]
            for name in own.compute_resources:
                if name not in names:
                    location: Location = ("Clustermgtd", "Queues", queue.name, "ComputeResources", name)
                    text = f"is not the name of a compute resource of queue {queue.name}"
                    yield Finding(location, text, ", ".join(names[:5]))
            for resource in queue.compute_resources:
                where, tiers = self._given_tiers(queue, resource)
                known = self.clustermgtd.instance_types
                for found in tier_findings(self.cluster_name, queue, resource, tiers, known):
                    location = (*where, *found.location)
                    if location not in said:
                        said.add(location)
                        yield Finding(location, found.message, found.suggestion)

    def _checksum_findings(self) -> Iterator[Finding]:
        pools = () if self.login_nodes is None else self.login_nodes.pools
        actions = [self.head_node.custom_actions, *(pool.custom_actions for pool in pools)]
        actions_of_queues = [queue.custom_actions for queue in self.scheduling.slurm_queues]
        used = {script.script for one in (*actions, *actions_of_queues) for script in one.all_scripts}
        for url in self.clustermgtd.script_checksums:
            if url not in used:
                location = ("Clustermgtd", "ScriptChecksums", url)
                yield Finding(location, "is not the URL of a program of CustomActions", ", ".join(sorted(used)[:5]))

    def _schedule_findings(self) -> Iterator[Finding]:
        queues = {queue.name: queue for queue in self.scheduling.slurm_queues}
        for name, schedule in self.clustermgtd.schedules.items():
            for index, wanted in enumerate(schedule.warm_nodes):
                at: Location = ("Clustermgtd", "Schedules", name, "WarmNodes", index)
                if wanted.queue not in queues:
                    text = f"{wanted.queue} is not the name of a queue"
                    yield Finding((*at, "Queue"), text, ", ".join([*queues][:5]))
                    continue
                resources = {one.name: one for one in queues[wanted.queue].compute_resources}
                resource = resources.get(wanted.compute_resource)
                if resource is None:
                    text = f"{wanted.compute_resource} is not the name of a compute resource of queue {wanted.queue}"
                    yield Finding((*at, "ComputeResource"), text, ", ".join([*resources][:5]))
                elif wanted.min_count > resource.max_count:
                    text = f"{wanted.min_count} is more than the compute resource's MaxCount ({resource.max_count})"
                    yield Finding((*at, "MinCount"), text)

    def warm_nodes(self) -> dict[ComputeResourceKey, tuple[WarmNodes, ...]]:
        """What schedules want, by compute resource."""
        found: dict[ComputeResourceKey, tuple[WarmNodes, ...]] = {}
        for name, schedule in sorted(self.clustermgtd.schedules.items()):
            for wanted in schedule.warm_nodes:
                key = ComputeResourceKey(QueueName(wanted.queue), ComputeResourceName(wanted.compute_resource))
                found[key] = (*found.get(key, ()), WarmNodes(ScheduleName(name), wanted.min_count))
        return found

    def _given_tiers(self, queue: SlurmQueue, resource: ComputeResource) -> tuple[Location, tuple[CapacityTier, ...]]:
        """The nearest CapacityTiers of a compute resource, and where in the file they are."""
        of_queue = self.clustermgtd.queues.get(queue.name, OwnQueue())
        own = of_queue.compute_resources.get(resource.name)
        at: Location = ("Clustermgtd", "Queues", queue.name)
        if own is not None and own.capacity_tiers is not None:
            return (*at, "ComputeResources", resource.name, "CapacityTiers"), own.capacity_tiers
        if of_queue.capacity_tiers is not None:
            return (*at, "CapacityTiers"), of_queue.capacity_tiers
        return ("Clustermgtd", "CapacityTiers"), self.clustermgtd.capacity_tiers

    def tiers_of(self, queue: SlurmQueue, resource: ComputeResource) -> tuple[ResolvedTier, ...]:
        """Where a compute resource's instances come from, in order of preference; never empty."""
        return resolved(self.cluster_name, queue, resource, self._given_tiers(queue, resource)[1])

    def instance_types_of(self, queue: SlurmQueue, resource: ComputeResource) -> tuple[str, ...]:
        """Every type that the compute resource's nodes may be, its own first."""
        of_tiers = (name for tier in self.tiers_of(queue, resource) for name in tier.instance_types)
        return tuple(dict.fromkeys((*resource.instance_types, *of_tiers)))

    @property
    def cluster_name(self) -> str:
        return self.clustermgtd.cluster_name

    @property
    def nodes(self) -> tuple[Nodes, ...]:
        """Every node there can be, by compute resource, in the file's order."""
        return tuple(
            _nodes(queue, resource) for queue in self.scheduling.slurm_queues for resource in queue.compute_resources
        )

    @property
    def node_names(self) -> tuple[NodeName, ...]:
        """Every node there can be, in the file's order, static before dynamic."""
        return tuple(name for nodes in self.nodes for name in (*nodes.static, *nodes.dynamic))

    @property
    def suspend_time_s(self) -> int:
        """Seconds a node may idle before its instance ends; `NEVER` for ever."""
        own = self.clustermgtd.scaledown_idletime_seconds
        if own is not None:
            return own
        minutes = self.scheduling.slurm_settings.scaledown_idletime
        return NEVER if minutes == NEVER else minutes * 60

    @property
    def resume_timeout_s(self) -> int:
        """Seconds from Slurm's wish to slurmd's registration, after which Slurm sets the node DOWN."""
        own = self.clustermgtd.resume_timeout_seconds
        return self.dev_settings.timeouts.compute_node_bootstrap_timeout if own is None else own

    @property
    def suspend_timeout_s(self) -> int:
        """Seconds from SuspendProgram until Slurm may use the node again."""
        return self.clustermgtd.suspend_timeout_seconds

    def times_of(self, queue: str) -> QueueTimes:
        """The times of one queue, complete: the cluster's where the queue has none of its own."""
        own = self.clustermgtd.queues.get(queue, OwnQueue())
        return own.model_copy(
            update={
                "scaledown_idletime_seconds": _first(own.scaledown_idletime_seconds, self.suspend_time_s),
                "resume_timeout_seconds": _first(own.resume_timeout_seconds, self.resume_timeout_s),
                "suspend_timeout_seconds": _first(own.suspend_timeout_seconds, self.suspend_timeout_s),
            }
        )

    def idle_time_of(self, queue: SlurmQueue, resource: ComputeResource) -> int:
        """Seconds a node of one compute resource may idle before its instance ends; `NEVER` for ever."""
        own = self.clustermgtd.queues.get(queue.name, OwnQueue()).compute_resources.get(resource.name)
        of_queue = _first(self.times_of(queue.name).scaledown_idletime_seconds, self.suspend_time_s)
        return _first(own.scaledown_idletime_seconds if own else None, of_queue)

    def slurm_suspend_time_of(self, queue: SlurmQueue) -> int:
        """The queue's SuspendTime in slurm.conf, seconds; `NEVER` for ever.

        Slurm knows one time for all nodes of a partition: the longest of its compute resources' idle times, and none
        if a schedule keeps some of them warm. The daemon itself powers down what may idle for less.
        """
        if any(key.queue == queue.name for key in self.warm_nodes()):
            return NEVER
        times = [self.idle_time_of(queue, resource) for resource in queue.compute_resources]
        return NEVER if NEVER in times else max(times)

    def local_storage_of(self, queue: str) -> QueueLocalStorage:
        """Disks of a queue's nodes."""
        return next(one for one in self.scheduling.slurm_queues if one.name == queue).compute_settings.local_storage

    def instance_tags(self, queue: SlurmQueue, resource: ComputeResource) -> dict[str, str]:
        """Tags of a compute resource's instances: its own win over the queue's, these over the cluster's."""
        return {tag.key: tag.value for tag in (*self.tags, *queue.tags, *resource.tags)}

    def instance_type(self, name: str) -> InstanceTypeInfo:
        """Facts about a type that this file uses; known, or the file would have been refused."""
        info = lookup(name, self.clustermgtd.instance_types)
        assert not isinstance(info, str), info
        return info


def _nodes(queue: SlurmQueue, resource: ComputeResource) -> Nodes:
    def names(kind: str, count: int) -> tuple[NodeName, ...]:
        return tuple(NodeName(f"{queue.name}-{kind}-{resource.name}-{number}") for number in range(1, count + 1))

    key = ComputeResourceKey(QueueName(queue.name), ComputeResourceName(resource.name))
    return Nodes(key, names("st", resource.min_count), names("dy", resource.dynamic_count))


def _first(own: int | None, default: int) -> int:
    return default if own is None else own


def _under(location: Location, findings: Iterator[Finding]) -> Iterator[Finding]:
    return (Finding((*location, *found.location), found.message, found.suggestion) for found in findings)
