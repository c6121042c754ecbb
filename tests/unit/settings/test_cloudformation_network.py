"""The network that is made from `Clustermgtd.Network`."""

from __future__ import annotations

from typing import Any

import pytest

from clustermgtd.settings import SettingsError, loads
from clustermgtd.settings.policy import template_specs
from tests.unit.settings.test_cloudformation import MINIMAL, NETWORKS, VPC, made_from, resources

EXAMPLE = (NETWORKS / "several-zones.yaml").read_text()


def made(name: str) -> dict[str, Any]:
    return made_from((NETWORKS / f"{name}.yaml").read_text())


def ways_out(of: dict[str, Any]) -> dict[str, str]:
    """Destination and target of each route, by logical id."""
    found = {}
    for id, route in resources(of, "AWS::EC2::Route").items():
        (target,) = {"GatewayId", "NatGatewayId", "EgressOnlyInternetGatewayId"} & route.keys()
        destination = route.get("DestinationCidrBlock") or route["DestinationIpv6CidrBlock"]
        found[id] = f"{destination} {route[target]['Ref']}"
    return found


def test_a_public_subnet_goes_out_by_the_internet_gateway() -> None:
    of = made("one-public-subnet")
    assert ways_out(of) == {"PublicRoutesOut": "0.0.0.0/0 InternetGateway"}
    (subnet,) = resources(of, "AWS::EC2::Subnet").values()
    assert subnet["MapPublicIpOnLaunch"] is True
    assert subnet["AvailabilityZone"] == {"Fn::Sub": "${AWS::Region}a"}


def test_a_private_subnet_goes_out_by_a_nat_gateway_in_the_public_one() -> None:
    of = made("private-compute")
    assert ways_out(of) == {
        "PublicRoutesOut": "0.0.0.0/0 InternetGateway",
        "RoutesPrivateOut": "0.0.0.0/0 Nat",
    }
    assert resources(of, "AWS::EC2::NatGateway")["Nat"]["SubnetId"] == {"Ref": "SubnetPublic"}


def test_in_a_vpc_that_exists_the_nat_gateway_is_where_cluster_yaml_says() -> None:
    of = made("new-private-subnet")
    assert ways_out(of) == {"RoutesComputeOut": "0.0.0.0/0 Nat"}
    assert resources(of, "AWS::EC2::NatGateway")["Nat"]["SubnetId"] == "subnet-0123456789abcdef0"
    assert resources(of, "AWS::EC2::VPC") == {}
    assert resources(of, "AWS::EC2::Subnet")["SubnetCompute"]["VpcId"] == "vpc-0123456789abcdef0"


def test_of_a_network_that_exists_nothing_is_made_but_groups() -> None:
    types = {one["Type"] for one in made("existing-network")["Resources"].values()}
    assert {kind for kind in types if kind.startswith("AWS::EC2::")} & {
        "AWS::EC2::VPC",
        "AWS::EC2::Subnet",
        "AWS::EC2::Route",
        "AWS::EC2::RouteTable",
        "AWS::EC2::NatGateway",
        "AWS::EC2::VPCEndpoint",
    } == set()
    assert "AWS::EC2::SecurityGroup" in types


def test_behind_a_proxy_there_is_no_other_way_out() -> None:
    of = made("proxy")
    assert ways_out(of) == {}
    (association,) = resources(of, "AWS::EC2::SubnetRouteTableAssociation").values()
    assert association["RouteTableId"] == "rtb-0123456789abcdef0"


def test_endpoints_replace_the_way_out_and_only_the_cluster_s_machines_reach_them() -> None:
    of = made("endpoints")
    assert ways_out(of) == {}
    found = resources(of, "AWS::EC2::VPCEndpoint")
    services = {one["ServiceName"]["Fn::Sub"].rpartition(".")[2] for one in found.values()}
    assert {"dynamodb", "ec2", "s3", "secretsmanager", "sqs", "ssm"} <= services
    assert found["EndpointDynamodb"]["RouteTableIds"] == [{"Ref": "RoutesPrivate"}]
    sources = {
        rule["SourceSecurityGroupId"]["Fn::GetAtt"][0]
        for rule in resources(of, "AWS::EC2::SecurityGroupIngress").values()
        if rule["GroupId"]["Fn::GetAtt"][0] == "EndpointsGroup"
    }
    assert sources == {"HeadGroup", "ComputeGroup"}


