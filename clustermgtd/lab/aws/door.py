"""EC2's wire door: one form in, one XML document out. No I/O: the front calls it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from clustermgtd.lab.aws import instance_actions as instances
from clustermgtd.lab.aws import launch_actions as launches
from clustermgtd.lab.aws import placement_actions as placement
from clustermgtd.lab.aws import region_actions as region
from clustermgtd.lab.aws import reservation_actions as reservations
from clustermgtd.lab.aws import template_actions as templates
from clustermgtd.lab.aws.protocol import Ec2Protocol, Params, envelope, error_body, invalid_action
from clustermgtd.lab.ec2.model import Ec2Model
from clustermgtd.lab.ec2.records import Ec2Error, ReplyLost

Action = Callable[[Ec2Model, Params, float], Params | str]
"""Answers with members under boto3's names, or with their XML."""

ACTIONS: Mapping[str, Action] = MappingProxyType(
    {
        "CreateFleet": launches.create_fleet,
        "CreateLaunchTemplate": templates.create_launch_template,
        "CreateLaunchTemplateVersion": templates.create_launch_template_version,
        "CreatePlacementGroup": placement.create_placement_group,
        "CreateTags": instances.create_tags,
        "DeleteLaunchTemplate": templates.delete_launch_template,
        "DeleteLaunchTemplateVersions": templates.delete_launch_template_versions,
        "DeletePlacementGroup": placement.delete_placement_group,
        "DeleteTags": instances.delete_tags,
        "DescribeAvailabilityZones": region.describe_availability_zones,
        "DescribeCapacityReservations": reservations.describe_capacity_reservations,
        "DescribeImages": region.describe_images,
        "DescribeInstanceAttribute": instances.describe_instance_attribute,
        "DescribeInstanceStatus": instances.describe_instance_status,
        "DescribeInstanceTypeOfferings": region.describe_instance_type_offerings,
        "DescribeInstanceTypes": region.describe_instance_types,
        "DescribeInstances": instances.describe_instances,
        "DescribeLaunchTemplateVersions": templates.describe_launch_template_versions,
        "DescribeLaunchTemplates": templates.describe_launch_templates,
        "DescribePlacementGroups": placement.describe_placement_groups,
        "DescribeRegions": region.describe_regions,
        "DescribeSecurityGroups": region.describe_security_groups,
        "DescribeSpotPriceHistory": region.describe_spot_price_history,
        "DescribeSubnets": region.describe_subnets,
        "DescribeTags": instances.describe_tags,
        "DescribeVpcs": region.describe_vpcs,
        "GetConsoleOutput": instances.get_console_output,
        "GetLaunchTemplateData": templates.get_launch_template_data,
        "ModifyInstanceAttribute": instances.modify_instance_attribute,
        "ModifyLaunchTemplate": templates.modify_launch_template,
        "RebootInstances": instances.reboot_instances,
        "RunInstances": launches.run_instances,
        "StartInstances": instances.start_instances,
        "StopInstances": instances.stop_instances,
        "TerminateInstances": instances.terminate_instances,
    }
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the client; no body at all when the reply is lost on its way."""

    status: int
    body: str
    lost: bool = False


class Ec2Door:
    """Serves a model over EC2's query protocol."""

    def __init__(self, model: Ec2Model) -> None:
        self._model = model
        self._protocol = Ec2Protocol()

    def answer(self, form: Mapping[str, str], now: float, request_id: str) -> Answer:
        """The answer to one call; whatever the client sent, it is one of EC2's."""
        action = form.get("Action", "")
        try:
            reply = _handler(action)(self._model, self._protocol.parse(action, form), now)
            if isinstance(reply, str):
                return Answer(200, envelope(action, reply, request_id))
            return Answer(200, self._protocol.write(action, reply, request_id))
        except ReplyLost:
            return Answer(500, "", lost=True)
        except Ec2Error as error:
            return Answer(error.http_status, error_body(error, request_id))


def _handler(action: str) -> Action:
    if not action:
        raise Ec2Error("MissingAction", "The request must contain the parameter Action")
    if action not in ACTIONS:
        raise invalid_action(action)
    return ACTIONS[action]
