"""`HeadNode` and `LoginNodes`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from clustermgtd.settings.common import (
    BaseIam,
    CustomActions,
    Dcv,
    HeadNodeLocalStorage,
    Iam,
    Image,
    Networking,
)
from clustermgtd.settings.section import (
    Cidr,
    Finding,
    InstanceTypeName,
    ResourceName,
    Section,
    SubnetIdText,
    repeated,
)


class HeadNodeNetworking(Networking):
    """The head node's place in the network."""

    subnet_id: SubnetIdText
    """Subnet of the head node."""
    elastic_ip: bool | str | None = None
    """true for a new Elastic IP, or the allocation id of an existing one; default: none."""


class Ssh(Section):
    """Who may log in."""

    key_name: str | None = None
    """Name of an EC2 key pair; compute nodes get the head node's."""
    allowed_ips: Cidr = "0.0.0.0/0"
    """From where: a CIDR or a prefix list."""


class HeadNodeImds(Section):
    """Instance metadata on the head node."""

    secured: bool = True
    """Only root and the cluster's own users may read it."""


class HeadNode(Section):
    """The instance that runs slurmctld and this daemon."""

    instance_type: InstanceTypeName
    """EC2 instance type."""
    disable_simultaneous_multithreading: bool = False
    """One thread per core."""
    networking: HeadNodeNetworking
    ssh: Ssh = Ssh()
    local_storage: HeadNodeLocalStorage = HeadNodeLocalStorage()
    shared_storage_type: Literal["Ebs", "Efs"] = "Ebs"
    """Where the cluster's own shared folders live."""
    dcv: Dcv = Dcv()
    custom_actions: CustomActions = CustomActions()
    iam: Iam = Iam()
    imds: HeadNodeImds = HeadNodeImds()
    image: Image = Image()


class LoginNodesNetworking(Networking):
    """A login pool's place in the network."""

    subnet_ids: Annotated[tuple[SubnetIdText, ...], Field(min_length=1, max_length=1)]
    """Exactly one subnet."""


class LoginPool(Section):
    """A number of equal login nodes."""

    name: ResourceName
    """Unique among pools."""
    instance_type: InstanceTypeName
    """EC2 instance type."""
    count: Annotated[int, Field(ge=0)] = 1
    """How many."""
    gracetime_period: Annotated[int, Field(ge=3, le=120)] = 10
    """Minutes between the announcement to users and the end of a login node."""
    image: Image = Image()
    networking: LoginNodesNetworking
    ssh: Ssh = Ssh()
    custom_actions: CustomActions = CustomActions()
    iam: BaseIam = BaseIam()
    dcv: Dcv = Dcv()


class LoginNodes(Section):
    """Nodes where users log in."""

    pools: Annotated[tuple[LoginPool, ...], Field(min_length=1)]
    """One entry per kind of login node."""

    def findings(self) -> Iterator[Finding]:
        for index, first in repeated([pool.name for pool in self.pools]):
            yield Finding(("Pools", index, "Name"), f"is also the name of Pools[{first}]")
