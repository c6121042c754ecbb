"""Placement groups: names and strategies."""

from __future__ import annotations

from collections.abc import Mapping

from clustermgtd.lab.aws.instance_actions import filters_of
from clustermgtd.lab.aws.launch_data import tags_of
from clustermgtd.lab.aws.protocol import Params, required
from clustermgtd.lab.ec2.instances import accepts
from clustermgtd.lab.ec2.model import Ec2Model
from clustermgtd.lab.ec2.records import Ec2Error


def create_placement_group(model: Ec2Model, p: Params, now: float) -> Params:
    model.enter("CreatePlacementGroup", now)
    name, strategy = p.get("GroupName", ""), p.get("Strategy", "cluster")
    model.placement_groups.create(name, strategy, tags_of(p.get("TagSpecifications", ()), "placement-group"))
    return {"PlacementGroup": _group(model, name)}


def delete_placement_group(model: Ec2Model, p: Params, now: float) -> Params:
    model.enter("DeletePlacementGroup", now)
    name = required(p, "GroupName")
    if model.placement_groups.members(name):
        raise Ec2Error("InvalidPlacementGroup.InUse", f"The placement group '{name}' is in use and may not be deleted.")
    model.placement_groups.delete(name)
    return {}


def describe_placement_groups(model: Ec2Model, p: Params, now: float) -> Params:
    model.enter("DescribePlacementGroups", now)
    groups = model.placement_groups.all()
    for name in p.get("GroupNames", ()):
        if name not in groups:
            raise Ec2Error("InvalidPlacementGroup.Unknown", f"The Placement Group '{name}' is unknown.")
    wanted = p.get("GroupNames") or groups
    filters = filters_of(p)
    return {"PlacementGroups": [_group(model, n) for n in groups if n in wanted and _passes(model, n, filters)]}


def _passes(model: Ec2Model, name: str, filters: Mapping[str, tuple[str, ...]]) -> bool:
    tags = model.placement_groups.tags(name)
    for key, values in filters.items():
        if key == "group-name":
            fact: str | None = name
        elif key.startswith("tag:"):
            fact = tags.get(key[4:])
        else:
            raise Ec2Error("InvalidParameterValue", f"The filter '{key}' is invalid")
        if fact is None or not accepts(values, fact):
            return False
    return True


def _group(model: Ec2Model, name: str) -> Params:
    tags = [{"Key": key, "Value": value} for key, value in sorted(model.placement_groups.tags(name).items())]
    return {"GroupName": name, "Strategy": model.placement_groups.all()[name], "State": "available", "Tags": tags}
