"""`Clustermgtd.Network`: the network that is to be made, where ParallelCluster's keys can only name one that exists."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field

from clustermgtd.settings.document import Location
from clustermgtd.settings.section import Finding, Ipv4Cidr, ResourceName, RouteTableId, Section, SubnetIdText, VpcId

NEW = "new:"
"""Before the name of a subnet of `Clustermgtd.Network.Subnets`, where a subnet's id is wanted."""
_SUBNET_KEYS = frozenset({"SubnetId", "SubnetIds"})
_SMALLEST = 28
_LARGEST = 16


class NewVpc(Section):
    """A VPC that is made with the cluster, and goes with it."""

    cidr: Ipv4Cidr = "10.0.0.0/16"
    """Its IPv4 addresses."""
    ipv6: bool = False
    """Dual-stack: Amazon gives the VPC a /56 and each new subnet a /64 of it, in the order of Subnets, so that later
    ones belong at the end; instances get an address of both kinds."""

    def findings(self) -> Iterator[Finding]:
        yield from _cidr_findings(self.cidr)


class NewSubnet(Section):
    """A subnet that is made with the cluster."""

    cidr: Ipv4Cidr
    """Its IPv4 addresses, a part of the VPC's. EC2 keeps five of them."""
    zone: Annotated[str, Field(pattern=r"^[a-z]$")] = "a"
    """Letter of the availability zone: `b` is eu-central-1b in eu-central-1."""
    public: bool = False
    """Instances get public addresses, and a route to the VPC's internet gateway."""
    route_table_id: RouteTableId | None = None
    """This route table instead of one that is made: a transit gateway's, a proxy's, or that of an existing VPC's
    internet gateway."""

    def findings(self) -> Iterator[Finding]:
        yield from _cidr_findings(self.cidr)


class Network(Section):
    """What is made of the network. Subnets are named as `new:NAME` wherever cluster.yaml wants a subnet's id."""

    vpc_id: VpcId | None = None
    """The VPC that exists: `render cloudformation` needs it, or Vpc, because security groups belong to one."""
    vpc: NewVpc | None = None
    subnets: Mapping[ResourceName, NewSubnet] = Field(default_factory=dict)
    """New subnets by a name of yours."""
    outbound: Literal["nat", "nat-per-zone", "endpoints", "none"] = "nat"
    """How new private subnets reach AWS: one NAT gateway; one in each of their zones, which each needs a new public
    subnet there; VPC endpoints for AWS's services and nothing else; or not at all, for a proxy (`Networking.Proxy`) or
    routes of your own."""
    nat_subnet_id: SubnetIdText | None = None
    """Public subnet for the NAT gateway; default: the first new public one."""
    private_zone: Annotated[str, Field(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)*$", max_length=120)] | None = None
    """Name of a private Route 53 zone that is made, in which `head` is the head node; default: none, and nodes know
    the head node by its address."""

    def findings(self) -> Iterator[Finding]:
        if self.vpc and self.vpc_id:
            yield Finding(("Vpc",), "Vpc and VpcId cannot be given together", "VpcId is for a VPC that exists")
        if self.subnets and not self.vpc and not self.vpc_id:
            yield Finding(("Subnets",), "need a VPC", "give Vpc for a new one, or VpcId")
        yield from self._address_findings()
        yield from self._route_findings()

    def _address_findings(self) -> Iterator[Finding]:
        networks = {name: _network(subnet.cidr) for name, subnet in self.subnets.items()}
        whole = _network(self.vpc.cidr) if self.vpc else None
        earlier: list[str] = []
        for name, network in networks.items():
            at: Location = ("Subnets", name, "Cidr")
            if network is None:
                continue
            if whole is not None and not network.subnet_of(whole):
                yield Finding(at, f"is not a part of the VPC's addresses ({whole})")
            for other in earlier:
                known = networks[other]
                if known is not None and network.overlaps(known):
                    yield Finding(at, f"overlaps with Subnets.{other} ({known})")
            earlier.append(name)

    def _route_findings(self) -> Iterator[Finding]:
        private = {name: subnet for name, subnet in self.private_subnets.items() if subnet.route_table_id is None}
        public_zones = {subnet.zone for subnet in self.subnets.values() if subnet.public}
        for name, subnet in self.subnets.items():
            if subnet.public and self.vpc is None and subnet.route_table_id is None:
                message = "in a VPC that exists needs RouteTableId: that of its internet gateway"
                yield Finding(("Subnets", name, "Public"), message)
            if name in private and self.outbound == "nat-per-zone" and subnet.zone not in public_zones:
                yield Finding(("Subnets", name, "Zone"), f"zone {subnet.zone} has no public subnet for its NAT gateway")
        if private and self.outbound == "nat" and not public_zones and self.nat_subnet_id is None:
            message = "a NAT gateway needs a public subnet"
            yield Finding(("Outbound",), message, "make one, name one in NatSubnetId, or use endpoints or none")

    @property
    def private_subnets(self) -> dict[str, NewSubnet]:
        return {name: subnet for name, subnet in self.subnets.items() if not subnet.public}


def named_subnets(data: object, at: Location = ()) -> Iterator[tuple[Location, str]]:
    """Where in a file's data a subnet is named that is to be made, and which."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from named_subnets(value, (*at, key))
    elif isinstance(data, tuple | list):
        for index, value in enumerate(data):
            yield from named_subnets(value, (*at, index))
    elif isinstance(data, str) and data.startswith(NEW) and _SUBNET_KEYS & set(at[-2:]):
        yield at, data.removeprefix(NEW)


def _network(cidr: str) -> ipaddress.IPv4Network | None:
    """None if it is none: that is said by the section itself."""
    try:
        return ipaddress.IPv4Network(cidr)
    except ValueError:
        return None


def _cidr_findings(cidr: str) -> Iterator[Finding]:
    network = _network(cidr)
    if network is None:
        yield Finding(("Cidr",), "is not a network: the bits behind its prefix must be 0")
    elif not _LARGEST <= network.prefixlen <= _SMALLEST:
        yield Finding(("Cidr",), f"must be from /{_LARGEST} to /{_SMALLEST}, EC2 takes no other")