def test_every_zone_has_a_nat_gateway_of_its_own_and_ipv6_goes_out_only() -> None:
    of = made("several-zones")
    out = ways_out(of)
    for zone in "abc":
        (ipv4,) = [way for id, way in out.items() if way == f"0.0.0.0/0 Nat{zone.upper()}"]
        assert ipv4
    assert sorted(way for id, way in out.items() if way.startswith("::/0")) == [
        "::/0 EgressOnlyGateway",
        "::/0 EgressOnlyGateway",
        "::/0 EgressOnlyGateway",
        "::/0 InternetGateway",
    ]
    blocks = [one["Ipv6CidrBlock"]["Fn::Select"][0] for one in resources(of, "AWS::EC2::Subnet").values()]
    assert blocks == [0, 1, 2, 3, 4, 5]


def test_a_private_zone_is_bound_to_the_vpc() -> None:
    (zone,) = resources(made("several-zones"), "AWS::Route53::HostedZone").values()
    assert zone["Name"] == "three-zones.internal"
    assert zone["VPCs"] == [{"VPCId": {"Ref": "Vpc"}, "VPCRegion": {"Ref": "AWS::Region"}}]


def test_nobody_from_outside_reaches_more_than_ssh() -> None:
    of = made("private-compute")
    open_to = {
        rule["GroupId"]["Fn::GetAtt"][0]: (rule["FromPort"], rule["ToPort"], rule["CidrIp"])
        for rule in resources(of, "AWS::EC2::SecurityGroupIngress").values()
        if "CidrIp" in rule
    }
    assert open_to == {
        "HeadGroup": (22, 22, "192.0.2.0/24"),
        "LoginBalancerGroup": (22, 22, "192.0.2.0/24"),
    }


def test_compute_nodes_may_send_everything_to_each_other_by_group_for_elastic_fabric_adapters() -> None:
    (egress,) = resources(made("private-compute"), "AWS::EC2::SecurityGroupEgress").values()
    assert egress["GroupId"] == egress["DestinationSecurityGroupId"] == {"Fn::GetAtt": ["ComputeGroup", "GroupId"]}


def test_without_a_vpc_there_is_no_template() -> None:
    with pytest.raises(SettingsError, match=r"Clustermgtd\.Network\.VpcId.*is needed"):
        made_from(MINIMAL.removesuffix(VPC))


def test_the_daemon_refuses_a_subnet_that_is_yet_to_be_made() -> None:
    with pytest.raises(SettingsError, match="subnet new:private-a of queue q1 is yet to be made"):
        template_specs(loads(EXAMPLE), "")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("SubnetId: new:public-a", "SubnetId: new:lobby", r"HeadNode\.Networking\.SubnetId.*lobby is not a subnet"),
        ("10.0.1.0/24", "10.0.0.128/25", r"Subnets\.public-b\.Cidr.*overlaps with Subnets\.public-a"),
        ("10.0.1.0/24", "10.1.1.0/24", r"Subnets\.public-b\.Cidr.*not a part of the VPC's addresses"),
        ("10.0.1.0/24", "10.0.1.1/24", r"Subnets\.public-b\.Cidr.*bits behind its prefix must be 0"),
        ("10.0.1.0/24", "10.0.1.0/29", r"Subnets\.public-b\.Cidr.*must be from /16 to /28"),
        ("Zone: c, Public: true", "Zone: d, Public: true", r"Subnets\.private-c\.Zone.*has no public subnet"),
        ("    Vpc:\n", "    VpcId: vpc-0123456789abcdef0\n    Vpc:\n", "Vpc and VpcId cannot be given together"),
        ("    Vpc:\n      Cidr: 10.0.0.0/16\n      Ipv6: true\n", "", r"Network\.Subnets.*need a VPC"),
        (
            "    Vpc:\n      Cidr: 10.0.0.0/16\n      Ipv6: true\n",
            "    VpcId: vpc-0123456789abcdef0\n",
            r"Subnets\.public-a\.Public.*in a VPC that exists needs RouteTableId",
        ),
    ],
)
def test_what_cannot_be_built_is_said_with_its_key(old: str, new: str, said: str) -> None:
    assert old in EXAMPLE
    with pytest.raises(SettingsError, match=said):
        loads(EXAMPLE.replace(old, new, 1))


def test_a_nat_gateway_without_a_public_subnet_is_refused() -> None:
    text = (NETWORKS / "endpoints.yaml").read_text().replace("Outbound: endpoints", "Outbound: nat")
    with pytest.raises(SettingsError, match="a NAT gateway needs a public subnet"):
        loads(text)
