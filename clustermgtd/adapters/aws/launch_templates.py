"""Launch templates, one per compute resource and content: the name holds a hash of what the template holds.

A template is never changed: another content is another template, so that a launch that is replayed under its token
finds what it was intended with. With an unchanged configuration only describing calls are made.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from clustermgtd.adapters.aws import tags
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import ConfigurationError, ConflictError, TransientError
from clustermgtd.model.claim import LaunchTemplate
from clustermgtd.model.policy import ComputeResourceKey
from clustermgtd.model.template import TemplateSpec

CALL_DEADLINE_S = 20.0
USER_DATA_MAX_BYTES = 16 * 1024
_NAMES_PER_CALL = 100
_NAME_MAX = 128
_ONLY_VERSION = "1"
_LOOKS_MAX = 5
_LOOK_INTERVAL_S = 1.0
_METADATA_TAG_KEY = re.compile(r"[A-Za-z0-9+\-=.,_:@]{1,128}")


async def ensure(
    session: AwsSession, cluster_name: str, specs: Mapping[ComputeResourceKey, TemplateSpec]
) -> Mapping[ComputeResourceKey, LaunchTemplate]:
    """A template in EC2 for every spec. Two daemons may do this at once.

    Raises:
        ConfigurationError: an image does not exist, a tag cannot be shown to the instance, user data is too long, or
            a permission is missing.
        TransientError: EC2 did not answer, or does not show a template yet that another daemon made.
    """
    if not specs:
        return {}
    devices = await _root_devices(session, sorted({spec.image_id for spec in specs.values()}))
    wanted: dict[str, tuple[ComputeResourceKey, dict[str, Any]]] = {}
    for key, spec in specs.items():
        data = template_data(spec, devices[spec.image_id])
        wanted[template_name(cluster_name, key, data)] = (key, data)
    found = await _ids_by_name(session, sorted(wanted))
    for name, (key, data) in wanted.items():
        if name not in found:
            found[name] = await _created(session, cluster_name, key, name, data)
    return {key: LaunchTemplate(found[name], _ONLY_VERSION) for name, (key, _) in wanted.items()}


def template_name(cluster_name: str, key: ComputeResourceKey, data: Mapping[str, Any]) -> str:
    """The name that only this content of this compute resource has."""
    content = json.dumps([cluster_name, key.queue, key.name, data], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    prefix = f"{cluster_name}-{key.queue}-{key.name}"[: _NAME_MAX - len(digest) - 1]
    return f"{prefix}-{digest}"


def template_data(spec: TemplateSpec, root_device: str) -> dict[str, Any]:
    """EC2's LaunchTemplateData for a spec whose image has its root volume at `root_device`.

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
    if spec.assign_public_ip is None:
        if spec.security_groups:
            data["SecurityGroupIds"] = list(spec.security_groups)
    else:
        interface: dict[str, Any] = {"DeviceIndex": 0, "AssociatePublicIpAddress": spec.assign_public_ip}
        data["NetworkInterfaces"] = [
            interface | ({"Groups": list(spec.security_groups)} if spec.security_groups else {})
        ]
    if spec.instance_profile:
        data["IamInstanceProfile"] = {
            "Arn" if spec.instance_profile.startswith("arn:") else "Name": spec.instance_profile
        }
    if spec.key_name:
        data["KeyName"] = spec.key_name
    if spec.user_data:
        text = spec.user_data.encode()
        if len(text) > USER_DATA_MAX_BYTES:
            raise ConfigurationError(
                f"user data of queue {spec.key.queue}, compute resource {spec.key.name} has {len(text)} bytes; EC2 "
                f"takes {USER_DATA_MAX_BYTES}"
            )
        data["UserData"] = base64.b64encode(text).decode()
    return data


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
                f"tag key {key!r} of queue {spec.key.queue}, compute resource {spec.key.name}: EC2 launches no "
                "instance that can read its tags with such a key; use letters, digits and + - = . , _ : @ only"
            )
    return [{"Key": key, "Value": value} for key, value in sorted(({"Name": "Compute"} | dict(spec.tags)).items())]


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


async def _created(
    session: AwsSession, cluster_name: str, key: ComputeResourceKey, name: str, data: Mapping[str, Any]
) -> str:
    marks = {tags.CLUSTER: cluster_name, tags.QUEUE: key.queue, tags.COMPUTE_RESOURCE: key.name}
    parameters = {
        "LaunchTemplateName": name,
        "VersionDescription": f"queue {key.queue}, compute resource {key.name}",
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
