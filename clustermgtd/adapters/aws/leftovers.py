"""Launch templates and placement groups that were made for a configuration of before, and that nothing needs any more.

Only what carries this cluster's tag, and a name that is made here, is ever deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from clustermgtd.adapters.aws import tags
from clustermgtd.adapters.aws.launch_templates import is_template_name
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import ClustermgtdError, IncompleteObservationError

CALL_DEADLINE_S = 20.0
AGE_MIN_S = 3600.0
"""A younger template may belong to a daemon that is just starting with another configuration."""
DELETED_MAX = 100
"""Templates in one go."""
_PAGES_MAX = 100
_MAY_LIVE = ("pending", "running", "stopping", "stopped")
_GONE = ("InvalidLaunchTemplateId.NotFound", "InvalidPlacementGroup.Unknown")
_IN_USE = "InvalidPlacementGroup.InUse"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Needed:
    """What must stay."""

    templates: frozenset[str]
    """Ids, in the configuration."""
    placement_groups: frozenset[str]
    """Names, in the configuration."""
    launching: frozenset[str]
    """Template ids of open launches, whose calls may be made again."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """Names of what is gone."""

    templates: tuple[str, ...] = ()
    placement_groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Template:
    id: str
    name: str
    created_at: float
    place: tuple[str, str]
    """Queue and compute resource, by its tags."""


class Leftovers:
    """What one cluster's daemons made."""

    def __init__(self, session: AwsSession, cluster_name: str) -> None:
        self._session = session
        self._cluster_name = cluster_name

    async def delete(self, needed: Callable[[], Needed], now: float) -> Deleted:
        """Delete what `needed`, asked anew before each deletion, does not name. `now` in epoch seconds.

        A template stays in its first hour, and while EC2 shows an instance of this cluster that was made from it. A
        group stays while a template of a former configuration is left for its compute resource, because that may name
        it, and while it has instances.

        Raises:
            ConfigurationError: a permission is missing.
            TransientError: EC2 did not answer; what is deleted by then is deleted.
        """
        templates = await self._templates()
        gone: dict[str, str] = {}
        for template in templates:
            if len(gone) < DELETED_MAX and await self._delete_template(template, needed, now):
                gone[template.id] = template.name
        kept = {t.place for t in templates if t.id not in gone and t.id not in needed().templates}
        groups = [
            name
            for name, place in await self._placement_groups()
            if place not in kept and await self._delete_group(name, needed)
        ]
        return Deleted(tuple(gone.values()), tuple(groups))

    async def _delete_template(self, template: _Template, needed: Callable[[], Needed], now: float) -> bool:
        is_ours = is_template_name(template.name, self._cluster_name, *template.place)
        if not is_ours or now - template.created_at < AGE_MIN_S or template.id in needed().templates:
            return False
        if await self._has_instances(template) or template.id in needed().templates | needed().launching:
            return False
        is_gone = await self._call_to_delete("delete_launch_template", {"LaunchTemplateId": template.id})
        if is_gone:
            log.info("launch_template_deleted", template=template.name, template_id=template.id)
        return is_gone

    async def _delete_group(self, name: str, needed: Callable[[], Needed]) -> bool:
        if name in needed().placement_groups:
            return False
        is_gone = await self._call_to_delete("delete_placement_group", {"GroupName": name})
        if is_gone:
            log.info("placement_group_deleted", placement_group=name)
        return is_gone

    async def _templates(self) -> list[_Template]:
        """Those with this cluster's tag."""
        parameters: dict[str, Any] = {"Filters": [self._tagged()]}
        found: list[_Template] = []
        for _ in range(_PAGES_MAX):
            reply = await self._call("describe_launch_templates", parameters)
            found += [
                _Template(
                    str(item["LaunchTemplateId"]),
                    str(item["LaunchTemplateName"]),
                    item["CreateTime"].timestamp(),
                    _place(item),
                )
                for item in reply.get("LaunchTemplates", ())
            ]
            if not reply.get("NextToken"):
                return found
            parameters["NextToken"] = reply["NextToken"]
        raise IncompleteObservationError(f"DescribeLaunchTemplates did not end after {_PAGES_MAX} pages")

    async def _placement_groups(self) -> list[tuple[str, tuple[str, str]]]:
        """Name and place of those that were made here: with this cluster's tag and the name that fits their place."""
        reply = await self._call("describe_placement_groups", {"Filters": [self._tagged()]})
        found = [(str(item.get("GroupName", "")), _place(item)) for item in reply.get("PlacementGroups", ())]
        return [(name, place) for name, place in found if name == "-".join((self._cluster_name, *place))]

    async def _has_instances(self, template: _Template) -> bool:
        """EC2 tags what it launches from a template with the template's id."""
        filters = [
            self._tagged(),
            {"Name": "tag:aws:ec2launchtemplate:id", "Values": [template.id]},
            {"Name": "instance-state-name", "Values": list(_MAY_LIVE)},
        ]
        page = await self._call("describe_instances", {"Filters": filters, "MaxResults": 5})
        return bool(page["Instances"] or page["NextToken"])

    async def _call_to_delete(self, operation: str, parameters: Mapping[str, Any]) -> bool:
        """False if it is gone already or in use."""
        try:
            await self._call(operation, parameters)
        except ClustermgtdError as error:
            if error.code.startswith(_GONE) or error.code == _IN_USE:
                return False
            raise
        return True

    def _tagged(self) -> dict[str, Any]:
        return {"Name": f"tag:{tags.CLUSTER}", "Values": [self._cluster_name]}

    async def _call(self, operation: str, parameters: Mapping[str, Any]) -> Any:
        return await self._session.call("ec2", operation, parameters, CALL_DEADLINE_S)


def _place(item: Mapping[str, Any]) -> tuple[str, str]:
    """Queue and compute resource that a thing's tags name; empty texts if they do not."""
    tagged = {str(tag["Key"]): str(tag["Value"]) for tag in item.get("Tags", ())}
    return tagged.get(tags.QUEUE, ""), tagged.get(tags.COMPUTE_RESOURCE, "")
