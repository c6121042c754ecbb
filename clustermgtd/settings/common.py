"""Sections that occur in several places of cluster.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from clustermgtd.settings.section import (
    AbsolutePath,
    AmiId,
    Arn,
    Cidr,
    Finding,
    InstanceProfileArn,
    PolicyArn,
    RoleArn,
    ScriptUrl,
    Section,
    SecurityGroupId,
)

VolumeType = Literal["gp3", "gp2", "io1", "io2", "st1", "sc1", "standard"]
DeletionPolicy = Literal["Delete", "Retain"]


class Tag(Section):
    """One AWS tag."""

    key: Annotated[str, Field(min_length=1, max_length=128)]
    """Must not begin with `aws:` or `parallelcluster:`, which belong to AWS and to us."""
    value: Annotated[str, Field(max_length=256)]
    """Any text; put numbers in quotes."""

    def findings(self) -> Iterator[Finding]:
        for prefix in ("aws:", "parallelcluster:", "clustermgtd:"):
            if self.key.lower().startswith(prefix):
                yield Finding(("Key",), f"tag keys that begin with {prefix} are reserved")


Tags = tuple[Tag, ...]


class Image(Section):
    """The image of some nodes."""

    custom_ami: AmiId | None = None
    """AMI id; default: the one of the section above."""


class RootVolume(Section):
    """The EBS volume that nodes boot from."""

    size: Annotated[int, Field(ge=1, le=65536)] | None = None
    """GiB; default: the AMI's."""
    encrypted: bool = True
    """Encrypt it with the account's EBS key."""
    volume_type: VolumeType = "gp3"
    """EBS volume type."""
    iops: Annotated[int, Field(ge=100, le=256000)] | None = None
    """I/O operations a second; default: 3000 for gp3, required by io1 and io2."""
    throughput: Annotated[int, Field(ge=125, le=2000)] | None = None
    """MiB/s, gp3 only; default: 125."""

    def findings(self) -> Iterator[Finding]:
        yield from volume_findings(self.volume_type, self.iops, self.throughput)


class HeadNodeRootVolume(RootVolume):
    """The head node's root volume."""

    delete_on_termination: bool = True
    """Delete it together with the head node."""


def volume_findings(volume_type: str, iops: int | None, throughput: int | None) -> Iterator[Finding]:
    """Which EBS settings go together."""
    if iops is not None and volume_type not in ("gp3", "io1", "io2"):
        yield Finding(("Iops",), f"cannot be set for VolumeType {volume_type}", "only for gp3, io1 and io2")
    if iops is None and volume_type in ("io1", "io2"):
        yield Finding(("VolumeType",), f"{volume_type} needs Iops")
    if throughput is not None and volume_type != "gp3":
        yield Finding(("Throughput",), f"cannot be set for VolumeType {volume_type}", "only for gp3")


class EphemeralVolume(Section):
    """The instance store, if the instance type has one."""

    mount_dir: AbsolutePath = "/scratch"
    """Where it is mounted at boot, several disks as one. Compute nodes find it as CLUSTERMGTD_NODE_EPHEMERAL_DIR in
    /etc/clustermgtd/node.env; their agent says in its log if nothing is mounted there."""


class QueueLocalStorage(Section):
    """Disks of compute nodes."""

    root_volume: RootVolume = RootVolume()
    ephemeral_volume: EphemeralVolume = EphemeralVolume()


class HeadNodeLocalStorage(Section):
    """Disks of the head node."""

    root_volume: HeadNodeRootVolume = HeadNodeRootVolume()
    ephemeral_volume: EphemeralVolume = EphemeralVolume()


NO_PROXY = "localhost,127.0.0.1,169.254.169.254,169.254.170.2,fd00:ec2::254"
"""This machine, its metadata and its credentials."""


class Proxy(Section):
    """How nodes reach the internet."""

    http_proxy_address: Annotated[str, Field(pattern=r"^(s3|https?)://.+$")] | None = None
    """URL of an HTTP or HTTPS proxy."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make programs use it; the cookbooks' role `common` has the same for all services."""
        if self.http_proxy_address is None:
            return {}
        found = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), self.http_proxy_address)
        return found | dict.fromkeys(("no_proxy", "NO_PROXY"), NO_PROXY)


class Networking(Section):
    """Security groups and proxy."""

    security_groups: tuple[SecurityGroupId, ...] = ()
    """Security groups that replace the cluster's own."""
    additional_security_groups: tuple[SecurityGroupId, ...] = ()
    """Security groups in addition to the cluster's own."""
    proxy: Proxy = Proxy()


