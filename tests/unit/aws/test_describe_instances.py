"""The lean reader sees what botocore's parser sees."""

from __future__ import annotations

import asyncio
from typing import Any
from xml.parsers.expat import ExpatError

import botocore.parsers
import botocore.session
import pytest
from botocore.parsers import ResponseParserError

from clustermgtd.adapters.aws.describe_instances import KnownInstances, Page, read_page
from clustermgtd.adapters.aws.parsers import ParserFactory
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.instance import Instance, InstanceState
from tests.unit.aws.replies import a_page, an_instance

SHAPE = botocore.session.get_session().get_service_model("ec2").operation_model("DescribeInstances").output_shape


def read(body: bytes, known: KnownInstances | None = None) -> Page:
    return asyncio.run(read_page(body, KnownInstances() if known is None else known))


def as_botocore_sees(body: bytes) -> tuple[list[Instance], str]:
    parser = botocore.parsers.create_parser("ec2")
    parsed = parser.parse({"status_code": 200, "headers": {}, "body": body}, SHAPE)
    instances = [_instance(one) for reservation in parsed["Reservations"] for one in reservation["Instances"]]
    return instances, parsed.get("NextToken", "")


def _instance(one: dict[str, Any]) -> Instance:
    tags = {tag["Key"]: tag["Value"] for tag in one["Tags"]}
    return Instance(
        id=one["InstanceId"],
        state=InstanceState(one["State"]["Name"]),
        token=tags["clustermgtd:launch-token"],
        launched_at=one["LaunchTime"].timestamp(),
        instance_type=one["InstanceType"],
        zone=one["Placement"]["AvailabilityZone"],
        subnet=one["SubnetId"],
        is_spot=one.get("InstanceLifecycle") == "spot",
        private_address=one.get("PrivateIpAddress", ""),
        state_reason=one.get("StateReason", {}).get("Code", ""),
        queue=tags["clustermgtd:queue"],
        compute_resource=tags["clustermgtd:compute-resource"],
        reservation=one.get("CapacityReservationId", ""),
    )


@pytest.mark.parametrize("per_reservation", [1, 4])
def test_every_field_is_what_botocore_reads(per_reservation: int) -> None:
    body = a_page(
        an_instance(1),
        an_instance(2, state="pending", address="", reservation="cr-0123456789abcdef0"),
        an_instance(3, is_spot=True, state="terminated", address="", reason="Server.SpotInstanceTermination"),
        *(an_instance(number) for number in range(4, 30)),
        next_token="more",
        per_reservation=per_reservation,
    )
    page = read(body)
    assert (page.instances, page.next_token) == as_botocore_sees(body)
    assert page.request_id == "req-1"


def test_fields_that_ec2_has_not_filled_in_are_empty() -> None:
    body = (
        b"<DescribeInstancesResponse><reservationSet><item><instancesSet><item><instanceId>i-1</instanceId>"
        b"<instanceState><name>pending</name></instanceState></item></instancesSet></item></reservationSet>"
        b"</DescribeInstancesResponse>"
    )
    page = read(body)
    assert page.instances == [Instance(InstanceId("i-1"), InstanceState.PENDING)]


def test_no_instances_is_an_empty_page() -> None:
    assert read(a_page()).instances == []


WHOLE = a_page(an_instance(1), an_instance(2), next_token="more")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        WHOLE[: len(WHOLE) // 2],
        WHOLE[:-10],
        b"<html><body>sorry</body></html>",
        WHOLE.replace(b"<name>running</name>", b"<name>dancing</name>"),
        WHOLE.replace(b"instanceId>", b"instanceNumber>"),
    ],
    ids=["empty", "half", "end missing", "another document", "unknown state", "no id"],
)
def test_what_is_not_a_whole_reply_is_an_error(body: bytes) -> None:
    parser = ParserFactory().create_parser("ec2")
    with pytest.raises(ResponseParserError):
        asyncio.run(parser.parse({"status_code": 200, "headers": {}, "body": body}, SHAPE))


def by_id(instances: list[Instance]) -> dict[InstanceId, Instance]:
    return {instance.id: instance for instance in instances}


@pytest.mark.parametrize("per_reservation", [1, 4])
def test_a_reading_after_another_sees_what_changed_what_came_and_what_went(per_reservation: int) -> None:
    known = KnownInstances()
    before = [an_instance(number) for number in range(20)]
    read(a_page(*before, next_token="more", per_reservation=per_reservation), known)
    after = [
        *(an_instance(number) for number in range(3, 9)),
        an_instance(9, state="terminated", address="", reason="Server.SpotInstanceTermination"),
        *(an_instance(number) for number in range(10, 22)),
    ]
    body = a_page(*after, next_token="other", per_reservation=per_reservation)
    page = read(body, known)
    assert (by_id(page.instances), page.next_token) == (by_id(as_botocore_sees(body)[0]), "other")
    assert len(page.instances) == len(after)


def test_an_instance_whose_text_is_known_is_the_very_same_value() -> None:
    known = KnownInstances()
    body = a_page(*(an_instance(number) for number in range(10)))
    first, second = by_id(read(body, known).instances), by_id(read(body, known).instances)
    assert first == second
    assert sum(first[id] is second[id] for id in first) == 9, "the last one is read with the end of the reply"


@pytest.mark.parametrize("body", [WHOLE[: len(WHOLE) // 2], WHOLE[:-10], WHOLE.replace(b"</reservationSet>", b"")])
def test_a_reply_that_is_not_whole_is_an_error_though_its_instances_are_known(body: bytes) -> None:
    known = KnownInstances()
    read(WHOLE, known)
    with pytest.raises((ExpatError, ValueError)):
        read(body, known)


def test_the_memory_of_texts_is_bounded() -> None:
    known = KnownInstances(size_max=16)
    for start in range(0, 200, 10):
        read(a_page(*(an_instance(number) for number in range(start, start + 10))), known)
        assert 0 < len(known) <= 16


def test_what_is_known_outlives_the_parser_because_clients_make_one_for_every_call() -> None:
    factory = ParserFactory()
    reply = {"status_code": 200, "headers": {}, "body": a_page(*(an_instance(number) for number in range(10)))}
    first, second = (asyncio.run(factory.create_parser("ec2").parse(reply, SHAPE))["Instances"] for _ in range(2))
    known = by_id(first)
    assert sum(known[instance.id] is instance for instance in second) == 9
