"""The head node: instance, address, alarm, and the stack's waiting for it."""

from __future__ import annotations

from clustermgtd.settings.cloudformation.groups import group_ids
from clustermgtd.settings.cloudformation.machines import image_of, one_thread_per_core, root_volume, user_data
from clustermgtd.settings.cloudformation.parts import (
    Part,
    Resource,
    Value,
    attribute,
    ref,
    sub,
    tags,
    without_none,
)
from clustermgtd.settings.cloudformation.roles import profile_of
from clustermgtd.settings.cloudformation.vpc import subnet_id
from clustermgtd.settings.cluster import Settings
from clustermgtd.settings.problem import Problem, SettingsError

SLURMCTLD_NAME = "head"
"""In the private zone."""
_ALARM_MINUTES = 2
_RECORD_TTL_S = 60


def head(settings: Settings) -> Part:
    """One instance, whose name or address other machines are told."""
    node = settings.head_node
    zone = settings.clustermgtd.network.private_zone
    _refuse_contradicting_names(settings)
    address: Value = f"{SLURMCTLD_NAME}.{zone}" if zone else attribute("Head", "PrivateIp")
    resources: dict[str, Resource] = {
        "Head": {"Type": "AWS::EC2::Instance", "Properties": _instance(settings)},
        "Bootstrap": {"Type": "AWS::CloudFormation::WaitConditionHandle"},
        "Bootstrapped": {
            "Type": "AWS::CloudFormation::WaitCondition",
            "DependsOn": ["Head", "Configuration"],
            "Properties": {
                "Handle": ref("Bootstrap"),
                "Count": 1,
                "Timeout": str(settings.dev_settings.timeouts.head_node_bootstrap_timeout),
            },
        },
    }
    if node.networking.elastic_ip is not None and node.networking.elastic_ip is not False:
        resources |= _address(settings, node.networking.elastic_ip)
    if settings.clustermgtd.infrastructure.head_node_recovery == "alarm":
        resources["HeadRecovery"] = _alarm(settings)
    if zone is not None:
        resources["HeadName"] = {
            "Type": "AWS::Route53::RecordSet",
            "Properties": {
                "HostedZoneId": settings.scheduling.slurm_settings.dns.hosted_zone_id or ref("PrivateZone"),
                "Name": address,
                "Type": "A",
                "TTL": str(_RECORD_TTL_S),
                "ResourceRecords": [attribute("Head", "PrivateIp")],
            },
        }
    made: dict[tuple[str | int, ...], Value] = {}
    if settings.clustermgtd.node_agent.conf_server is None:
        made[("Clustermgtd", "NodeAgent", "ConfServer")] = address
    if "configure_at_boot" not in settings.clustermgtd.node_agent.model_fields_set:
        made[("Clustermgtd", "NodeAgent", "ConfigureAtBoot")] = True
    outputs = {"HeadNode": ref("Head"), "HeadNodeAddress": attribute("Head", "PrivateIp")}
    return Part(resources, outputs, made)


def _refuse_contradicting_names(settings: Settings) -> None:
    """What `SlurmSettings.Dns` wants is done, or not silently left undone."""
    dns, zone = settings.scheduling.slurm_settings.dns, settings.clustermgtd.network.private_zone
    at = "Scheduling.SlurmSettings.Dns"
    if dns.hosted_zone_id is not None and zone is None:
        what = "give the zone's name in Clustermgtd.Network.PrivateZone; a template cannot look it up"
        raise SettingsError([Problem(f"{at}.HostedZoneId", "needs the name of the zone", suggestion=what)])
    if dns.disable_managed_dns and (zone or dns.hosted_zone_id):
        message = "contradicts Clustermgtd.Network.PrivateZone and Dns.HostedZoneId"
        raise SettingsError([Problem(f"{at}.DisableManagedDns", message, suggestion="leave one of them out")])


def _instance(settings: Settings) -> dict[str, Value]:
    node = settings.head_node
    volume = node.local_storage.root_volume
    tokens = "required" if settings.imds.imds_support == "v2.0" else "optional"
    options = one_thread_per_core(settings, node.instance_type)
    return without_none(
        {
            "ImageId": image_of(settings, node.image.custom_ami, "HeadNode.Image.CustomAmi"),
            "InstanceType": node.instance_type,
            "SubnetId": subnet_id(node.networking.subnet_id),
            "SecurityGroupIds": group_ids(node.networking, "HeadGroup"),
            "IamInstanceProfile": profile_of("Head", node.iam),
            "KeyName": node.ssh.key_name,
            "BlockDeviceMappings": root_volume(settings, volume, delete=volume.delete_on_termination),
            "CpuOptions": options if node.disable_simultaneous_multithreading else None,
            "MetadataOptions": {"HttpTokens": tokens, "HttpPutResponseHopLimit": 1, "InstanceMetadataTags": "enabled"},
            "Monitoring": settings.monitoring.detailed_monitoring,
            "UserData": user_data(settings, node.networking, "head"),
            "Tags": tags(settings, "head"),
        }
    )


def _address(settings: Settings, wanted: bool | str) -> dict[str, Resource]:
    """A new Elastic IP, or one that exists, by its allocation's id."""
    if isinstance(wanted, str):
        properties: dict[str, Value] = {"AllocationId": wanted, "InstanceId": ref("Head")}
        return {"HeadAddress": {"Type": "AWS::EC2::EIPAssociation", "Properties": properties}}
    properties = {"Domain": "vpc", "InstanceId": ref("Head"), "Tags": tags(settings, "head")}
    made: Resource = {"Type": "AWS::EC2::EIP", "Properties": properties}
    if settings.clustermgtd.network.vpc is not None:
        made["DependsOn"] = ["InternetGatewayAttachment"]
    return {"HeadAddress": made}


def _alarm(settings: Settings) -> Resource:
    """The host below the instance fails its status check: EC2 moves the instance to another one."""
    return {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmDescription": f"Recover the head node of cluster {settings.cluster_name}",
            "Namespace": "AWS/EC2",
            "MetricName": "StatusCheckFailed_System",
            "Dimensions": [{"Name": "InstanceId", "Value": ref("Head")}],
            "Statistic": "Maximum",
            "Period": 60,
            "EvaluationPeriods": _ALARM_MINUTES,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": 0,
            "AlarmActions": [sub("arn:${AWS::Partition}:automate:${AWS::Region}:ec2:recover")],
        },
    }
