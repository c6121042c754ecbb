"""The network: VPC, subnets, routes out, private zone (`Clustermgtd.Network`)."""

from __future__ import annotations

from clustermgtd.settings.cloudformation.parts import (
    Part,
    Resource,
    Value,
    attribute,
    logical,
    ref,
    sub,
    tags,
    without_none,
)
from clustermgtd.settings.cluster import Settings
from clustermgtd.settings.network import NEW, NewSubnet, named_subnets
from clustermgtd.settings.problem import Problem, SettingsError

EVERYWHERE = "0.0.0.0/0"
EVERYWHERE_V6 = "::/0"
_SUBNETS_OF_A_VPC = 256
"""A /56 holds so many /64."""


def vpc_id(settings: Settings) -> Value:
    """Of the VPC that exists, or is made.

    Raises:
        SettingsError: cluster.yaml tells of neither.
    """
    network = settings.clustermgtd.network
    if network.vpc is not None:
        return ref("Vpc")
    if network.vpc_id is None:
        message = "is needed: security groups belong to a VPC"
        raise SettingsError([Problem("Clustermgtd.Network.VpcId", message, suggestion="the VPC of the subnets")])
    return network.vpc_id


def subnet_id(subnet: str) -> Value:
    """Of a subnet that cluster.yaml names: `subnet-...`, or `new:NAME`."""
    return ref(logical("Subnet", subnet.removeprefix(NEW))) if subnet.startswith(NEW) else subnet


def network(settings: Settings) -> Part:
    """What `Clustermgtd.Network` asks for; nothing if it is not there."""
    wanted = settings.clustermgtd.network
    resources: dict[str, Resource] = {}
    if wanted.vpc is not None:
        resources |= _vpc(settings)
    for index, (name, subnet) in enumerate(wanted.subnets.items()):
        resources |= _subnet(settings, index, name, subnet)
    if wanted.outbound in ("nat", "nat-per-zone"):
        resources |= _nat_gateways(settings)
    if wanted.private_zone is not None and settings.scheduling.slurm_settings.dns.hosted_zone_id is None:
        resources["PrivateZone"] = {
            "Type": "AWS::Route53::HostedZone",
            "Properties": {
                "Name": wanted.private_zone,
                "VPCs": [{"VPCId": vpc_id(settings), "VPCRegion": ref("AWS::Region")}],
                "HostedZoneTags": tags(settings),
            },
        }
    data = settings.model_dump(by_alias=True, exclude_unset=True)
    made = {location: subnet_id(NEW + name) for location, name in named_subnets(data)}
    return Part(resources, outputs={"VpcId": ref("Vpc")} if wanted.vpc else {}, made=made)


def _vpc(settings: Settings) -> dict[str, Resource]:
    vpc = settings.clustermgtd.network.vpc
    assert vpc is not None
    made: dict[str, Resource] = {
        "Vpc": {
            "Type": "AWS::EC2::VPC",
            "Properties": {
                "CidrBlock": vpc.cidr,
                "EnableDnsSupport": True,
                "EnableDnsHostnames": True,
                "Tags": tags(settings, "vpc"),
            },
        }
    }
    subnets = settings.clustermgtd.network.subnets.values()
    if any(subnet.public for subnet in subnets):
        made["InternetGateway"] = {
            "Type": "AWS::EC2::InternetGateway",
            "Properties": {"Tags": tags(settings, "internet")},
        }
        made["InternetGatewayAttachment"] = {
            "Type": "AWS::EC2::VPCGatewayAttachment",
            "Properties": {"VpcId": ref("Vpc"), "InternetGatewayId": ref("InternetGateway")},
        }
        made["PublicRoutes"] = _route_table(settings, "public")
        made |= _routes(settings, "PublicRoutes", {"GatewayId": ref("InternetGateway")}, "InternetGatewayAttachment")
    if vpc.ipv6:
        made["VpcIpv6"] = {
            "Type": "AWS::EC2::VPCCidrBlock",
            "Properties": {"VpcId": ref("Vpc"), "AmazonProvidedIpv6CidrBlock": True},
        }
        made["EgressOnlyGateway"] = {
            "Type": "AWS::EC2::EgressOnlyInternetGateway",
            "Properties": {"VpcId": ref("Vpc")},
        }
    return made


