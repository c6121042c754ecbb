"""Placement groups: those that a site names have to exist, the others are made here (and deleted by `leftovers`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from clustermgtd.adapters.aws import tags
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import CapacityError, ConfigurationError, ConflictError, TransientError
from clustermgtd.model.template import TemplateSpec

CALL_DEADLINE_S = 20.0
_NAMES_PER_CALL = 100


async def ensure(session: AwsSession, cluster_name: str, specs: Iterable[TemplateSpec]) -> None:
    """Every placement group that a spec names exists. Two daemons may do this at once.

    Raises:
        ConfigurationError: a group that is not ours to make does not exist, or a permission is missing.
        TransientError: EC2 did not answer.
    """
    wanted = {spec.placement_group.name: spec for spec in specs if spec.placement_group is not None}
    missing = sorted(wanted.keys() - await _existing(session, sorted(wanted)))
    foreign = [name for name in missing if not _is_managed(wanted[name])]
    if foreign:
        raise ConfigurationError(f"placement group {', '.join(foreign)} does not exist in {session.region}")
    for name in missing:
        await _create(session, cluster_name, name, wanted[name])


def _is_managed(spec: TemplateSpec) -> bool:
    return spec.placement_group is not None and spec.placement_group.is_managed


async def _existing(session: AwsSession, names: list[str]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(names), _NAMES_PER_CALL):
        filters = [{"Name": "group-name", "Values": names[start : start + _NAMES_PER_CALL]}]
        reply: Any = await session.call("ec2", "describe_placement_groups", {"Filters": filters}, CALL_DEADLINE_S)
        groups = reply.get("PlacementGroups", ())
        found |= {str(group["GroupName"]) for group in groups if group.get("State") not in ("deleting", "deleted")}
    return found


async def _create(session: AwsSession, cluster_name: str, name: str, spec: TemplateSpec) -> None:
    marks = {tags.CLUSTER: cluster_name, tags.QUEUE: spec.key.queue, tags.COMPUTE_RESOURCE: spec.key.name}
    marked = [{"Key": key, "Value": value} for key, value in sorted(marks.items())]
    parameters = {
        "GroupName": name,
        "Strategy": "cluster",
        "TagSpecifications": [{"ResourceType": "placement-group", "Tags": marked}],
    }
    try:
        await session.call("ec2", "create_placement_group", parameters, CALL_DEADLINE_S)
    except ConflictError:
        return  # another daemon was faster
    except CapacityError as error:
        raise TransientError(f"placement group {name} is in use: {error}", code=error.code) from error
