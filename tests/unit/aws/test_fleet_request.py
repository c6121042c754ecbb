"""What a launch asks of CreateFleet, and what its reply says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from clustermgtd.adapters.aws.fleet_request import create_fleet_parameters, launch_result
from clustermgtd.errors import ConfigurationError
from clustermgtd.model.claim import AllocationStrategy, Launch, LaunchedInstance, LaunchError, LaunchRequest
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import InstanceId, JobId
from clustermgtd.model.job import JobTag, JobTags
from clustermgtd.model.offering import Market, Offering
from tests.contract.aws.builders import a_launch, a_request, an_offering

EC2 = botocore.session.get_session().get_service_model("ec2")


def parameters_of(request: LaunchRequest) -> dict[str, Any]:
    """CreateFleet's parameters, which EC2's own model accepts."""
    parameters = create_fleet_parameters(a_launch(request=request), "demo")
    report = ParamValidator().validate(parameters, EC2.operation_model("CreateFleet").input_shape)
    assert not report.has_errors(), report.generate_report()
    for options, shape in (
        ("SpotOptions", "SpotAllocationStrategy"),
        ("OnDemandOptions", "FleetOnDemandAllocationStrategy"),
    ):
        if options in parameters:
            assert parameters[options]["AllocationStrategy"] in EC2.shape_for(shape).enum
    kinds = EC2.shape_for("DefaultTargetCapacityType").enum
    assert parameters["TargetCapacitySpecification"]["DefaultTargetCapacityType"] in kinds
    return parameters


def spot(*types: str, **changes: Any) -> LaunchRequest:
    return a_request(*(an_offering(one, market=Market.SPOT) for one in types or ("c5.large",)), **changes)


@pytest.mark.parametrize("market", Market)
@pytest.mark.parametrize("strategy", AllocationStrategy)
def test_every_market_and_strategy_makes_a_request_that_ec2_knows(market: Market, strategy: AllocationStrategy) -> None:
    request = a_request(an_offering(market=market), an_offering("c5a.large", market=market), strategy=strategy)
    assert parameters_of(request)["Type"] == "instant"


def test_the_token_makes_the_call_idempotent_and_the_request_repeatable() -> None:
    launch = a_launch("clmgtd-0badcafe-1-7", a_request(count=7))
    assert create_fleet_parameters(launch, "demo")["ClientToken"] == "clmgtd-0badcafe-1-7"
    later = replace(launch, version=4, attempts=3, last_attempt_at=99.0)
    assert create_fleet_parameters(later, "demo") == create_fleet_parameters(launch, "demo")


def test_overrides_are_the_offerings_in_order() -> None:
    parameters = parameters_of(a_request(an_offering("c5.large", "subnet-1"), an_offering("c5a.large", "subnet-2")))
    [config] = parameters["LaunchTemplateConfigs"]
    assert config["Overrides"] == [
        {"InstanceType": "c5.large", "SubnetId": "subnet-1"},
        {"InstanceType": "c5a.large", "SubnetId": "subnet-2"},
    ]
    assert config["LaunchTemplateSpecification"] == {"LaunchTemplateId": "lt-0123456789abcdef0", "Version": "1"}


def test_prioritized_means_the_order_of_the_offerings() -> None:
    on_demand = a_request(an_offering(), an_offering("c5a.large"), strategy=AllocationStrategy.PRIORITIZED)
    assert [one["Priority"] for one in parameters_of(on_demand)["LaunchTemplateConfigs"][0]["Overrides"]] == [0.0, 1.0]
    assert parameters_of(on_demand)["OnDemandOptions"]["AllocationStrategy"] == "prioritized"
    flexible = spot("c5.large", "c5a.large", strategy=AllocationStrategy.PRIORITIZED)
    assert parameters_of(flexible)["SpotOptions"]["AllocationStrategy"] == "capacity-optimized-prioritized"


def test_a_maximum_price_is_for_spot_only() -> None:
    [override] = parameters_of(spot(max_price=0.05))["LaunchTemplateConfigs"][0]["Overrides"]
    assert override["MaxPrice"] == "0.05"
    [override] = parameters_of(a_request(max_price=0.05))["LaunchTemplateConfigs"][0]["Overrides"]
    assert "MaxPrice" not in override


def test_all_or_nothing_needs_one_type_or_one_subnet() -> None:
    one_type = a_request(an_offering(subnet="subnet-1"), an_offering(subnet="subnet-2"), count=5, minimum=5)
    assert parameters_of(one_type)["OnDemandOptions"] == {
        "AllocationStrategy": "lowest-price",
        "CapacityReservationOptions": {"UsageStrategy": "use-capacity-reservations-first"},
        "MinTargetCapacity": 5,
        "SingleInstanceType": True,
    }
    one_subnet = spot("c5.large", "c5a.large", count=5, minimum=5)
    assert parameters_of(one_subnet)["SpotOptions"]["SingleAvailabilityZone"] is True
    neither = a_request(an_offering("c5.large", "subnet-1"), an_offering("c5a.large", "subnet-2"), count=5, minimum=5)
    with pytest.raises(ConfigurationError, match="queue q1, compute resource c5"):
        create_fleet_parameters(a_launch(request=neither), "demo")
    with pytest.raises(ConfigurationError, match="at most 1000"):
        create_fleet_parameters(a_launch(request=a_request(count=1001, minimum=1001)), "demo")


def test_instances_and_volumes_are_marked_from_the_first_moment() -> None:
    request = replace(a_request(), jobs=(JobId(7), JobId(8)))
    specifications = parameters_of(request)["TagSpecifications"]
    assert [one["ResourceType"] for one in specifications] == ["fleet", "instance", "volume"]
    for one in specifications:
        assert {tag["Key"]: tag["Value"] for tag in one["Tags"]} == {
            "clustermgtd:launch-token": "clmgtd-0badcafe-1-1",
            "clustermgtd:cluster": "demo",
            "clustermgtd:queue": "q1",
            "clustermgtd:compute-resource": "c5",
            "clustermgtd:jobs": "7 8",
            "parallelcluster:cluster-name": "demo",
            "parallelcluster:node-type": "Compute",
            "parallelcluster:queue-name": "q1",
            "parallelcluster:compute-resource-name": "c5",
        }


def test_a_job_is_shown_in_characters_that_ec2_takes() -> None:
    values = ((JobTag.ACCOUNT, "R&D<caf\u00e9>"), (JobTag.USER, "u" * 300))
    request = replace(a_request(), job_tags=JobTags(values, is_shared=True))
    tags = {tag["Key"]: tag["Value"] for tag in parameters_of(request)["TagSpecifications"][1]["Tags"]}
    assert tags["clustermgtd:account"] == "R_D_caf\u00e9_"
    assert tags["clustermgtd:user"] == "u" * 256
    assert tags["clustermgtd:shared"] == "true"


def test_a_thousand_jobs_do_not_break_a_tag() -> None:
    request = replace(a_request(), jobs=tuple(JobId(number) for number in range(1000)))
    [value] = [tag["Value"] for tag in parameters_of(request)["TagSpecifications"][0]["Tags"] if "jobs" in tag["Key"]]
    assert len(value) <= 256
    assert value.split() == [str(number) for number in range(len(value.split()))]


def an_entry(offering: Offering, **fields: Any) -> dict[str, Any]:
    overrides = {"InstanceType": offering.instance_type, "SubnetId": offering.subnet, "AvailabilityZone": "z-1"}
    return {"LaunchTemplateAndOverrides": {"Overrides": overrides}} | fields


def test_each_entry_of_a_reply_belongs_to_its_own_offering() -> None:
    first, second, third = offerings = [an_offering(one) for one in ("c5.large", "c5a.large", "c5n.large")]
    reply = {
        "Instances": [
            an_entry(first, InstanceIds=["i-1", "i-2"]),
            an_entry(second, InstanceIds=["i-3"]),
        ],
        "Errors": [
            an_entry(second, ErrorCode="InsufficientInstanceCapacity", ErrorMessage="short"),
            an_entry(third, ErrorCode="RequestLimitExceeded", ErrorMessage="slower"),
        ],
        "ResponseMetadata": {"RequestId": "req-1"},
    }
    result = launch_result(a_request(*offerings), reply)
    assert result.instances == (
        LaunchedInstance(InstanceId("i-1"), first, "z-1"),
        LaunchedInstance(InstanceId("i-2"), first, "z-1"),
        LaunchedInstance(InstanceId("i-3"), second, "z-1"),
    )
    assert result.errors == (
        LaunchError(second, "InsufficientInstanceCapacity", "short", FailureKind.CAPACITY),
        LaunchError(third, "RequestLimitExceeded", "slower", FailureKind.THROTTLED),
    )
    assert result.request_id == "req-1"


def test_an_error_without_an_override_is_every_offering_s() -> None:
    offerings = (an_offering("c5.large"), an_offering("c5a.large"))
    result = launch_result(a_request(*offerings), {"Errors": [{"ErrorCode": "InvalidParameterValue"}]})
    assert [(error.offering, error.kind) for error in result.errors] == [
        (offering, FailureKind.CONFIGURATION) for offering in offerings
    ]


def test_a_reply_with_neither_is_a_result_with_neither() -> None:
    launch: Launch = a_launch()
    result = launch_result(launch.request, {"FleetId": "fleet-1"})
    assert (result.instances, result.errors) == ((), ())
