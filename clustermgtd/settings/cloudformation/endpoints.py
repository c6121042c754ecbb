"""VPC endpoints, where there is no other way to AWS (`Clustermgtd.Network.Outbound: endpoints`)."""

from __future__ import annotations

from clustermgtd.settings.cloudformation.parts import Part, Resource, Value, logical, ref, sub
from clustermgtd.settings.cloudformation.vpc import subnet_id, vpc_id
from clustermgtd.settings.cluster import Settings
from clustermgtd.settings.network import NEW

GATEWAYS = ("dynamodb", "s3")
"""Entries of route tables; they cost nothing."""
SERVICES = (
    "cloudformation",
    "ec2",
    "ec2messages",
    "elasticfilesystem",
    "fsx",
    "logs",
    "monitoring",
    "secretsmanager",
    "servicequotas",
    "sqs",
    "ssm",
    "ssmmessages",
    "sts",
)
"""What daemon, agents, cookbooks and AWS's own agents call. The price list has none in most Regions: the daemon then
orders by its built-in table."""


def endpoints(settings: Settings) -> Part:
    """In one new private subnet of each zone; the cluster's machines may reach them and nobody else."""
    wanted = settings.clustermgtd.network
    private = {name: subnet for name, subnet in wanted.private_subnets.items() if subnet.route_table_id is None}
    if wanted.outbound != "endpoints" or not private:
        return Part()
    by_zone: dict[str, str] = {}
    for name, subnet in private.items():
        by_zone.setdefault(subnet.zone, name)
    tables: list[Value] = [ref(logical("Routes", name)) for name in private]
    resources: dict[str, Resource] = {}
    for service in GATEWAYS:
        resources[_id(service)] = _endpoint(settings, service, {"VpcEndpointType": "Gateway", "RouteTableIds": tables})
    for service in SERVICES:
        placed: dict[str, Value] = {
            "VpcEndpointType": "Interface",
            "PrivateDnsEnabled": True,
            "SubnetIds": [subnet_id(NEW + name) for name in by_zone.values()],
            "SecurityGroupIds": [ref("EndpointsGroup")],
        }
        resources[_id(service)] = _endpoint(settings, service, placed)
    return Part(resources)


def has_endpoints(settings: Settings) -> bool:
    return bool(endpoints(settings).resources)


def _id(service: str) -> str:
    return logical("Endpoint", service)


def _endpoint(settings: Settings, service: str, placed: dict[str, Value]) -> Resource:
    name = sub(f"com.amazonaws.${{AWS::Region}}.{service}")
    return {
        "Type": "AWS::EC2::VPCEndpoint",
        "Properties": {"VpcId": vpc_id(settings), "ServiceName": name, **placed},
    }
