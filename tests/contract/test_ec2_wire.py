"""CreateFleet and its limits, seen through real boto3: each test is one sentence of the contract."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError

from clustermgtd.lab.ec2.buckets import Bucket
from clustermgtd.lab.ec2.scenario import Faults, Scenario, SubnetSpec
from tests.contract.ec2_calls import (
    A,
    B,
    C,
    counts_of,
    errors_of,
    fleet,
    ids_of,
    instances,
    make_template,
    pool,
    refusal,
    wait_for_state,
)


class TestCreateFleet:
    def test_an_instant_fleet_gives_its_ids_with_type_market_and_override(self, ec2: Any, template: str) -> None:
        reply = ec2.create_fleet(**fleet(template, pool("c5.large", B), count=3))
        (group,) = reply["Instances"]
        assert reply["FleetId"].startswith("fleet-")
        assert reply["Errors"] == []
        assert len(set(group["InstanceIds"])) == 3
        assert (group["Lifecycle"], group["InstanceType"]) == ("on-demand", "c5.large")
        said = group["LaunchTemplateAndOverrides"]
        assert said["Overrides"] == {"InstanceType": "c5.large", "SubnetId": B, "AvailabilityZone": "us-east-1b"}
        assert said["LaunchTemplateSpecification"]["Version"] == "1"

    def test_the_same_token_gives_the_same_instances_however_often_it_is_used(self, ec2: Any, template: str) -> None:
        request = fleet(template, pool("c5.large"), count=2, ClientToken=str(uuid.uuid4()))
        first, second = ec2.create_fleet(**request), ec2.create_fleet(**request)
        assert ids_of(first) == ids_of(second)
        assert first["FleetId"] == second["FleetId"]

    def test_the_same_token_with_another_request_is_a_mismatch(self, ec2: Any, template: str) -> None:
        token = str(uuid.uuid4())
        ec2.create_fleet(**fleet(template, pool("c5.large"), ClientToken=token))
        other = fleet(template, pool("c5.large"), count=2, ClientToken=token)
        assert refusal(ec2.create_fleet, **other) == ("IdempotentParameterMismatch", 400)

    def test_a_mismatch_sees_parameters_that_the_model_does_not_use(self, ec2: Any, template: str) -> None:
        token = str(uuid.uuid4())
        ec2.create_fleet(**fleet(template, pool("c5.large"), ClientToken=token))
        other = fleet(template, pool("c5.large"), ClientToken=token, TerminateInstancesWithExpiration=True)
        assert refusal(ec2.create_fleet, **other) == ("IdempotentParameterMismatch", 400)

    def test_a_short_pool_gives_what_it_has_and_the_next_one_the_rest(
        self, ec2: Any, aws_endpoints: Any, template: str
    ) -> None:
        aws_endpoints.model(lambda m: m.set_capacity("m5.large", "us-east-1a", "on-demand", 2))
        reply = ec2.create_fleet(**fleet(template, pool("m5.large"), pool("m5.xlarge"), count=5))
        assert counts_of(reply) == {("m5.large", A): 2, ("m5.xlarge", A): 3}
        assert errors_of(reply) == [("m5.large", "InsufficientInstanceCapacity")]

    def test_a_fleet_without_any_capacity_is_a_success_with_errors_and_no_instances(
        self, ec2: Any, aws_endpoints: Any, template: str
    ) -> None:
        for type in ("m5.2xlarge", "m5.4xlarge"):
            aws_endpoints.model(lambda m, type=type: m.set_capacity(type, "us-east-1a", "on-demand", 0))
        reply = ec2.create_fleet(**fleet(template, pool("m5.2xlarge"), pool("m5.4xlarge"), count=2))
        assert reply["Instances"] == []
        assert errors_of(reply) == [
            ("m5.2xlarge", "InsufficientInstanceCapacity"),
            ("m5.4xlarge", "InsufficientInstanceCapacity"),
        ]

    def test_capacity_comes_back_when_instances_have_ended(self, ec2: Any, aws_endpoints: Any, template: str) -> None:
        aws_endpoints.model(lambda m: m.set_capacity("r5.large", "us-east-1a", "on-demand", 1))
        (id,) = ids_of(ec2.create_fleet(**fleet(template, pool("r5.large"))))
        assert ids_of(ec2.create_fleet(**fleet(template, pool("r5.large")))) == []
        ec2.terminate_instances(InstanceIds=[id])
        wait_for_state(ec2, id, "terminated")
        assert len(ids_of(ec2.create_fleet(**fleet(template, pool("r5.large"))))) == 1

    def test_below_the_minimum_target_nothing_is_launched(self, ec2: Any, aws_endpoints: Any, template: str) -> None:
        aws_endpoints.model(lambda m: m.set_capacity("c5.4xlarge", "us-east-1a", "on-demand", 3))
        options = {"MinTargetCapacity": 4, "SingleInstanceType": True, "SingleAvailabilityZone": True}
        request = fleet(template, pool("c5.4xlarge"), count=4, OnDemandOptions=options)
        reply = ec2.create_fleet(**request)
        assert ids_of(reply) == []
        assert errors_of(reply) == [("c5.4xlarge", "InsufficientInstanceCapacity")]
        aws_endpoints.model(lambda m: m.set_capacity("c5.4xlarge", "us-east-1a", "on-demand", 4))
        assert len(ids_of(ec2.create_fleet(**request))) == 4

    def test_a_minimum_target_goes_to_the_zone_that_has_all_of_it(
        self, ec2: Any, aws_endpoints: Any, template: str
    ) -> None:
        aws_endpoints.model(lambda m: m.set_capacity("c5.9xlarge", "us-east-1a", "on-demand", 1))
        options = {"MinTargetCapacity": 3, "SingleAvailabilityZone": True}
        reply = ec2.create_fleet(
            **fleet(template, pool("c5.9xlarge", A), pool("c5.9xlarge", B), count=3, OnDemandOptions=options)
        )
        assert counts_of(reply) == {("c5.9xlarge", B): 3}

    def test_a_minimum_target_needs_a_single_type_or_zone(self, ec2: Any, template: str) -> None:
        request = fleet(template, pool("c5.large"), count=2, OnDemandOptions={"MinTargetCapacity": 2})
        assert refusal(ec2.create_fleet, **request) == ("InvalidParameterCombination", 400)

    def test_a_minimum_target_is_at_most_a_thousand(self, ec2: Any, template: str) -> None:
        options = {"MinTargetCapacity": 1001, "SingleInstanceType": True}
        request = fleet(template, pool("c5.large"), count=2000, OnDemandOptions=options)
        assert refusal(ec2.create_fleet, **request) == ("InvalidParameterValue", 400)

    def test_a_fleet_is_at_most_ten_thousand(self, ec2: Any, template: str) -> None:
        assert refusal(ec2.create_fleet, **fleet(template, pool("c5.large"), count=10_001)) == (
            "InvalidParameterValue",
            400,
        )

    def test_two_subnets_of_one_zone_are_duplicate_pools(self, serve: Any) -> None:
        subnets = {
            "subnet-1": SubnetSpec("us-east-1a", "10.0.0.0/24"),
            "subnet-2": SubnetSpec("us-east-1a", "10.0.1.0/24"),
        }
        with serve(Scenario(subnets=subnets)) as aws:
            client = aws.client("ec2")
            request = fleet(make_template(client), pool("c5.large", "subnet-1"), pool("c5.large", "subnet-2"))
            assert refusal(client.create_fleet, **request) == ("InvalidFleetConfig", 400)
            client.close()

    def test_lowest_price_takes_the_cheapest_pool(self, ec2: Any, template: str) -> None:
        reply = ec2.create_fleet(**fleet(template, pool("c5.24xlarge"), pool("c5.large"), pool("c5.xlarge")))
        assert counts_of(reply) == {("c5.large", A): 1}

    def test_prioritized_takes_the_lowest_number_first(self, ec2: Any, template: str) -> None:
        overrides = (pool("c5.large", Priority=2), pool("c5.xlarge", Priority=1))
        reply = ec2.create_fleet(**fleet(template, *overrides, OnDemandOptions={"AllocationStrategy": "prioritized"}))
        assert counts_of(reply) == {("c5.xlarge", A): 1}

    def test_capacity_optimized_takes_the_pool_with_most_to_give(
        self, ec2: Any, aws_endpoints: Any, template: str
    ) -> None:
        aws_endpoints.model(lambda m: m.set_capacity("i3.large", "us-east-1a", "spot", 5))
        aws_endpoints.model(lambda m: m.set_capacity("i3.xlarge", "us-east-1a", "spot", 50))
        reply = ec2.create_fleet(
            **fleet(
                template,
                pool("i3.large"),
                pool("i3.xlarge"),
                market="spot",
                SpotOptions={"AllocationStrategy": "capacity-optimized"},
            )
        )
        assert counts_of(reply) == {("i3.xlarge", A): 1}

    def test_price_capacity_optimized_takes_the_cheapest_pool_that_has_enough(
        self, ec2: Any, aws_endpoints: Any, template: str
    ) -> None:
        for type, capacity in (("d3.xlarge", 3), ("d3.2xlarge", 20), ("d3.4xlarge", 500)):
            aws_endpoints.model(lambda m, t=type, n=capacity: m.set_capacity(t, "us-east-1a", "spot", n))
        reply = ec2.create_fleet(
            **fleet(
                template,
                pool("d3.4xlarge"),
                pool("d3.2xlarge"),
                pool("d3.xlarge"),
                count=10,
                market="spot",
                SpotOptions={"AllocationStrategy": "price-capacity-optimized"},
            )
        )
        assert counts_of(reply) == {("d3.2xlarge", A): 10}

    def test_diversified_spreads_over_all_pools(self, ec2: Any, template: str) -> None:
        reply = ec2.create_fleet(
            **fleet(
                template,
                pool("c5.large", A),
                pool("c5.large", B),
                pool("c5.large", C),
                count=9,
                market="spot",
                SpotOptions={"AllocationStrategy": "diversified"},
            )
        )
        assert counts_of(reply) == {("c5.large", A): 3, ("c5.large", B): 3, ("c5.large", C): 3}

    def test_weights_count_towards_the_target(self, ec2: Any, template: str) -> None:
        reply = ec2.create_fleet(**fleet(template, pool("c5.2xlarge", WeightedCapacity=4), count=10))
        assert counts_of(reply) == {("c5.2xlarge", A): 3}

    def test_one_fleet_may_mix_on_demand_and_spot(self, ec2: Any, template: str) -> None:
        request = fleet(template, pool("c5.large"))
        request["TargetCapacitySpecification"] = {
            "TotalTargetCapacity": 5,
            "OnDemandTargetCapacity": 2,
            "DefaultTargetCapacityType": "spot",
        }
        reply = ec2.create_fleet(**request)
        assert {g["Lifecycle"]: len(g["InstanceIds"]) for g in reply["Instances"]} == {"on-demand": 2, "spot": 3}

    def test_a_spot_price_below_the_market_is_an_error_of_the_override(self, ec2: Any, template: str) -> None:
        reply = ec2.create_fleet(**fleet(template, pool("c5.large", MaxPrice="0.0001"), market="spot"))
        assert errors_of(reply) == [("c5.large", "SpotMaxPriceTooLow")]

    def test_the_bound_of_a_spot_request_is_the_on_demand_price_unless_it_names_one(self, serve: Any) -> None:
        with serve(Scenario(prices={("c5.large", "us-east-1a", "spot"): 0.5})) as aws:
            ec2 = aws.client("ec2")
            template = make_template(ec2)
            reply = ec2.create_fleet(**fleet(template, pool("c5.large"), market="spot"))
            assert errors_of(reply) == [("c5.large", "SpotMaxPriceTooLow")]
            reply = ec2.create_fleet(**fleet(template, pool("c5.large", MaxPrice="0.6"), market="spot"))
            assert errors_of(reply) == []
            ec2.close()

    def test_a_template_that_does_not_exist_is_refused(self, ec2: Any) -> None:
        assert refusal(ec2.create_fleet, **fleet("nowhere", pool("c5.large"))) == (
            "InvalidLaunchTemplateName.NotFoundException",
            400,
        )

    def test_a_subnet_that_does_not_exist_is_an_error_of_the_override(self, ec2: Any, template: str) -> None:
        reply = ec2.create_fleet(**fleet(template, pool("c5.large", "subnet-0123"), pool("c5.xlarge")))
        assert errors_of(reply) == [("c5.large", "InvalidSubnetID.NotFound")]
        assert counts_of(reply) == {("c5.xlarge", A): 1}

    def test_a_dry_run_launches_nothing(self, ec2: Any, template: str) -> None:
        assert refusal(ec2.create_fleet, **fleet(template, pool("c5.large"), DryRun=True)) == ("DryRunOperation", 412)

    def test_other_kinds_of_fleet_are_not_served(self, ec2: Any, template: str) -> None:
        assert refusal(ec2.create_fleet, **{**fleet(template, pool("c5.large")), "Type": "maintain"}) == (
            "Unsupported",
            400,
        )


class TestLimits:
    def test_a_full_subnet_is_an_error_of_the_override(self, serve: Any) -> None:
        subnets = {
            A: SubnetSpec("us-east-1a", "10.0.0.0/24", free_addresses=2),
            B: SubnetSpec("us-east-1b", "10.0.1.0/28"),
        }
        with serve(Scenario(subnets=subnets)) as aws:
            client = aws.client("ec2")
            request = fleet(make_template(client), pool("c5.large", A), pool("c5.large", B), count=20)
            reply = client.create_fleet(**request)
            assert counts_of(reply) == {("c5.large", A): 2, ("c5.large", B): 11}
            assert {code for _, code in errors_of(reply)} == {"InsufficientFreeAddressesInSubnet"}
            client.close()

    def test_quotas_and_missing_offers_have_codes_of_their_own(self, serve: Any) -> None:
        scenario = Scenario(quotas={"on-demand": 8, "spot": 4}, not_offered=frozenset({("c5.large", "us-east-1b")}))
        with serve(scenario) as aws:
            client = aws.client("ec2")
            name = make_template(client)
            on_demand = client.create_fleet(**fleet(name, pool("c5.large", B), pool("c5.xlarge", A), count=3))
            assert errors_of(on_demand) == [("c5.large", "Unsupported"), ("c5.xlarge", "VcpuLimitExceeded")]
            assert len(ids_of(on_demand)) == 2
            spot = client.create_fleet(**fleet(name, pool("c5.xlarge", A), count=3, market="spot"))
            assert errors_of(spot) == [("c5.xlarge", "MaxSpotInstanceCountExceeded")]
            assert len(ids_of(spot)) == 1
            client.close()

    def test_an_image_that_does_not_exist_is_an_error_of_the_override(self, serve: Any) -> None:
        with serve(Scenario(unknown_images=frozenset({"ami-0bad"}))) as aws:
            client = aws.client("ec2")
            reply = client.create_fleet(**fleet(make_template(client, ImageId="ami-0bad"), pool("c5.large")))
            assert errors_of(reply) == [("c5.large", "InvalidAMIID.NotFound")]
            client.close()

    def test_too_many_mutating_calls_are_throttled_with_503(self, serve: Any) -> None:
        scenario = replace(Scenario(), request_buckets={"mutating": Bucket(3, 0.001)}, resource_buckets={})
        with serve(scenario) as aws:
            client = aws.client("ec2")
            request = fleet(make_template(client), pool("c5.large"))
            client.create_fleet(**request)
            client.create_fleet(**request)
            assert refusal(client.create_fleet, **request) == ("RequestLimitExceeded", 503)
            client.close()

    def test_a_fleet_larger_than_the_launch_bucket_is_met_in_part(self, serve: Any) -> None:
        scenario = replace(Scenario(), request_buckets={}, resource_buckets={"RunInstances": Bucket(10, 0.001)})
        with serve(scenario) as aws:
            client = aws.client("ec2")
            name = make_template(client)
            reply = client.create_fleet(**fleet(name, pool("c5.large"), count=12))
            assert len(ids_of(reply)) == 10
            assert errors_of(reply) == [("c5.large", "RequestLimitExceeded")]
            assert ids_of(client.create_fleet(**fleet(name, pool("c5.large")))) == []
            client.close()

    def test_more_terminations_than_the_bucket_holds_are_throttled_whole(self, serve: Any) -> None:
        scenario = replace(Scenario(), request_buckets={}, resource_buckets={"TerminateInstances": Bucket(2, 0.001)})
        with serve(scenario) as aws:
            client = aws.client("ec2")
            ids = ids_of(client.create_fleet(**fleet(make_template(client), pool("c5.large"), count=3)))
            assert refusal(client.terminate_instances, InstanceIds=ids) == ("RequestLimitExceeded", 503)
            assert {i["State"]["Name"] for i in instances(client)} == {"pending"}
            assert len(client.terminate_instances(InstanceIds=ids[:2])["TerminatingInstances"]) == 2
            client.close()

    def test_a_lost_reply_has_taken_effect_and_the_token_gets_it_back(self, serve: Any) -> None:
        with serve(Scenario(faults=Faults(reply_lost_rate=1.0))) as aws:
            client = aws.client("ec2")
            request = fleet(make_template(client), pool("c5.large"), count=2, ClientToken="t")
            with pytest.raises(ConnectionClosedError):
                client.create_fleet(**request)
            assert len(instances(client)) == 2
            assert sorted(ids_of(client.create_fleet(**request))) == sorted(i["InstanceId"] for i in instances(client))
            client.close()
