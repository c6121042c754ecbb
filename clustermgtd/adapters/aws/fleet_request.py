"""A launch as CreateFleet's parameters, and CreateFleet's reply as a `LaunchResult`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clustermgtd.adapters.aws import tags
from clustermgtd.adapters.aws.error_codes import kind_of
from clustermgtd.errors import ConfigurationError
from clustermgtd.model.claim import (
    AllocationStrategy,
    Launch,
    LaunchedInstance,
    LaunchError,
    LaunchRequest,
    LaunchResult,
)
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.offering import Market, Offering

MINIMUM_MAX = 1000
"""EC2's bound of MinTargetCapacity."""

_SPOT_STRATEGIES = {
    AllocationStrategy.LOWEST_PRICE: "lowest-price",
    AllocationStrategy.CAPACITY_OPTIMIZED: "capacity-optimized",
    AllocationStrategy.PRICE_CAPACITY_OPTIMIZED: "price-capacity-optimized",
    AllocationStrategy.PRIORITIZED: "capacity-optimized-prioritized",
}
_ON_DEMAND_STRATEGIES = {
    # on-demand fleets know two strategies; the capacity ones have no meaning there
    AllocationStrategy.LOWEST_PRICE: "lowest-price",
    AllocationStrategy.CAPACITY_OPTIMIZED: "lowest-price",
    AllocationStrategy.PRICE_CAPACITY_OPTIMIZED: "lowest-price",
    AllocationStrategy.PRIORITIZED: "prioritized",
}


def create_fleet_parameters(launch: Launch, cluster_name: str) -> dict[str, Any]:
    """CreateFleet's parameters; the same launch gives the same ones, so that a replay is idempotent.

    Raises:
        ConfigurationError: `minimum` is above one and EC2 cannot guarantee it for these offerings.
    """
    request = launch.request
    parameters: dict[str, Any] = {
        "Type": "instant",
        "ClientToken": launch.token,
        "LaunchTemplateConfigs": [
            {
                "LaunchTemplateSpecification": {
                    "LaunchTemplateId": request.template.id,
                    "Version": request.template.version,
                },
                "Overrides": [_override(request, rank) for rank in range(len(request.offerings))],
            }
        ],
        "TargetCapacitySpecification": {
            "TotalTargetCapacity": request.count,
            "DefaultTargetCapacityType": request.market.value,
        },
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": _marks(launch, cluster_name)} for kind in ("fleet", "instance", "volume")
        ],
    }
    match request.market:
        case Market.SPOT:
            parameters["SpotOptions"] = {
                "AllocationStrategy": _SPOT_STRATEGIES[request.strategy],
                "InstanceInterruptionBehavior": "terminate",
                **_all_or_nothing(request),
            }
        case Market.ON_DEMAND:
            parameters["OnDemandOptions"] = {
                "AllocationStrategy": _ON_DEMAND_STRATEGIES[request.strategy],
                # what is reserved is paid for already, whichever of the types it is
                "CapacityReservationOptions": {"UsageStrategy": "use-capacity-reservations-first"},
                **_all_or_nothing(request),
            }
        case Market.CAPACITY_BLOCK:
            pass  # one reservation of one type in one zone: there is nothing to choose
    return parameters


def launch_result(request: LaunchRequest, reply: Mapping[str, Any]) -> LaunchResult:
    """What CreateFleet said, each entry attributed to its own offering."""
    instances: list[LaunchedInstance] = []
    for group in reply.get("Instances", ()):
        overrides = group.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
        zone = str(group.get("AvailabilityZone") or overrides.get("AvailabilityZone") or "")
        offering = _named_offering(request, group | overrides) or request.offerings[0]
        instances += [LaunchedInstance(InstanceId(id), offering, zone) for id in group.get("InstanceIds", ())]
    errors: list[LaunchError] = []
    for entry in reply.get("Errors", ()):
        named = _named_offering(request, entry.get("LaunchTemplateAndOverrides", {}).get("Overrides", {}))
        # an entry without an override speaks of the whole request
        for offering in (named,) if named else request.offerings:
            code = str(entry.get("ErrorCode", ""))
            errors.append(LaunchError(offering, code, str(entry.get("ErrorMessage", "")), kind_of(code)))
    request_id = str(reply.get("ResponseMetadata", {}).get("RequestId", ""))
    return LaunchResult(tuple(instances), tuple(errors), request_id)


def refused_everywhere(request: LaunchRequest, code: str, message: str, request_id: str) -> LaunchResult:
    """A shortage that EC2 answered for the whole call: true of each of its offerings."""
    kind = kind_of(code)
    errors = tuple(LaunchError(offering, code, message, kind) for offering in request.offerings)
    return LaunchResult((), errors, request_id, is_refusal=True)


def _override(request: LaunchRequest, rank: int) -> dict[str, Any]:
    offering = request.offerings[rank]
    override: dict[str, Any] = {"InstanceType": offering.instance_type, "SubnetId": offering.subnet}
    if request.strategy is AllocationStrategy.PRIORITIZED:
        override["Priority"] = float(rank)
    if request.max_price is not None and request.market is Market.SPOT:
        override["MaxPrice"] = f"{request.max_price:.6f}".rstrip("0").rstrip(".")
    return override


def _all_or_nothing(request: LaunchRequest) -> dict[str, Any]:
    if request.minimum <= 1:
        return {}
    if request.minimum > MINIMUM_MAX:
        raise ConfigurationError(f"EC2 guarantees at most {MINIMUM_MAX} instances in one call, not {request.minimum}")
    if len({offering.instance_type for offering in request.offerings}) == 1:
        return {"MinTargetCapacity": request.minimum, "SingleInstanceType": True}
    if len({offering.subnet for offering in request.offerings}) == 1:
        return {"MinTargetCapacity": request.minimum, "SingleAvailabilityZone": True}
    raise ConfigurationError(
        f"queue {request.queue}, compute resource {request.compute_resource}: EC2 launches all or nothing only with "
        "one instance type or one subnet"
    )


def _marks(launch: Launch, cluster_name: str) -> list[dict[str, str]]:
    request = launch.request
    marks = {
        tags.CLUSTER: cluster_name,
        tags.COMPUTE_RESOURCE: request.compute_resource,
        tags.QUEUE: request.queue,
        tags.LAUNCH_TOKEN: launch.token,
        "parallelcluster:cluster-name": cluster_name,
        "parallelcluster:compute-resource-name": request.compute_resource,
        "parallelcluster:node-type": "Compute",
        "parallelcluster:queue-name": request.queue,
    }
    if request.jobs:
        marks[tags.JOBS] = _joined([str(job) for job in request.jobs])
    marks |= {tags.JOB_TAGS[tag]: tags.value_of(value) for tag, value in request.job_tags.values}
    if request.job_tags.is_shared:
        marks[tags.SHARED] = "true"
    return [{"Key": key, "Value": value} for key, value in sorted(marks.items())]


def _joined(words: list[str]) -> str:
    """As many words as a tag's value holds."""
    text = " ".join(words)
    return text if len(text) <= tags.VALUE_MAX else text[: tags.VALUE_MAX + 1].rpartition(" ")[0]


def _named_offering(request: LaunchRequest, fields: Mapping[str, Any]) -> Offering | None:
    for offering in request.offerings:
        if (fields.get("InstanceType"), fields.get("SubnetId")) == (offering.instance_type, offering.subnet):
            return offering
    return None