class PlacementGroup(Section):
    """An EC2 cluster placement group."""

    enabled: bool | None = None
    """Use one; default: true if a name is given, else false."""
    id: str | None = None
    """Older spelling of Name."""
    name: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """Name of an existing group; default: one is made per compute resource."""

    def findings(self) -> Iterator[Finding]:
        if self.id is not None and self.name is not None:
            yield Finding(("Id",), "Id and Name mean the same", "keep Name")
        if self.enabled is False and (self.id or self.name):
            yield Finding(("Enabled",), "is false although a placement group is named")

    @property
    def is_wanted(self) -> bool:
        return self.enabled if self.enabled is not None else bool(self.group_name)

    @property
    def is_silent(self) -> bool:
        """Nothing is said: a compute resource then takes what its queue says."""
        return self.enabled is None and not self.group_name

    @property
    def group_name(self) -> str:
        """Empty if no group is named."""
        return self.name or self.id or ""


class S3Access(Section):
    """A bucket that the nodes may use."""

    bucket_name: Annotated[str, Field(pattern=r"^[*a-z0-9.-]+$")]
    """Bucket, or `*` for all."""
    key_name: str | None = None
    """Key or prefix with `*`; default: the whole bucket."""
    enable_write_access: bool = False
    """Writing too, not only reading."""


class AdditionalIamPolicy(Section):
    """One more managed policy for the nodes' role."""

    policy: PolicyArn
    """ARN of an IAM policy."""


class BaseIam(Section):
    """What nodes may do in AWS."""

    instance_profile: InstanceProfileArn | None = None
    """ARN of an instance profile to be used as it is."""
    instance_role: RoleArn | None = None
    """ARN of a role to be used as it is."""
    additional_iam_policies: tuple[AdditionalIamPolicy, ...] = ()
    """Policies to attach to the role that is made."""

    def findings(self) -> Iterator[Finding]:
        given = self.given("instance_profile", "instance_role", "additional_iam_policies")
        if len(given) > 1:
            yield Finding((given[1],), f"{' and '.join(given)} cannot be given together")


class Iam(BaseIam):
    """What nodes may do in AWS."""

    s3_access: tuple[S3Access, ...] = ()
    """Buckets."""

    def findings(self) -> Iterator[Finding]:
        yield from super().findings()
        if self.s3_access:
            for other in self.given("instance_profile", "instance_role"):
                yield Finding(("S3Access",), f"cannot be given together with {other}", "give that role the rights")


class Script(Section):
    """A program to run on a node."""

    script: ScriptUrl
    """s3://, https:// or file:/// URL; its checksum may be given in Clustermgtd.ScriptChecksums."""
    args: tuple[str, ...] = ()
    """Its arguments."""


class CustomAction(Section):
    """One program (Script, Args) or several (Sequence)."""

    script: ScriptUrl | None = None
    """s3://, https:// or file:/// URL; its checksum may be given in Clustermgtd.ScriptChecksums."""
    args: tuple[str, ...] = ()
    """Its arguments."""
    sequence: tuple[Script, ...] = ()
    """Several programs, run in this order."""

    def findings(self) -> Iterator[Finding]:
        if self.script and self.sequence:
            yield Finding(("Sequence",), "Script and Sequence cannot be given together")
        if not self.script and not self.sequence:
            yield Finding((), "needs Script or Sequence")
        if self.args and not self.script:
            yield Finding(("Args",), "belongs to a Script")

    @property
    def scripts(self) -> tuple[Script, ...]:
        """What to run, in order, however it was written."""
        if self.script is None:
            return self.sequence
        return (Script.model_validate({"Script": self.script, "Args": self.args}),)


class QueueCustomActions(Section):
    """Programs that compute nodes run while they boot."""

    on_node_start: CustomAction | None = None
    """Before the node is configured."""
    on_node_configured: CustomAction | None = None
    """After the node is configured, before slurmd starts."""

    @property
    def all_scripts(self) -> tuple[Script, ...]:
        """Of every action."""
        actions = (getattr(self, name) for name in type(self).model_fields)
        return tuple(script for action in actions if action for script in action.scripts)


class CustomActions(QueueCustomActions):
    """Programs that the head node or login nodes run."""

    on_node_updated: CustomAction | None = None
    """After a cluster update."""


class Dcv(Section):
    """NICE DCV remote desktop."""

    enabled: bool = False
    """Install it."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8443
    """TCP port."""
    allowed_ips: Cidr = "0.0.0.0/0"
    """Who may connect: a CIDR or a prefix list."""


class CapacityReservationTarget(Section):
    """On-demand capacity that was reserved before."""

    capacity_reservation_id: Annotated[str, Field(pattern=r"^cr-[0-9a-z]+$")] | None = None
    """Id of one reservation."""
    capacity_reservation_resource_group_arn: Arn | None = None
    """ARN of a resource group of reservations."""

    def findings(self) -> Iterator[Finding]:
        given = self.given("capacity_reservation_id", "capacity_reservation_resource_group_arn")
        if len(given) != 1:
            yield Finding((), "needs either CapacityReservationId or CapacityReservationResourceGroupArn, one of them")


class GpuHealthCheck(Section):
    """NVIDIA's DCGM level 2 diagnosis before each job."""

    enabled: bool | None = None
    """Default: the queue's, else off."""


class HealthChecks(Section):
    """Checks of nodes before jobs."""

    gpu: GpuHealthCheck = GpuHealthCheck()
