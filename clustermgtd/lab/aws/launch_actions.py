"""CreateFleet and RunInstances."""

from __future__ import annotations

import json
from typing import Any
from xml.sax.saxutils import escape

from clustermgtd.lab.aws.instance_xml import instance_xml, reservation_xml
from clustermgtd.lab.aws.launch_data import launch_data, market_name, price, tags_of, template_ref
from clustermgtd.lab.aws.protocol import Params, required
from clustermgtd.lab.ec2.model import Ec2Model
from clustermgtd.lab.ec2.records import (
    ON_DEMAND,
    Ec2Error,
    FleetConfig,
    FleetError,
    FleetInstances,
    FleetOverride,
    FleetReply,
    FleetRequest,
    MarketOptions,
    Pool,
    RunRequest,
)


def create_fleet(model: Ec2Model, p: Params, now: float) -> str:
    """CreateFleet of type instant; the other types are not served."""
    if p.get("Type", "maintain") != "instant":
        raise Ec2Error("Unsupported", "Only fleets of type instant are served")
    return fleet_xml(model.create_fleet(fleet_request(p), now))


def run_instances(model: Ec2Model, p: Params, now: float) -> str:
    """RunInstances."""
    request = RunRequest(
        count_min=required(p, "MinCount"),
        count_max=required(p, "MaxCount"),
        data=launch_data(p),
        template=template_ref(p.get("LaunchTemplate")),
        client_token=p.get("ClientToken", ""),
        dry_run=p.get("DryRun", False),
        fingerprint=_fingerprint(p),
    )
    records = model.run_instances(request, now)
    return reservation_xml(model, records[0], "".join(instance_xml(model, r) for r in records))


def fleet_request(p: Params) -> FleetRequest:
    """CreateFleet's parameters, parsed.

    Raises:
        Ec2Error: something is missing or not served.
    """
    capacity = p.get("TargetCapacitySpecification", {})
    specifications = p.get("TagSpecifications", ())
    return FleetRequest(
        total=capacity.get("TotalTargetCapacity", 0),
        configs=tuple(_config(c) for c in p.get("LaunchTemplateConfigs", ())),
        default_market=market_name(capacity.get("DefaultTargetCapacityType", ON_DEMAND)),
        on_demand_total=capacity.get("OnDemandTargetCapacity", 0),
        spot_total=capacity.get("SpotTargetCapacity", 0),
        on_demand=_options(p.get("OnDemandOptions", {})),
        spot=_options(p.get("SpotOptions", {})),
        client_token=p.get("ClientToken", ""),
        instance_tags=tags_of(specifications, "instance"),
        volume_tags=tags_of(specifications, "volume"),
        fleet_tags=tags_of(specifications, "fleet"),
        dry_run=p.get("DryRun", False),
        fingerprint=_fingerprint(p),
    )


def _config(c: Params) -> FleetConfig:
    template = template_ref(c.get("LaunchTemplateSpecification"))
    if template is None:
        raise Ec2Error("MissingParameter", "The request must contain the parameter LaunchTemplateSpecification")
    return FleetConfig(template, tuple(_override(o) for o in c.get("Overrides", ())))


def _override(o: Params) -> FleetOverride:
    if "InstanceRequirements" in o:
        raise Ec2Error("Unsupported", "InstanceRequirements are not served; name instance types")
    return FleetOverride(
        instance_type=o.get("InstanceType", ""),
        subnet=o.get("SubnetId", ""),
        zone=o.get("AvailabilityZone", ""),
        image_id=o.get("ImageId", ""),
        max_price=price(o.get("MaxPrice")),
        priority=o.get("Priority"),
        weight=o.get("WeightedCapacity", 1.0),
    )


def _options(o: Params) -> MarketOptions:
    usage = o.get("CapacityReservationOptions", {}).get("UsageStrategy", "")
    return MarketOptions(
        strategy=o.get("AllocationStrategy", "lowest-price"),
        min_target=o.get("MinTargetCapacity", 0),
        single_instance_type=o.get("SingleInstanceType", False),
        single_zone=o.get("SingleAvailabilityZone", False),
        pools_to_use=o.get("InstancePoolsToUseCount", 1),
        reservations_first=usage == "use-capacity-reservations-first",
    )


def _fingerprint(p: Params) -> str:
    said: dict[str, Any] = {k: v for k, v in p.items() if k not in ("ClientToken", "DryRun")}
    return json.dumps(said, sort_keys=True)


def fleet_xml(reply: FleetReply) -> str:
    """The members of CreateFleet's reply."""
    errors = "".join(_error_xml(e) for e in reply.errors)
    instances = "".join(_instances_xml(g) for g in reply.instances)
    return (
        f"<fleetId>{reply.fleet_id}</fleetId><errorSet>{errors}</errorSet>"
        f"<fleetInstanceSet>{instances}</fleetInstanceSet>"
    )


def _error_xml(error: FleetError) -> str:
    return (
        f"<item>{_pool_xml(error.pool)}<lifecycle>{error.market}</lifecycle><errorCode>{error.code}</errorCode>"
        f"<errorMessage>{escape(error.message)}</errorMessage></item>"
    )


def _instances_xml(group: FleetInstances) -> str:
    ids = "".join(f"<item>{id}</item>" for id in group.ids)
    return (
        f"<item>{_pool_xml(group.pool)}<lifecycle>{group.market}</lifecycle><instanceIds>{ids}</instanceIds>"
        f"<instanceType>{group.pool.instance_type}</instanceType></item>"
    )


def _pool_xml(pool: Pool) -> str:
    override = pool.override
    said = [f"<instanceType>{escape(pool.instance_type)}</instanceType>"]
    if override.max_price is not None:
        said.append(f"<maxPrice>{override.max_price:g}</maxPrice>")
    if pool.subnet:
        said.append(f"<subnetId>{escape(pool.subnet)}</subnetId>")
    if pool.zone:
        said.append(f"<availabilityZone>{escape(pool.zone)}</availabilityZone>")
    if override.weight != 1.0:
        said.append(f"<weightedCapacity>{override.weight:g}</weightedCapacity>")
    if override.priority is not None:
        said.append(f"<priority>{override.priority:g}</priority>")
    if override.image_id:
        said.append(f"<imageId>{escape(override.image_id)}</imageId>")
    return (
        "<launchTemplateAndOverrides><launchTemplateSpecification>"
        f"<launchTemplateId>{pool.template_id}</launchTemplateId><version>{pool.template_version}</version>"
        f"</launchTemplateSpecification><overrides>{''.join(said)}</overrides></launchTemplateAndOverrides>"
    )
