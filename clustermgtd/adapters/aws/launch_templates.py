"""Launch templates, one per capacity tier and content: the name holds a hash of what the template holds.

A template is never changed: another content is another template, so that a launch that is replayed under its token
finds what it was intended with. With an unchanged configuration only describing calls are made. Old ones are deleted by
`leftovers`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from clustermgtd.adapters.aws import placement_groups, tags
from clustermgtd.adapters.aws.instance_facts import instance_facts
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.adapters.aws.template_data import template_data
from clustermgtd.errors import ConfigurationError, ConflictError, TransientError
from clustermgtd.model.claim import LaunchTemplate
from clustermgtd.model.template import TemplateKey, TemplateSpec

CALL_DEADLINE_S = 20.0
_NAMES_PER_CALL = 100
_NAME_MAX = 128
_SUFFIX = re.compile(r"(-tier[1-9][0-9]*)?-[0-9a-f]{16}\Z")
_ONLY_VERSION = "1"
_LOOKS_MAX = 5
_LOOK_INTERVAL_S = 1.0


async def ensure(
    session: AwsSession, cluster_name: str, specs: Mapping[TemplateKey, TemplateSpec]
) -> Mapping[TemplateKey, LaunchTemplate]:
    """A template in EC2 for every spec, and the placement groups that they name. Two daemons may do this at once.

    Raises:
        ConfigurationError: an image, an instance type or a named placement group does not exist, a tag cannot be
            shown to the instance, user data is too long, the types cannot do what is asked, or a permission is missing.
        TransientError: EC2 did not answer, or does not show a template yet that another daemon made.
    """
    if not specs:
        return {}
    wanted = await _wanted(session, cluster_name, specs)
    await placement_groups.ensure(session, cluster_name, specs.values())
    found = await _ids_by_name(session, sorted(wanted))
    for name, (key, data) in wanted.items():
        if name not in found:
            found[name] = await _created(session, cluster_name, key, name, data)
    return {key: LaunchTemplate(found[name], _ONLY_VERSION) for name, (key, _) in wanted.items()}


async def existing(
    session: AwsSession, cluster_name: str, specs: Mapping[TemplateKey, TemplateSpec]
) -> Mapping[TemplateKey, LaunchTemplate]:
    """The templates that `ensure` has made for these specs already. Nothing is made.

    Raises:
        ConfigurationError, TransientError: as `ensure` does.
    """
    if not specs:
        return {}
    wanted = await _wanted(session, cluster_name, specs)
    found = await _ids_by_name(session, sorted(wanted))
    return {key: LaunchTemplate(found[name], _ONLY_VERSION) for name, (key, _) in wanted.items() if name in found}


async def _wanted(
    session: AwsSession, cluster_name: str, specs: Mapping[TemplateKey, TemplateSpec]
) -> dict[str, tuple[TemplateKey, dict[str, Any]]]:
    """What each template holds, by its name."""
    devices = await _root_devices(session, sorted({spec.image_id for spec in specs.values()}))
    facts = await instance_facts(session, {name for spec in specs.values() for name in spec.instance_types})
    wanted: dict[str, tuple[TemplateKey, dict[str, Any]]] = {}
    for key, spec in specs.items():
        data = template_data(spec, devices[spec.image_id], [facts[name] for name in spec.instance_types])
        wanted[template_name(cluster_name, key, data)] = (key, data)
    return wanted


def template_name(cluster_name: str, key: TemplateKey, data: Mapping[str, Any]) -> str:
    """The name that only this content of this tier has."""
    queue, name = key.compute_resource.queue, key.compute_resource.name
    which: list[Any] = [cluster_name, queue, name, data, *([key.tier] if key.tier else [])]
    digest = hashlib.sha256(json.dumps(which, sort_keys=True).encode()).hexdigest()[:16]
    suffix = f"-tier{key.tier}-{digest}" if key.tier else f"-{digest}"
    return f"{cluster_name}-{queue}-{name}"[: _NAME_MAX - len(suffix)] + suffix


def is_template_name(text: str, cluster_name: str, queue: str, compute_resource: str) -> bool:
    """`template_name` gives such a text for some tier and content of the compute resource."""
    suffix = _SUFFIX.search(text)
    if suffix is None or not queue or not compute_resource:
        return False
    return text == f"{cluster_name}-{queue}-{compute_resource}"[: _NAME_MAX - len(suffix[0])] + suffix[0]


async def _root_devices(session: AwsSession, images: list[str]) -> Mapping[str, str]:
    reply = await session.call("ec2", "describe_images", {"ImageIds": images}, CALL_DEADLINE_S)
    devices = {str(image["ImageId"]): str(image.get("RootDeviceName") or "") for image in reply["Images"]}
    for image in images:
        if not devices.get(image):
            raise ConfigurationError(f"image {image} does not exist in {session.region}, or has no root device")
    return devices


async def _ids_by_name(session: AwsSession, names: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for start in range(0, len(names), _NAMES_PER_CALL):
        parameters: dict[str, Any] = {
            "Filters": [{"Name": "launch-template-name", "Values": names[start : start + _NAMES_PER_CALL]}]
        }
        while True:
            reply = await session.call("ec2", "describe_launch_templates", parameters, CALL_DEADLINE_S)
            found |= {one["LaunchTemplateName"]: one["LaunchTemplateId"] for one in reply.get("LaunchTemplates", ())}
            if not reply.get("NextToken"):
                break
            parameters["NextToken"] = reply["NextToken"]
    return found


async def _created(session: AwsSession, cluster_name: str, key: TemplateKey, name: str, data: Mapping[str, Any]) -> str:
    owner = key.compute_resource
    marks = {tags.CLUSTER: cluster_name, tags.QUEUE: owner.queue, tags.COMPUTE_RESOURCE: owner.name}
    parameters = {
        "LaunchTemplateName": name,
        "VersionDescription": f"queue {owner.queue}, compute resource {owner.name}, tier {key.tier}",
        "LaunchTemplateData": data,
        "TagSpecifications": [
            {
                "ResourceType": "launch-template",
                "Tags": [{"Key": tag, "Value": value} for tag, value in sorted(marks.items())],
            }
        ],
    }
    try:
        reply = await session.call("ec2", "create_launch_template", parameters, CALL_DEADLINE_S)
    except ConflictError:
        return await _shown(session, name)  # another daemon was faster; the name says that the content is the same
    return str(reply["LaunchTemplate"]["LaunchTemplateId"])


async def _shown(session: AwsSession, name: str) -> str:
    for look in range(_LOOKS_MAX):
        if look:
            await asyncio.sleep(_LOOK_INTERVAL_S)
        found = await _ids_by_name(session, [name])
        if name in found:
            return found[name]
    raise TransientError(f"launch template {name} exists and is not shown yet")
