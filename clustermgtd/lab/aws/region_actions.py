"""What a Region has: zones, subnets, images, types, prices, placement groups."""

from __future__ import annotations

import gzip
import ipaddress
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

from clustermgtd.lab.aws.instance_actions import filters_of
from clustermgtd.lab.aws.protocol import Params
from clustermgtd.lab.ec2.catalog import TypeSpec, type_spec
from clustermgtd.lab.ec2.instances import accepts
from clustermgtd.lab.ec2.model import Ec2Model
from clustermgtd.lab.ec2.records import Ec2Error

_PAGE_SIZE = 100


def describe_subnets(model: Ec2Model, p: Params, now: float) -> Params:
    model.enter("DescribeSubnets", now)
    wanted = p.get("SubnetIds", ())
    subnets = [model.network.subnet(id) for id in wanted] if wanted else model.network.all()
    items = [
        {
            "SubnetId": s.id,
            "VpcId": s.spec.vpc,
            "State": "available",
            "CidrBlock": str(ipaddress.IPv4Network(s.spec.cidr)),
            "AvailabilityZone": s.spec.zone,
            "AvailabilityZoneId": zone_id(s.spec.zone),
            "AvailableIpAddressCount": s.free,
            "DefaultForAz": False,
            "MapPublicIpOnLaunch": False,
            "OwnerId": model.scenario.account,
            "SubnetArn": f"arn:aws:ec2:{model.scenario.region}:{model.scenario.account}:subnet/{s.id}",
            "Tags": [],
        }
        for s in subnets
    ]
    names = {
        "availability-zone": "AvailabilityZone",
        "availabilityZone": "AvailabilityZone",
        "subnet-id": "SubnetId",
        "vpc-id": "VpcId",
        "state": "State",
    }
    return {"Subnets": _filtered(items, p, names)}


def describe_vpcs(model: Ec2Model, p: Params, now: float) -> Params:
    model.enter("DescribeVpcs", now)
    ids = sorted({s.spec.vpc for s in model.network.all()})
    items = [
        {
            "VpcId": id,
            "State": "available",
            "CidrBlock": "10.0.0.0/8",
            "IsDefault": False,
            "OwnerId": model.scenario.account,
        }
        for id in ids
    ]
    for id in p.get("VpcIds", ()):
        if id not in ids:
            raise Ec2Error("InvalidVpcID.NotFound", f"The vpc ID '{id}' does not exist")
    wanted = p.get("VpcIds") or ids
    return {"Vpcs": _filtered([i for i in items if i["VpcId"] in wanted], p, {"vpc-id": "VpcId", "state": "State"})}


def describe_availability_zones(model: Ec2Model, p: Params, now: float) -> Params:
    model.enter("DescribeAvailabilityZones", now)
    items = [
        {
            "ZoneName": z,
            "ZoneId": zone_id(z),
            "RegionName": z[:-1],
            "State": "available",
            "ZoneType": "availability-zone",
        }
        for z in model.scenario.zones()
    ]
    wanted = p.get("ZoneNames") or model.scenario.zones()
    names = {"zone-name": "ZoneName", "zone-id": "ZoneId", "region-name": "RegionName", "state": "State"}
    return {"AvailabilityZones": _filtered([i for i in items if i["ZoneName"] in wanted], p, names)}


def describe_regions(model: Ec2Model, _: Params, now: float) -> Params:
    model.enter("DescribeRegions", now)
    region = model.scenario.region
    return {"Regions": [{"RegionName": region, "Endpoint": f"ec2.{region}.amazonaws.com"}]}


