"""A `TemplateSpec` as EC2's LaunchTemplateData. Pure.

CreateFleet's overrides take neither CpuOptions nor network interfaces, so one template has to fit every type of its
capacity tier: those have equal cores, and the least network cards and EFA interfaces among them count.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any

from clustermgtd.adapters.aws.instance_facts import InstanceFacts
from clustermgtd.errors import ConfigurationError
from clustermgtd.model.offering import Market
from clustermgtd.model.template import TemplateSpec

USER_DATA_MAX_BYTES = 16 * 1024
_METADATA_TAG_KEY = re.compile(r"[A-Za-z0-9+\-=.,_:@]{1,128}")


def template_data(spec: TemplateSpec, root_device: str, facts: Sequence[InstanceFacts] = ()) -> dict[str, Any]:
    """EC2's LaunchTemplateData for a spec whose image has its root volume at `root_device`.

    `facts` are those of `spec.instance_types`, in any order.

    Raises:
        ConfigurationError: EC2 would refuse every launch with it.
    """
    data: dict[str, Any] = {
        "ImageId": spec.image_id,
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {
            "HttpEndpoint": "enabled",
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 1,
            "InstanceMetadataTags": "enabled",
        },
        "Monitoring": {"Enabled": spec.detailed_monitoring},
        "BlockDeviceMappings": [{"DeviceName": root_device, "Ebs": _root_volume(spec)}],
        "TagSpecifications": [{"ResourceType": kind, "Tags": _tags(spec)} for kind in ("instance", "volume")],
    }
    optional = {
        **_network(spec, facts),
        "CpuOptions": _cpu_options(spec, facts),
        "Placement": {"GroupName": spec.placement_group.name} if spec.placement_group else None,
        "CapacityReservationSpecification": _reservation(spec),
        "InstanceMarketOptions": (
            {"MarketType": "capacity-block"} if spec.market is Market.CAPACITY_BLOCK else None
        ),  # spot is chosen by the fleet, which refuses a template that names it
        "IamInstanceProfile": _profile(spec.instance_profile),
        "KeyName": spec.key_name,
        "UserData": _user_data(spec),
    }
    return data | {name: value for name, value in optional.items() if value}


def _network(spec: TemplateSpec, facts: Sequence[InstanceFacts]) -> dict[str, Any]:
    """Interfaces where they matter, else security groups alone; EC2 takes only one of the two."""
    cards = min((one.network_cards for one in facts), default=1)
    efa = _efa_interfaces(spec, facts)
    groups = list(spec.security_groups)
    if cards == 1 and not efa and spec.assign_public_ip is None:
        return {"SecurityGroupIds": groups}
    if cards > 1 and spec.assign_public_ip:
        raise ConfigurationError(
            f"{_where(spec)}: AssignPublicIp cannot be true, EC2 gives no public address to instances with "
            f"{cards} network cards"
        )
    interfaces = []
    for card in range(cards):
        # the first interface of an instance is its device 0, those of other cards are device 1 of their card
        interface: dict[str, Any] = {"DeviceIndex": min(card, 1)}
        if cards > 1:
            interface["NetworkCardIndex"] = card
        if card < efa:
            interface["InterfaceType"] = "efa"
        if cards > 1 or efa:
            interface["DeleteOnTermination"] = True
        if groups:
            interface["Groups"] = groups
        interfaces.append(interface)
    if cards == 1 and spec.assign_public_ip is not None:
        interfaces[0]["AssociatePublicIpAddress"] = spec.assign_public_ip
    return {"NetworkInterfaces": interfaces}


def _efa_interfaces(spec: TemplateSpec, facts: Sequence[InstanceFacts]) -> int:
    if not spec.efa:
        return 0
    without = [one.name for one in facts if not one.efa_interfaces]
    if without:
        raise ConfigurationError(f"{_where(spec)}: Efa cannot be enabled, {', '.join(without)} has none")
    return min((one.efa_interfaces for one in facts), default=1)


def _cpu_options(spec: TemplateSpec, facts: Sequence[InstanceFacts]) -> dict[str, int] | None:
    """None leaves the type's own; types that run one thread per core anyway must not be told so."""
    if spec.multithreading or all(one.threads_per_core == 1 for one in facts):
        return None
    stubborn = [one.name for one in facts if not one.can_run_one_thread]
    if stubborn:
        raise ConfigurationError(
            f"{_where(spec)}: DisableSimultaneousMultithreading cannot be true, EC2 offers no choice for "
            f"{', '.join(stubborn)}; turn it off in the image"
        )
    if len({one.cores for one in facts}) > 1:
        counts = ", ".join(f"{one.name} has {one.cores}" for one in facts)
        raise ConfigurationError(
            f"{_where(spec)}: DisableSimultaneousMultithreading needs types with equal numbers of cores, {counts}"
        )
    return {"CoreCount": facts[0].cores, "ThreadsPerCore": 1}


def _reservation(spec: TemplateSpec) -> dict[str, Any] | None:
    reservation = spec.reservation
    if reservation is None:
        return None
    target = (
        {"CapacityReservationId": reservation.id}
        if reservation.id
        else {"CapacityReservationResourceGroupArn": reservation.group_arn}
    )
    return {"CapacityReservationTarget": target}


def _profile(profile: str) -> dict[str, str] | None:
    if not profile:
        return None
    return {"Arn" if profile.startswith("arn:") else "Name": profile}


def _user_data(spec: TemplateSpec) -> str:
    text = spec.user_data.encode()
    if len(text) > USER_DATA_MAX_BYTES:
        raise ConfigurationError(f"user data of {_where(spec)} has {len(text)} bytes; EC2 takes {USER_DATA_MAX_BYTES}")
    return base64.b64encode(text).decode()


def _root_volume(spec: TemplateSpec) -> dict[str, Any]:
    volume = spec.root_volume
    settings = {
        "VolumeSize": volume.size_gib,
        "Encrypted": volume.encrypted or None,  # False would be refused where the image's snapshot is encrypted
        "VolumeType": volume.volume_type,
        "Iops": volume.iops,
        "Throughput": volume.throughput_mib_s,
        "DeleteOnTermination": True,
    }
    return {name: value for name, value in settings.items() if value is not None}


def _tags(spec: TemplateSpec) -> list[dict[str, str]]:
    """The site's tags. Those that mark the instance as ours come with each launch, never with the template: an
    instance that somebody starts from the template by hand is nobody's orphan."""
    for key, _ in spec.tags:
        if not _METADATA_TAG_KEY.fullmatch(key):
            raise ConfigurationError(
                f"tag key {key!r} of {_where(spec)}: EC2 launches no instance that can read its tags with such a key; "
                "use letters, digits and + - = . , _ : @ only"
            )
    return [{"Key": key, "Value": value} for key, value in sorted(({"Name": "Compute"} | dict(spec.tags)).items())]


def _where(spec: TemplateSpec) -> str:
    tier = f", CapacityTiers[{spec.tier}]" if spec.tier else ""
    return f"queue {spec.key.queue}, compute resource {spec.key.name}{tier}"
