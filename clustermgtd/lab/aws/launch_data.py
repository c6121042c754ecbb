"""Launch templates' and requests' parameters as `LaunchData`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from clustermgtd.lab.aws.protocol import Params
from clustermgtd.lab.ec2.records import (
    CAPACITY_BLOCK,
    ON_DEMAND,
    SPOT,
    Ec2Error,
    Interface,
    LaunchData,
    TemplateRef,
)


def tag_dict(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """EC2's list of Key and Value as a mapping.

    Raises:
        Ec2Error: a key is empty, begins with `aws:`, or is there twice.
    """
    parsed: dict[str, str] = {}
    for tag in tags:
        key = tag.get("Key", "")
        if not key or key.startswith("aws:"):
            raise Ec2Error("InvalidParameterValue", f"Tag key '{key}' is empty or has the reserved prefix 'aws:'")
        if key in parsed:
            raise Ec2Error("InvalidParameterValue", f"Duplicate tag key '{key}' specified.")
        parsed[key] = tag.get("Value", "")
    if len(parsed) > 50:
        raise Ec2Error("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
    return parsed


def tags_of(specifications: Iterable[Params], resource_type: str) -> dict[str, str]:
    """The tags that TagSpecifications hold for one type of resource."""
    tags = [tag for s in specifications if s.get("ResourceType") == resource_type for tag in s.get("Tags", ())]
    return tag_dict(tags)


def template_ref(parameters: Params | None) -> TemplateRef | None:
    """A LaunchTemplateSpecification; None if there is none."""
    if not parameters:
        return None
    return TemplateRef(
        id=parameters.get("LaunchTemplateId", ""),
        name=parameters.get("LaunchTemplateName", ""),
        version=parameters.get("Version", "$Default"),
    )


def launch_data(p: Params) -> LaunchData:
    """What RunInstances parameters, or a RequestLaunchTemplateData, say about an instance.

    Raises:
        Ec2Error: two of them cannot be said at once.
    """
    if p.get("NetworkInterfaces") and (p.get("SecurityGroupIds") or p.get("SecurityGroups") or p.get("SubnetId")):
        raise Ec2Error(
            "InvalidParameterCombination",
            "Network interfaces and an instance-level subnet ID or security groups may not be specified on the same "
            "request",
        )
    target = p.get("CapacityReservationSpecification", {}).get("CapacityReservationTarget", {})
    cpu = p.get("CpuOptions", {})
    interface: Params = next((i for i in p.get("NetworkInterfaces", ()) if i.get("DeviceIndex", 0) == 0), {})
    placement = p.get("Placement", {})
    market = p.get("InstanceMarketOptions", {})
    profile = p.get("IamInstanceProfile", {})
    specifications = p.get("TagSpecifications", ())
    spot_price = market.get("SpotOptions", {}).get("MaxPrice")
    groups = p.get("SecurityGroupIds", []) or interface.get("Groups", []) or p.get("SecurityGroups", [])
    return LaunchData(
        image_id=p.get("ImageId", ""),
        instance_type=p.get("InstanceType", ""),
        subnet=p.get("SubnetId", "") or interface.get("SubnetId", ""),
        zone=placement.get("AvailabilityZone", ""),
        market=_market(market),
        max_price=price(spot_price),
        user_data=p.get("UserData", ""),
        key_name=p.get("KeyName", ""),
        security_groups=tuple(groups),
        instance_profile=profile.get("Arn") or profile.get("Name") or "",
        placement_group=placement.get("GroupName", ""),
        protected=p.get("DisableApiTermination", False),
        monitoring=p.get("Monitoring", {}).get("Enabled", False),
        assign_public_ip=interface.get("AssociatePublicIpAddress"),
        interfaces=tuple(
            Interface(i.get("DeviceIndex", 0), i.get("NetworkCardIndex", 0), i.get("InterfaceType", "interface"))
            for i in p.get("NetworkInterfaces", ())
        ),
        cores=cpu.get("CoreCount", 0),
        threads_per_core=cpu.get("ThreadsPerCore", 0),
        capacity_reservation=target.get("CapacityReservationId", ""),
        capacity_reservation_group=target.get("CapacityReservationResourceGroupArn", ""),
        metadata_options=dict(p.get("MetadataOptions", {})),
        instance_tags=tags_of(specifications, "instance"),
        volume_tags=tags_of(specifications, "volume"),
    )


def price(text: Any) -> float | None:
    """A price of the API, which is text; None if nothing was said. Raises: Ec2Error if it is no number."""
    if text in (None, ""):
        return None
    try:
        return float(text)
    except ValueError as error:
        raise Ec2Error("InvalidParameterValue", f"Invalid value '{text}' for MaxPrice") from error


def _market(options: Params) -> str:
    named: str = options.get("MarketType", "")
    if named not in ("", SPOT, CAPACITY_BLOCK):
        raise Ec2Error("Unsupported", f"The market type '{named}' is not supported")
    return named


def market_name(text: str) -> str:
    """`on-demand`, `spot` or `capacity-block`.

    Raises:
        Ec2Error: the model has no such market.
    """
    if text not in (ON_DEMAND, SPOT, CAPACITY_BLOCK):
        raise Ec2Error("InvalidParameterValue", f"Invalid value '{text}' for DefaultTargetCapacityType")
    return text