def describe_images(model: Ec2Model, p: Params, now: float) -> Params:
    """DescribeImages: every `ami-...` exists unless the scenario says otherwise; without ids there are none."""
    now = model.enter("DescribeImages", now)
    items = []
    for id in p.get("ImageIds", ()):
        if not id.startswith("ami-"):
            raise Ec2Error("InvalidAMIID.Malformed", f'Invalid id: "{id}" (expecting "ami-...")')
        if id in model.scenario.unknown_images:
            raise Ec2Error("InvalidAMIID.NotFound", f"The image id '[{id}]' does not exist")
        items.append(
            {
                "ImageId": id,
                "Name": id,
                "State": "available",
                "Architecture": "x86_64",
                "RootDeviceName": "/dev/xvda",
                "RootDeviceType": "ebs",
                "VirtualizationType": "hvm",
                "OwnerId": model.scenario.account,
                "Public": False,
                "BlockDeviceMappings": [
                    {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 40, "VolumeType": "gp3", "Encrypted": False}}
                ],
            }
        )
    return {"Images": items}


def describe_security_groups(model: Ec2Model, p: Params, now: float) -> Params:
    """DescribeSecurityGroups: every group that is asked for exists."""
    model.enter("DescribeSecurityGroups", now, bare=not p.get("GroupIds"))
    vpc = model.network.all()[0].spec.vpc
    items = [
        {"GroupId": id, "GroupName": id, "Description": id, "VpcId": vpc, "OwnerId": model.scenario.account}
        for id in p.get("GroupIds", ())
    ]
    return {"SecurityGroups": items}


def describe_spot_price_history(model: Ec2Model, p: Params, now: float) -> Params:
    """DescribeSpotPriceHistory: the current price of each pool that is asked for."""
    now = model.enter("DescribeSpotPriceHistory", now)
    filters = filters_of(p)
    types = p.get("InstanceTypes") or filters.get("instance-type", ())
    named = p.get("AvailabilityZone")
    zones = [named] if named else list(model.scenario.zones())
    items = [
        {
            "InstanceType": t,
            "AvailabilityZone": z,
            "ProductDescription": "Linux/UNIX",
            "SpotPrice": f"{model.scenario.spot_price(t, z):.6f}",
            "Timestamp": now,
        }
        for t in sorted(types)
        for z in zones
        if type_spec(t) is not None and model.capacity.offers(t, z)
    ]
    return {
        "SpotPriceHistory": [
            i for i in items if accepts(filters.get("availability-zone", ("*",)), str(i["AvailabilityZone"]))
        ],
        "NextToken": "",
    }


def describe_instance_types(model: Ec2Model, p: Params, now: float) -> Params:
    model.enter("DescribeInstanceTypes", now)
    names, filters = p.get("InstanceTypes", ()), filters_of(p)
    for name in names:
        if type_spec(name) is None:
            raise Ec2Error("InvalidInstanceType", f"The following supplied instance types do not exist: [{name}]")
    patterns = filters.pop("instance-type", ("*",))
    known = names or sorted(_real_types())
    items = [type_item(n) for n in known if accepts(patterns, n)]
    facts: dict[str, Callable[[Mapping[str, Any]], Sequence[str]]] = {
        "processor-info.supported-architecture": lambda i: i["ProcessorInfo"]["SupportedArchitectures"],
        "vcpu-info.default-vcpus": lambda i: [str(i["VCpuInfo"]["DefaultVCpus"])],
        "current-generation": lambda i: [str(i["CurrentGeneration"]).lower()],
        "bare-metal": lambda i: [str(i["BareMetal"]).lower()],
    }
    for name, values in filters.items():
        if name not in facts:
            raise Ec2Error("InvalidParameterValue", f"The filter '{name}' is invalid")
        items = [i for i in items if any(accepts(values, f) for f in facts[name](i))]
    shown, token = page(items, p)
    return {"InstanceTypes": shown, "NextToken": token}


