"""What a launch template of ours must hold: the part of an instance that does not depend on the offering."""

from __future__ import annotations

from dataclasses import dataclass

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
class TemplateSpec:
    """One compute resource's launch template. IMDSv2 is required and instance tags are readable there, always."""

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
    tags: tuple[tuple[str, str], ...] = ()
    """For instances and volumes, sorted by key; the adapter adds the launch token and what ParallelCluster's tools
    look for (`parallelcluster:cluster-name`, `:node-type`, `:queue-name`, `:compute-resource-name`)."""