def _subnet(settings: Settings, index: int, name: str, subnet: NewSubnet) -> dict[str, Resource]:
    id = logical("Subnet", name)
    vpc = settings.clustermgtd.network.vpc
    is_dual = vpc is not None and vpc.ipv6
    properties = without_none(
        {
            "VpcId": vpc_id(settings),
            "CidrBlock": subnet.cidr,
            "AvailabilityZone": sub(f"${{AWS::Region}}{subnet.zone}"),
            "MapPublicIpOnLaunch": subnet.public,
            "Ipv6CidrBlock": _ipv6_block(index) if is_dual else None,
            "AssignIpv6AddressOnCreation": True if is_dual else None,
            "Tags": tags(settings, name),
        }
    )
    made: dict[str, Resource] = {id: {"Type": "AWS::EC2::Subnet", "Properties": properties}}
    if is_dual:
        made[id]["DependsOn"] = ["VpcIpv6"]
    table: Value
    if subnet.route_table_id is not None:
        table = subnet.route_table_id
    elif subnet.public:
        table = ref("PublicRoutes")
    else:
        made |= _private_routes(settings, name)
        table = ref(logical("Routes", name))
    made[f"{id}Routes"] = {
        "Type": "AWS::EC2::SubnetRouteTableAssociation",
        "Properties": {"SubnetId": ref(id), "RouteTableId": table},
    }
    return made


def _ipv6_block(index: int) -> Value:
    whole = {"Fn::Select": [0, attribute("Vpc", "Ipv6CidrBlocks")]}
    return {"Fn::Select": [index, {"Fn::Cidr": [whole, _SUBNETS_OF_A_VPC, "64"]}]}


def _private_routes(settings: Settings, name: str) -> dict[str, Resource]:
    """A route table of the subnet's own, with the way out that cluster.yaml asks for."""
    wanted = settings.clustermgtd.network
    id = logical("Routes", name)
    made: dict[str, Resource] = {id: _route_table(settings, name)}
    if wanted.outbound in ("nat", "nat-per-zone"):
        made[f"{id}Out"] = {
            "Type": "AWS::EC2::Route",
            "Properties": {
                "RouteTableId": ref(id),
                "DestinationCidrBlock": EVERYWHERE,
                "NatGatewayId": ref(_gateway(settings, wanted.subnets[name].zone)),
            },
        }
        if wanted.vpc is not None and wanted.vpc.ipv6:
            made[f"{id}OutIpv6"] = {
                "Type": "AWS::EC2::Route",
                "Properties": {
                    "RouteTableId": ref(id),
                    "DestinationIpv6CidrBlock": EVERYWHERE_V6,
                    "EgressOnlyInternetGatewayId": ref("EgressOnlyGateway"),
                },
            }
    return made


def _gateway(settings: Settings, zone: str) -> str:
    return f"Nat{zone.upper()}" if settings.clustermgtd.network.outbound == "nat-per-zone" else "Nat"


def _nat_gateways(settings: Settings) -> dict[str, Resource]:
    """One for all private subnets with routes of ours, or one per zone of theirs."""
    wanted = settings.clustermgtd.network
    zones = sorted({one.zone for one in wanted.private_subnets.values() if one.route_table_id is None})
    public = {subnet.zone: NEW + name for name, subnet in reversed([*wanted.subnets.items()]) if subnet.public}
    first = next((NEW + name for name, subnet in wanted.subnets.items() if subnet.public), "")
    made: dict[str, Resource] = {}
    for zone in zones:
        id = _gateway(settings, zone)
        subnet = public[zone] if wanted.outbound == "nat-per-zone" else wanted.nat_subnet_id or first
        address: Resource = {"Type": "AWS::EC2::EIP", "Properties": {"Domain": "vpc", "Tags": tags(settings, "nat")}}
        gateway: Resource = {
            "Type": "AWS::EC2::NatGateway",
            "Properties": {
                "AllocationId": attribute(f"{id}Address", "AllocationId"),
                "SubnetId": subnet_id(subnet),
                "Tags": tags(settings, "nat"),
            },
        }
        if wanted.vpc is not None:
            for one in (address, gateway):
                one["DependsOn"] = ["InternetGatewayAttachment"]
        made |= {f"{id}Address": address, id: gateway}
    return made


def _route_table(settings: Settings, name: str) -> Resource:
    return {
        "Type": "AWS::EC2::RouteTable",
        "Properties": {"VpcId": vpc_id(settings), "Tags": tags(settings, name)},
    }


def _routes(settings: Settings, table: str, target: dict[str, Value], after: str) -> dict[str, Resource]:
    """Everything to one target, in both kinds of addresses where there are two."""
    vpc = settings.clustermgtd.network.vpc
    destinations = {f"{table}Out": {"DestinationCidrBlock": EVERYWHERE}}
    if vpc is not None and vpc.ipv6:
        destinations[f"{table}OutIpv6"] = {"DestinationIpv6CidrBlock": EVERYWHERE_V6}
    return {
        id: {
            "Type": "AWS::EC2::Route",
            "DependsOn": [after],
            "Properties": {"RouteTableId": ref(table), **destination, **target},
        }
        for id, destination in destinations.items()
    }