def describe_instance_type_offerings(model: Ec2Model, p: Params, now: float) -> Params:
    model.enter("DescribeInstanceTypeOfferings", now)
    filters, kind = filters_of(p), p.get("LocationType", "region")
    patterns = filters.get("instance-type", ("*",))
    zones = model.scenario.zones()
    locations = {
        "region": [model.scenario.region],
        "availability-zone": list(zones),
        "availability-zone-id": [zone_id(z) for z in zones],
    }.get(kind)
    if locations is None:
        raise Ec2Error("InvalidParameterValue", f"Invalid value '{kind}' for LocationType")
    zone_of = dict(zip(locations, zones, strict=False)) if kind != "region" else {}
    exact = {v for v in patterns if type_spec(v) is not None}
    types = sorted({n for n in _real_types() if accepts(patterns, n)} | exact)
    items = [
        {"InstanceType": t, "LocationType": kind, "Location": place}
        for t in types
        for place in locations
        if accepts(filters.get("location", ("*",)), place)
        and (kind == "region" or model.capacity.offers(t, zone_of[place]))
    ]
    shown, token = page(items, p)
    return {"InstanceTypeOfferings": shown, "NextToken": token}


def zone_id(zone: str) -> str:
    """`us-east-1a` -> `use1-az1`."""
    area, *places, number = zone[:-1].split("-")
    return f"{area}{''.join(p[0] for p in places)}{number}-az{ord(zone[-1]) - ord('a') + 1}"


def type_item(name: str) -> Mapping[str, Any]:
    """DescribeInstanceTypes' item for a type that exists by name."""
    spec = type_spec(name)
    assert spec is not None
    return _real_types().get(name) or _made_up(spec)


def _made_up(spec: TypeSpec) -> Mapping[str, Any]:
    item: dict[str, Any] = {
        "InstanceType": spec.name,
        "CurrentGeneration": True,
        "BareMetal": ".metal" in spec.name,
        "Hypervisor": "nitro",
        "SupportedUsageClasses": ["on-demand", "spot"],
        "SupportedRootDeviceTypes": ["ebs"],
        "SupportedVirtualizationTypes": ["hvm"],
        "ProcessorInfo": {"SupportedArchitectures": ["arm64" if spec.arm else "x86_64"]},
        "VCpuInfo": {
            "DefaultVCpus": spec.vcpus,
            "DefaultCores": max(1, spec.vcpus // spec.threads_per_core),
            "DefaultThreadsPerCore": spec.threads_per_core,
            "ValidThreadsPerCore": list(range(1, spec.threads_per_core + 1)),
        },
        "MemoryInfo": {"SizeInMiB": spec.memory_mib},
        "NetworkInfo": {"EfaSupported": False, "MaximumNetworkCards": 1, "MaximumNetworkInterfaces": 4},
        "PlacementGroupInfo": {"SupportedStrategies": ["cluster", "partition", "spread"]},
    }
    if spec.gpus:
        item["GpuInfo"] = {"Gpus": [{"Name": "GPU", "Manufacturer": "NVIDIA", "Count": spec.gpus}]}
    return item


@lru_cache(maxsize=1)
def _real_types() -> Mapping[str, Mapping[str, Any]]:
    """What EC2 said about its types when moto was released."""
    packed = resources.files("moto").joinpath("ec2/resources/instance_types.json.gz").read_bytes()
    types: Mapping[str, Mapping[str, Any]] = json.loads(gzip.decompress(packed))
    return {name: item for name, item in types.items() if type_spec(name) is not None}


def _filtered(items: Sequence[Params], p: Params, names: Mapping[str, str]) -> list[Params]:
    filters = filters_of(p)
    for name in filters:
        if name not in names and not name.startswith("tag"):
            raise Ec2Error("InvalidParameterValue", f"The filter '{name}' is invalid")
    return [
        item
        for item in items
        if all(name in names and accepts(values, str(item[names[name]])) for name, values in filters.items())
    ]


def page(items: Sequence[Any], p: Params) -> tuple[Sequence[Any], str | None]:
    """The part of the items that `MaxResults` and `NextToken` ask for, and the next token, if there is more."""
    start = int(p["NextToken"]) if p.get("NextToken", "").isdecimal() else 0
    end = start + p.get("MaxResults", _PAGE_SIZE)
    return items[start:end], str(end) if end < len(items) else None
