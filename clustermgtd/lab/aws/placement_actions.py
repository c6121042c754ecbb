"""Placement groups: names and strategies."""

from __future__ import annotations

from clustermgtd.lab.aws.instance_actions import filters_of
from clustermgtd.lab.aws.protocol import Params, required
from clustermgtd.lab.ec2.instances import accepts
from clustermgtd.lab.ec2.model import Ec2Model
from clustermgtd.lab.ec2.records import Ec2Error


def create_placement_group(model: Ec2Model, p: Params, now: float) -> Params:
    model.enter("CreatePlacementGroup", now)
    name, strategy = p.get("GroupName", ""), p.get("Strategy", "cluster")
    model.placement_groups.create(name, strategy)
    return {"PlacementGroup": _group(name, strategy)}


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
    names = filters_of(p).get("group-name", ("*",))
    return {"PlacementGroups": [_group(n, s) for n, s in groups.items() if n in wanted and accepts(names, n)]}


def _group(name: str, strategy: str) -> Params:
    return {"GroupName": name, "Strategy": strategy, "State": "available"}
