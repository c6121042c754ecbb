"""Security groups: who may reach whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from clustermgtd.settings.cloudformation.endpoints import has_endpoints
from clustermgtd.settings.cloudformation.parts import Part, Resource, Value, attribute, tags
from clustermgtd.settings.cloudformation.vpc import EVERYWHERE, EVERYWHERE_V6, vpc_id
from clustermgtd.settings.cluster import Settings
from clustermgtd.settings.common import Networking

SSH = 22
NFS = 2049
SLURMCTLD = 6817
SLURMDBD = 6819
HTTPS = 443
MYSQL = 3306
LUSTRE = ((988, 988), (1018, 1023))
ALL_TCP = (0, 65535)


@dataclass(frozen=True, slots=True)
class Needs:
    """Groups that other parts ask for."""

    storage: bool = False
    database: bool = False


def group_ids(networking: Networking, own: str) -> list[Value]:
    """Of a machine: the cluster's own group unless cluster.yaml replaces it, and the additional ones."""
    first: list[Value] = [*networking.security_groups] or [attribute(own, "GroupId")]
    return [*first, *networking.additional_security_groups]


def groups(settings: Settings, needs: Needs) -> Part:
    """Groups of head node, compute nodes, login nodes and their load balancer, and of what is made for them.

    Machines whose `SecurityGroups` cluster.yaml gives do not get the cluster's own; that is then the site's to open.
    """
    resources: dict[str, Resource] = {
        "HeadGroup": _group(settings, "head", "Head node"),
        "ComputeGroup": _group(settings, "compute", "Compute nodes"),
    }
    rules = [*_head_rules(settings), *_compute_rules()]
    machines = ["HeadGroup", "ComputeGroup"]
    if settings.login_nodes is not None:
        resources["LoginGroup"] = _group(settings, "login", "Login nodes")
        resources["LoginBalancerGroup"] = _group(settings, "login-balancer", "Load balancers of login nodes")
        rules += _login_rules(settings)
        machines.append("LoginGroup")
    if needs.storage:
        resources["StorageGroup"] = _group(settings, "storage", "File systems")
        for machine in machines:
            rules += [_rule("StorageGroup", (NFS, NFS), machine)]
            rules += [_rule("StorageGroup", ports, machine) for ports in LUSTRE]
        rules += [_rule("StorageGroup", ports, "StorageGroup") for ports in LUSTRE]
    if needs.database:
        resources["DatabaseGroup"] = _group(settings, "database", "Database of accounting")
        rules.append(_rule("DatabaseGroup", (MYSQL, MYSQL), "HeadGroup"))
    if has_endpoints(settings):
        resources["EndpointsGroup"] = _group(settings, "endpoints", "VPC endpoints")
        rules += [_rule("EndpointsGroup", (HTTPS, HTTPS), machine) for machine in machines]
    resources |= {rule.id: rule.resource for rule in rules}
    # An Elastic Fabric Adapter's traffic is let out by the group itself only, not by addresses.
    resources["ComputeGroupToItself"] = {
        "Type": "AWS::EC2::SecurityGroupEgress",
        "Properties": {
            "GroupId": attribute("ComputeGroup", "GroupId"),
            "IpProtocol": "-1",
            "DestinationSecurityGroupId": attribute("ComputeGroup", "GroupId"),
        },
    }
    made: dict[tuple[str | int, ...], Value] = {
        ("Scheduling", "SlurmQueues", index, "Networking", "SecurityGroups"): [attribute("ComputeGroup", "GroupId")]
        for index, queue in enumerate(settings.scheduling.slurm_queues)
        if not queue.networking.security_groups
    }
    return Part(resources, made=made)


@dataclass(frozen=True, slots=True)
class _Rule:
    id: str
    resource: Resource


def _head_rules(settings: Settings) -> Iterator[_Rule]:
    head = settings.head_node
    yield _from_outside("HeadGroup", SSH, head.ssh.allowed_ips)
    if head.dcv.enabled:
        yield _from_outside("HeadGroup", head.dcv.port, head.dcv.allowed_ips)
    yield _rule("HeadGroup", None, "ComputeGroup")
    if settings.login_nodes is not None:
        for port in (NFS, SLURMCTLD, SLURMDBD):
            yield _rule("HeadGroup", (port, port), "LoginGroup")


def _compute_rules() -> Iterator[_Rule]:
    yield _rule("ComputeGroup", None, "HeadGroup")
    yield _rule("ComputeGroup", None, "ComputeGroup")


def _login_rules(settings: Settings) -> Iterator[_Rule]:
    """srun on a login node listens on ports of the kernel's choice, and talks to slurmd and its steps."""
    pools = settings.login_nodes.pools if settings.login_nodes else ()
    for addresses in dict.fromkeys(pool.ssh.allowed_ips for pool in pools):
        yield _from_outside("LoginBalancerGroup", SSH, addresses)
    for port, addresses in dict.fromkeys((pool.dcv.port, pool.dcv.allowed_ips) for pool in pools if pool.dcv.enabled):
        yield _from_outside("LoginGroup", port, addresses)
    yield _rule("LoginGroup", (SSH, SSH), "LoginBalancerGroup")
    yield _rule("LoginGroup", ALL_TCP, "HeadGroup")
    yield _rule("LoginGroup", ALL_TCP, "ComputeGroup")
    yield _rule("ComputeGroup", ALL_TCP, "LoginGroup")


def _group(settings: Settings, name: str, description: str) -> Resource:
    """Everything may go out: what an instance calls is limited by its role and its routes."""
    out: list[Value] = [{"IpProtocol": "-1", "CidrIp": EVERYWHERE}]
    vpc = settings.clustermgtd.network.vpc
    if vpc is not None and vpc.ipv6:
        out.append({"IpProtocol": "-1", "CidrIpv6": EVERYWHERE_V6})
    return {
        "Type": "AWS::EC2::SecurityGroup",
        "Properties": {
            "GroupDescription": f"{description} of cluster {settings.cluster_name}",
            "VpcId": vpc_id(settings),
            "SecurityGroupEgress": out,
            "Tags": tags(settings, name),
        },
    }


def _rule(group: str, ports: tuple[int, int] | None, source: str) -> _Rule:
    """TCP ports, or everything, from members of another group."""
    what: dict[str, Value] = {"IpProtocol": "-1"}
    name = "All"
    if ports is not None:
        what = {"IpProtocol": "tcp", "FromPort": ports[0], "ToPort": ports[1]}
        name = str(ports[0])
    properties = {
        "GroupId": attribute(group, "GroupId"),
        "SourceSecurityGroupId": attribute(source, "GroupId"),
        **what,
    }
    return _Rule(f"{group}{name}From{source}", {"Type": "AWS::EC2::SecurityGroupIngress", "Properties": properties})


def _from_outside(group: str, port: int, addresses: str) -> _Rule:
    """A TCP port, from a CIDR or a prefix list."""
    source = {"SourcePrefixListId" if addresses.startswith("pl-") else "CidrIp": addresses}
    properties: dict[str, Value] = {
        "GroupId": attribute(group, "GroupId"),
        "IpProtocol": "tcp",
        "FromPort": port,
        "ToPort": port,
        **source,
    }
    digits = "".join(letter if letter.isalnum() else "x" for letter in addresses)
    return _Rule(f"{group}{port}From{digits}", {"Type": "AWS::EC2::SecurityGroupIngress", "Properties": properties})
