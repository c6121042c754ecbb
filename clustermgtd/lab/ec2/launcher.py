"""Launching: what a request becomes, once it is known to be new."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, fields, replace

from clustermgtd.lab.ec2 import fleet as fleets
from clustermgtd.lab.ec2.buckets import TokenBuckets
from clustermgtd.lab.ec2.catalog import type_spec
from clustermgtd.lab.ec2.lifecycle import Birth, Lifecycle
from clustermgtd.lab.ec2.placement import PlacementGroups
from clustermgtd.lab.ec2.records import (
    CAPACITY_BLOCK,
    ON_DEMAND,
    SPOT,
    Ec2Error,
    FleetError,
    FleetInstances,
    FleetReply,
    FleetRequest,
    LaunchData,
    RunRequest,
    TemplateRef,
)
from clustermgtd.lab.ec2.reservations import Reservations
from clustermgtd.lab.ec2.scenario import Scenario
from clustermgtd.lab.ec2.supply import Capacity, Network
from clustermgtd.lab.ec2.templates import LaunchTemplates

DEFAULT_IMAGE = "ami-00000000000000001"
"""The image of instances that were launched without a template."""
USER_DATA_MAX_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Launcher:
    """Turns requests into instances."""

    scenario: Scenario
    capacity: Capacity
    network: Network
    templates: LaunchTemplates
    groups: PlacementGroups
    reservations: Reservations
    resources: TokenBuckets
    life: Lifecycle

    def fleet(self, request: FleetRequest, now: float) -> FleetReply:
        """Launch what can be had. Raises: Ec2Error when the request is refused as a whole."""
        candidates = fleets.expand(request, self.network, self._resolve, self._check_launch)
        fleet_id = self.life.ids.fleet()
        rest = request.total - request.on_demand_total - request.spot_total
        targets = {ON_DEMAND: request.on_demand_total, SPOT: request.spot_total, CAPACITY_BLOCK: 0}
        targets[request.default_market] += rest
        groups: list[FleetInstances] = []
        errors: list[FleetError] = []
        for market, target in targets.items():
            if target <= 0:
                continue
            plan = fleets.plan(request, candidates, market, target, self._supply(now))
            errors.extend(plan.errors)
            for share in plan.shares:
                self.resources.take("RunInstances", share.count, now)
                birth = self._fleet_birth(request, share.candidate, market, fleet_id)
                ids = self._born(birth, share.count, now)
                groups.append(FleetInstances(ids, market, share.candidate.pool, share.candidate.index))
        return FleetReply(fleet_id, tuple(groups), tuple(errors))

    def _supply(self, now: float) -> fleets.Supply:
        tokens = self.resources.available("RunInstances", now)
        return fleets.Supply(self.scenario, self.capacity, self.network, self.groups, self.reservations, tokens, now)

    def _born(self, birth: Birth, count: int, now: float) -> tuple[str, ...]:
        """Instances in the reservations that are for them, the rest in none."""
        reserved = self.reservations.for_launch(birth.data, birth.market, now)
        return tuple(
            id
            for reservation, part in self.reservations.split(reserved, count)
            for id in self.life.launch(replace(birth, capacity_reservation=reservation), part, now)
        )

    def _fleet_birth(self, request: FleetRequest, candidate: fleets.Candidate, market: str, fleet_id: str) -> Birth:
        data, pool = candidate.data, candidate.pool
        tags = {**data.instance_tags, **request.instance_tags, "aws:ec2:fleet-id": fleet_id}
        return Birth(
            instance_type=pool.instance_type,
            zone=pool.zone,
            subnet=pool.subnet,
            market=market,
            data=replace(data, volume_tags={**data.volume_tags, **request.volume_tags}),
            tags={**tags, **_template_tags(pool.template_id, pool.template_version)},
            reservation_id=self.life.ids.next("r"),
            fleet_id=fleet_id,
            template_id=pool.template_id,
            template_version=pool.template_version,
        )

    def run(self, request: RunRequest, now: float) -> tuple[str, ...]:
        """Launch as many of `count_max` as can be had. Raises: Ec2Error when that is less than `count_min`."""
        template_id, version, base = self._resolve(request.template) if request.template else ("", 0, LaunchData())
        data = _overlay(base, request.data)
        self._check_launch(data)
        if not 1 <= request.count_min <= request.count_max:
            raise Ec2Error("InvalidParameterValue", "MinCount must be at least 1 and at most MaxCount")
        if type_spec(data.instance_type) is None:
            raise Ec2Error("InvalidParameterValue", f"Invalid value '{data.instance_type}' for InstanceType.")
        subnet = self.network.choose(data.subnet, data.zone)
        data = replace(data, subnet=subnet.id, zone=subnet.spec.zone, market=data.market or ON_DEMAND)
        count = self._count_to_run(data, request, now)
        self.resources.take("RunInstances", count, now)
        birth = Birth(
            instance_type=data.instance_type,
            zone=data.zone,
            subnet=data.subnet,
            market=data.market,
            data=data,
            tags={**data.instance_tags, **_template_tags(template_id, version)},
            reservation_id=self.life.ids.next("r"),
            client_token=request.client_token,
            template_id=template_id,
            template_version=version,
        )
        return self._born(birth, count, now)

    def _count_to_run(self, data: LaunchData, request: RunRequest, now: float) -> int:
        most, why = fleets.most(data, self._supply(now))
        if most < request.count_min:
            raise Ec2Error(
                why.code, why.message, 500 if why.code == "InsufficientInstanceCapacity" else why.http_status
            )
        return int(min(request.count_max, most))

    def _resolve(self, ref: TemplateRef | None) -> tuple[str, int, LaunchData]:
        """Id, version and data of a launch template; without one, an image that exists.

        Raises:
            Ec2Error: there is no such template or version.
        """
        if ref is None:
            return "", 0, LaunchData(image_id=DEFAULT_IMAGE)
        template = self.templates.get(ref)
        version = self.templates.version(template, ref.version)
        return template.id, version.number, version.data

    def _check_launch(self, data: LaunchData) -> None:
        """Raises: Ec2Error for an image that does not exist or user data that is too long."""
        if not data.image_id:
            raise Ec2Error("MissingParameter", "The request must contain the parameter ImageId")
        if not data.image_id.startswith("ami-"):
            raise Ec2Error("InvalidAMIID.Malformed", f'Invalid id: "{data.image_id}" (expecting "ami-...")')
        if data.image_id in self.scenario.unknown_images:
            raise Ec2Error("InvalidAMIID.NotFound", f"The image id '[{data.image_id}]' does not exist")
        _check_interfaces(data)
        _check_cpu(data)
        try:
            size = len(base64.b64decode(data.user_data, validate=True))
        except binascii.Error as error:
            raise Ec2Error("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data") from error
        if size > USER_DATA_MAX_BYTES:
            raise Ec2Error("InvalidParameterValue", f"User data is limited to {USER_DATA_MAX_BYTES} bytes")


def _check_interfaces(data: LaunchData) -> None:
    if len(data.interfaces) > 1 and data.assign_public_ip:
        raise Ec2Error(
            "InvalidParameterCombination",
            "The associatePublicIPAddress parameter cannot be specified when launching with multiple network "
            "interfaces.",
        )
    if len({(one.card, one.device) for one in data.interfaces}) < len(data.interfaces):
        raise Ec2Error("InvalidParameterValue", "Each network interface requires a device index of its own on its card")


def _check_cpu(data: LaunchData) -> None:
    spec = type_spec(data.instance_type)
    if spec is None or not data.cores:
        return
    if spec.threads_per_core == 1 or data.cores * spec.threads_per_core > spec.vcpus or data.threads_per_core > 2:
        raise Ec2Error(
            "InvalidParameterCombination",
            f"The CPU options CoreCount {data.cores} and ThreadsPerCore {data.threads_per_core} are not valid for "
            f"{data.instance_type}",
        )


def _template_tags(id: str, version: int) -> dict[str, str]:
    return {"aws:ec2launchtemplate:id": id, "aws:ec2launchtemplate:version": str(version)} if id else {}


def _overlay(base: LaunchData, request: LaunchData) -> LaunchData:
    """The template's data, where the request says nothing itself; tags of both."""
    said = {f.name: v for f in fields(LaunchData) if (v := getattr(request, f.name)) != getattr(_NOTHING_SAID, f.name)}
    if request.subnet:
        base = replace(base, zone="")
    elif request.zone:
        base = replace(base, subnet="")
    said["instance_tags"] = {**base.instance_tags, **request.instance_tags}
    said["volume_tags"] = {**base.volume_tags, **request.volume_tags}
    return replace(base, **said)


_NOTHING_SAID = LaunchData()
