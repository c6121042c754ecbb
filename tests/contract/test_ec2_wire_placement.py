"""Placement groups, reservations, interfaces and CPU options, seen through real boto3: each test is one sentence."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from clustermgtd.lab.ec2.scenario import ReservationSpec, load_scenario
from tests.contract.ec2_calls import A, B, errors_of, fleet, ids_of, instances, make_template, pool, refusal


@pytest.fixture
def group(ec2: Any) -> Iterator[str]:
    """A placement group of one test."""
    name = f"near-{uuid.uuid4()}"
    ec2.create_placement_group(GroupName=name, Strategy="cluster")
    yield name


def test_a_cluster_group_binds_its_instances_to_one_zone(ec2: Any, group: str) -> None:
    template = make_template(ec2, Placement={"GroupName": group})
    ids = ids_of(ec2.create_fleet(**fleet(template, pool("c5.large", A))))
    assert {one["Placement"]["GroupName"] for one in instances(ec2, InstanceIds=ids)} == {group}
    there = ec2.create_fleet(**fleet(template, pool("c5.large", B)))
    assert (ids_of(there), errors_of(there)) == ([], [("c5.large", "InvalidPlacementGroup.InUse")])
    ec2.terminate_instances(InstanceIds=ids)
    assert len(ids_of(ec2.create_fleet(**fleet(template, pool("c5.large", B))))) == 1


def test_one_launch_does_not_spread_a_cluster_group_over_zones(ec2: Any, aws_endpoints: Any, group: str) -> None:
    aws_endpoints.model(lambda m: m.set_capacity("r5.4xlarge", "us-east-1a", "on-demand", 2))
    template = make_template(ec2, Placement={"GroupName": group})
    reply = ec2.create_fleet(**fleet(template, pool("r5.4xlarge", A), pool("r5.4xlarge", B), count=4))
    assert len({one["SubnetId"] for one in instances(ec2, InstanceIds=ids_of(reply))}) == 1
    assert len(ids_of(reply)) == 2


def test_a_group_may_be_full_where_its_zone_is_not(ec2: Any, aws_endpoints: Any, group: str) -> None:
    aws_endpoints.model(lambda m: m.placement_groups.set_capacity(group, 2))
    template = make_template(ec2, Placement={"GroupName": group})
    reply = ec2.create_fleet(**fleet(template, pool("c5.large"), pool("c5d.large"), count=3))
    assert len(ids_of(reply)) == 2
    assert {code for _, code in errors_of(reply)} == {"InsufficientInstanceCapacity"}
    assert len(ids_of(ec2.create_fleet(**fleet(make_template(ec2), pool("c5.large"))))) == 1


def test_a_group_that_does_not_exist_is_an_error_of_its_override(ec2: Any) -> None:
    template = make_template(ec2, Placement={"GroupName": "none"})
    reply = ec2.create_fleet(**fleet(template, pool("c5.large")))
    assert errors_of(reply) == [("c5.large", "InvalidPlacementGroup.Unknown")]


def test_a_reservation_counts_what_runs_in_it(ec2: Any, aws_endpoints: Any) -> None:
    id = f"cr-{uuid.uuid4().hex}"
    aws_endpoints.model(lambda m: m.reservations.add(id, ReservationSpec("m5.8xlarge", "us-east-1a", 2, targeted=True)))
    template = make_template(
        ec2, CapacityReservationSpecification={"CapacityReservationTarget": {"CapacityReservationId": id}}
    )
    (first,) = ids_of(ec2.create_fleet(**fleet(template, pool("m5.8xlarge"))))

    def available() -> int:
        (shown,) = ec2.describe_capacity_reservations(CapacityReservationIds=[id])["CapacityReservations"]
        return int(shown["AvailableInstanceCount"])

    assert available() == 1
    assert errors_of(ec2.create_fleet(**fleet(template, pool("m5.8xlarge"), count=2))) == [
        ("m5.8xlarge", "ReservationCapacityExceeded")
    ]
    assert available() == 0
    ec2.terminate_instances(InstanceIds=[first])
    assert available() == 1


def test_a_reservation_is_for_its_own_type_zone_and_market(ec2: Any, aws_endpoints: Any) -> None:
    id = f"cr-{uuid.uuid4().hex}"
    aws_endpoints.model(lambda m: m.reservations.add(id, ReservationSpec("m5.8xlarge", "us-east-1a", 2, targeted=True)))
    target = {"CapacityReservationTarget": {"CapacityReservationId": id}}
    template = make_template(ec2, CapacityReservationSpecification=target)
    for override in (pool("c5.large"), pool("m5.8xlarge", B)):
        assert [code for _, code in errors_of(ec2.create_fleet(**fleet(template, override)))] == [
            "InvalidParameterValue"
        ]
    block = fleet(template, pool("m5.8xlarge"), market="capacity-block")
    assert errors_of(ec2.create_fleet(**block)) == [("m5.8xlarge", "InvalidParameterCombination")]


def test_a_launch_in_a_reservation_needs_no_capacity_outside(ec2: Any, aws_endpoints: Any) -> None:
    spec = ReservationSpec("m5.12xlarge", "us-east-1a", 1)
    aws_endpoints.model(lambda m: m.reservations.add(f"cr-{uuid.uuid4().hex}", spec))
    aws_endpoints.model(lambda m: m.set_capacity("m5.12xlarge", "us-east-1a", "on-demand", 0))
    reply = ec2.create_fleet(**fleet(make_template(ec2), pool("m5.12xlarge"), count=2))
    assert len(ids_of(reply)) == 1
    assert errors_of(reply) == [("m5.12xlarge", "InsufficientInstanceCapacity")]


def test_reservations_are_found_by_what_they_are(ec2: Any, aws_endpoints: Any) -> None:
    id = f"cr-{uuid.uuid4().hex}"
    spec = ReservationSpec("p5.48xlarge", "us-east-1c", 8, kind="capacity-block", starts_at=4e9, ends_at=4.1e9)
    aws_endpoints.model(lambda m: m.reservations.add(id, spec))
    filters = [{"Name": "instance-type", "Values": ["p5.48xlarge"]}, {"Name": "state", "Values": ["scheduled"]}]
    (found,) = ec2.describe_capacity_reservations(Filters=filters)["CapacityReservations"]
    assert (found["CapacityReservationId"], found["ReservationType"]) == (id, "capacity-block")
    assert found["EndDate"] > found["StartDate"]
    assert refusal(ec2.describe_capacity_reservations, CapacityReservationIds=["cr-0"])[0] == (
        "InvalidCapacityReservationId.NotFound"
    )


def test_security_groups_belong_to_interfaces_or_to_the_instance(ec2: Any) -> None:
    data = {"ImageId": "ami-1", "SecurityGroupIds": ["sg-1"], "NetworkInterfaces": [{"DeviceIndex": 0}]}
    code, _ = refusal(ec2.create_launch_template, LaunchTemplateName=f"lt-{uuid.uuid4()}", LaunchTemplateData=data)
    assert code == "InvalidParameterCombination"


def test_several_interfaces_get_no_public_address(ec2: Any) -> None:
    interfaces = [
        {"DeviceIndex": 0, "NetworkCardIndex": 0, "AssociatePublicIpAddress": True},
        {"DeviceIndex": 1, "NetworkCardIndex": 1},
    ]
    reply = ec2.create_fleet(**fleet(make_template(ec2, NetworkInterfaces=interfaces), pool("p4d.24xlarge")))
    assert errors_of(reply) == [("p4d.24xlarge", "InvalidParameterCombination")]


@pytest.mark.parametrize("kind", ["c5.2xlarge", "hpc6a.48xlarge"])
def test_cpu_options_that_a_type_does_not_have_are_an_error_of_its_override(ec2: Any, kind: str) -> None:
    template = make_template(ec2, CpuOptions={"CoreCount": 48, "ThreadsPerCore": 1})
    assert errors_of(ec2.create_fleet(**fleet(template, pool(kind)))) == [(kind, "InvalidParameterCombination")]


def test_a_scenario_file_may_hold_groups_and_reservations() -> None:
    scenario = load_scenario(
        "placement_groups: {near: {capacity: 8}, far: {}}\n"
        "capacity_reservations:\n"
        "  cr-1: {type: c5.large, zone: us-east-1a, count: 2, targeted: true}\n"
    )
    assert scenario.placement_groups == {"near": 8, "far": None}
    assert scenario.capacity_reservations == {"cr-1": ReservationSpec("c5.large", "us-east-1a", 2, targeted=True)}


def a_block(ec2: Any, aws_endpoints: Any, starts_in_s: float, ends_in_s: float) -> tuple[str, str]:
    """A capacity block of two instances, and a launch template that targets it."""
    id, now = f"cr-{uuid.uuid4().hex}", time.time()
    spec = ReservationSpec(
        "p4d.24xlarge", "us-east-1a", 2, kind="capacity-block", starts_at=now + starts_in_s, ends_at=now + ends_in_s
    )
    aws_endpoints.model(lambda m: m.reservations.add(id, spec))
    template = make_template(
        ec2,
        CapacityReservationSpecification={"CapacityReservationTarget": {"CapacityReservationId": id}},
        InstanceMarketOptions={"MarketType": "capacity-block"},
    )
    return id, template


def launch(ec2: Any, template: str) -> Any:
    return ec2.create_fleet(**fleet(template, pool("p4d.24xlarge"), market="capacity-block"))


@pytest.mark.parametrize(
    ("starts_in_s", "ends_in_s", "code"),
    [
        (3600, 90_000, "InvalidCapacityReservationState.PendingActivation"),
        (-90_000, -1, "CapacityReservationNotActive"),
        (-90_000, 1700, "ReservationCapacityExceeded"),
    ],
)
def test_a_capacity_block_gives_nothing_outside_of_its_time(
    ec2: Any, aws_endpoints: Any, starts_in_s: float, ends_in_s: float, code: str
) -> None:
    _, template = a_block(ec2, aws_endpoints, starts_in_s, ends_in_s)
    assert errors_of(launch(ec2, template)) == [("p4d.24xlarge", code)]


def test_ec2_ends_a_capacity_blocks_instances_half_an_hour_before_its_end(ec2: Any, aws_endpoints: Any) -> None:
    _, template = a_block(ec2, aws_endpoints, -3600, 1800 + 2)
    ids = ids_of(launch(ec2, template))
    assert len(ids) == 1
    deadline = time.monotonic() + 20
    while (shown := instances(ec2, InstanceIds=ids)[0])["State"]["Name"] in ("pending", "running"):
        assert time.monotonic() < deadline, "the instance outlived its block"
        time.sleep(0.1)
    assert shown["StateReason"]["Code"] == "Server.CapacityBlockEnded"


def test_reservations_are_shown_in_pages(ec2: Any, aws_endpoints: Any) -> None:
    ids = sorted(a_block(ec2, aws_endpoints, -60, 90_000)[0] for _ in range(5))
    pages = ec2.get_paginator("describe_capacity_reservations").paginate(
        CapacityReservationIds=ids, PaginationConfig={"PageSize": 2}
    )
    shown = [[one["CapacityReservationId"] for one in page["CapacityReservations"]] for page in pages]
    assert [len(page) for page in shown] == [2, 2, 1]
    assert sorted(id for page in shown for id in page) == ids
