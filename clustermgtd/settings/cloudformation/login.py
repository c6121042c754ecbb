"""Login pools: an Auto Scaling group each, behind a network load balancer."""

from __future__ import annotations

from clustermgtd.settings.cloudformation.groups import SSH, group_ids
from clustermgtd.settings.cloudformation.machines import image_of, root_volume, user_data
from clustermgtd.settings.cloudformation.parts import (
    Part,
    Resource,
    Value,
    attribute,
    logical,
    ref,
    tags,
    without_none,
)
from clustermgtd.settings.cloudformation.roles import profile_of
from clustermgtd.settings.cloudformation.vpc import subnet_id, vpc_id
from clustermgtd.settings.cluster import Settings
from clustermgtd.settings.common import RootVolume
from clustermgtd.settings.network import NEW
from clustermgtd.settings.nodes import LoginPool


def login(settings: Settings) -> Part:
    """Nothing without `LoginNodes`."""
    resources: dict[str, Resource] = {}
    outputs: dict[str, Value] = {}
    for index, pool in enumerate(settings.login_nodes.pools if settings.login_nodes else ()):
        id = logical("Login", pool.name)
        resources |= _pool(settings, index, pool)
        outputs[f"{id}Address"] = attribute(f"{id}Balancer", "DNSName")
    return Part(resources, outputs)


def _pool(settings: Settings, index: int, pool: LoginPool) -> dict[str, Resource]:
    id = logical("Login", pool.name)
    subnets: list[Value] = [subnet_id(subnet) for subnet in pool.networking.subnet_ids]
    return {
        f"{id}Template": {
            "Type": "AWS::EC2::LaunchTemplate",
            "Properties": {"LaunchTemplateData": _instance(settings, index, pool)},
        },
        f"{id}Group": {
            "Type": "AWS::AutoScaling::AutoScalingGroup",
            "DependsOn": ["Configuration"],
            "Properties": {
                "MinSize": str(pool.count),
                "MaxSize": str(pool.count),
                "VPCZoneIdentifier": subnets,
                "LaunchTemplate": {
                    "LaunchTemplateId": ref(f"{id}Template"),
                    "Version": attribute(f"{id}Template", "LatestVersionNumber"),
                },
                "TargetGroupARNs": [ref(f"{id}Targets")],
                "HealthCheckType": "EC2",
                "LifecycleHookSpecificationList": [
                    {
                        "LifecycleHookName": "announce",
                        "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
                        "HeartbeatTimeout": pool.gracetime_period * 60,
                        "DefaultResult": "CONTINUE",
                    }
                ],
            },
        },
        f"{id}Balancer": {
            "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
            "Properties": {
                "Type": "network",
                "Scheme": "internet-facing" if _is_public(settings, pool) else "internal",
                "Subnets": subnets,
                "SecurityGroups": [attribute("LoginBalancerGroup", "GroupId")],
                "Tags": tags(settings, pool.name),
            },
        },
        f"{id}Targets": {
            "Type": "AWS::ElasticLoadBalancingV2::TargetGroup",
            "Properties": {
                "Protocol": "TCP",
                "Port": SSH,
                "VpcId": vpc_id(settings),
                "TargetType": "instance",
                "HealthCheckProtocol": "TCP",
                "Tags": tags(settings, pool.name),
            },
        },
        f"{id}Listener": {
            "Type": "AWS::ElasticLoadBalancingV2::Listener",
            "Properties": {
                "LoadBalancerArn": ref(f"{id}Balancer"),
                "Protocol": "TCP",
                "Port": SSH,
                "DefaultActions": [{"Type": "forward", "TargetGroupArn": ref(f"{id}Targets")}],
            },
        },
    }


def _instance(settings: Settings, index: int, pool: LoginPool) -> dict[str, Value]:
    own: list[Value] = [*tags(settings, pool.name)]
    return without_none(
        {
            "ImageId": image_of(settings, pool.image.custom_ami, f"LoginNodes.Pools[{index}].Image.CustomAmi"),
            "InstanceType": pool.instance_type,
            "SecurityGroupIds": group_ids(pool.networking, "LoginGroup"),
            "IamInstanceProfile": {"Name": profile_of(logical("Login", pool.name), pool.iam)},
            "KeyName": pool.ssh.key_name,
            "BlockDeviceMappings": root_volume(settings, RootVolume()),
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            "UserData": user_data(settings, pool.networking, "login", pool.name),
            "TagSpecifications": [{"ResourceType": kind, "Tags": own} for kind in ("instance", "volume")],
        }
    )


def _is_public(settings: Settings, pool: LoginPool) -> bool:
    """Of a subnet that exists it is not known: its pools are reached from inside."""
    known = settings.clustermgtd.network.subnets
    names = [subnet.removeprefix(NEW) for subnet in pool.networking.subnet_ids if subnet.startswith(NEW)]
    return bool(names) and all(known[name].public for name in names)
