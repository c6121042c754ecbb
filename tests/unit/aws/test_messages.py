"""What each kind of event says, and what happens to everything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustermgtd.adapters.aws.messages import BODY_MAX, PARSERS, read
from clustermgtd.adapters.aws.messages.health import action_of
from clustermgtd.model.instance import InstanceState
from clustermgtd.model.notice import Notice, NoticeAction, NoticeKind, NoticeSource
from clustermgtd.ports.notice_queue import Verdict
from tests.event_messages import (
    AT,
    REGION,
    an_event,
    arn,
    block_ending,
    fleet_change,
    health,
    instance_id,
    iso,
    rebalance,
    reservation_interruption,
    spot_warning,
    state_change,
)

A, B, C = instance_id(1), instance_id(2), instance_id(3)


def notices(event: dict[str, Any], region: str = REGION) -> tuple[Notice, ...]:
    reading = read(json.dumps(event), region)
    assert reading.verdict in (Verdict.NOTICES, Verdict.NO_NEWS), reading
    assert (reading.verdict is Verdict.NOTICES) == bool(reading.notices)
    return reading.notices


def notice(event: dict[str, Any]) -> Notice:
    (only,) = notices(event)
    assert only.source is NoticeSource.QUEUE
    assert only.id == event["id"]
    return only


def test_a_spot_instance_ends_two_minutes_after_its_warning() -> None:
    found = notice(spot_warning(A))
    assert (found.kind, found.instances, found.action) == (NoticeKind.SPOT_INTERRUPTION, (A,), NoticeAction.TERMINATE)
    assert (found.announced_at, found.effective_at) == (AT, AT + 120)


def test_a_spot_instance_that_hibernates_is_gone_at_once() -> None:
    found = notice(spot_warning(A, "hibernate"))
    assert (found.action, found.effective_at) == (NoticeAction.HIBERNATE, AT)


def test_a_rebalance_recommendation_is_advice() -> None:
    found = notice(rebalance(A))
    assert (found.kind, found.action, found.effective_at) == (NoticeKind.REBALANCE, NoticeAction.NONE, None)


@pytest.mark.parametrize(
    ("state", "action"),
    [
        ("stopping", NoticeAction.STOP),
        ("stopped", NoticeAction.STOP),
        ("shutting-down", NoticeAction.TERMINATE),
        ("terminated", NoticeAction.TERMINATE),
    ],
)
def test_a_state_that_is_an_end_is_news(state: str, action: NoticeAction) -> None:
    found = notice(state_change(A, state))
    assert (found.kind, found.state, found.action) == (NoticeKind.STATE_CHANGE, InstanceState(state), action)
    assert (found.effective_at, found.is_over) == (AT, False)


@pytest.mark.parametrize("state", ["pending", "running"])
def test_a_state_that_is_a_beginning_closes_what_was_announced(state: str) -> None:
    assert notice(state_change(A, state)).is_over


def test_news_of_one_second_is_ordered_by_how_far_the_instance_is() -> None:
    states = ["stopping", "stopped", "shutting-down", "terminated"]
    orders = [notice(state_change(A, state)).order for state in states]
    assert orders == sorted(set(orders))


def test_an_interruptible_reservation_says_when() -> None:
    found = notice(reservation_interruption(A, ends_at=AT + 95))
    assert (found.kind, found.effective_at) == (NoticeKind.RESERVATION_INTERRUPTION, AT + 95)
    assert notice(reservation_interruption(A)).effective_at == AT + 120


def test_a_capacity_block_is_cleared_half_an_hour_before_its_end() -> None:
    found = notice(block_ending("cr-0123456789abcdef0", ends_at=AT + 2400))
    assert (found.kind, found.reservation, found.instances) == (
        NoticeKind.RESERVATION_ENDING,
        "cr-0123456789abcdef0",
        (),
    )
    assert found.effective_at == AT + 600
    assert notice(block_ending("cr-0123456789abcdef0")).effective_at == AT + 600


def test_a_capacity_block_that_begins_is_no_news() -> None:
    assert notices(an_event("Capacity Block Reservation Delivered", {"capacity-reservation-id": "cr-1"})) == ()


def test_a_fleet_of_somebody_else_ends_an_instance() -> None:
    found = notice(fleet_change(A, "termination_notified"))
    assert (found.kind, found.effective_at) == (NoticeKind.FLEET_TERMINATION, AT + 120)
    assert notice(fleet_change(A, "terminated")).effective_at == AT
    assert notices(fleet_change(A, "launched")) == ()


def test_aws_health_schedules_a_change_for_several_instances() -> None:
    found = notice(health(A, arn(B), starts_at=AT + 3600))
    assert (found.kind, found.instances, found.action) == (NoticeKind.SCHEDULED_EVENT, (A, B), NoticeAction.STOP)
    assert (found.announced_at, found.effective_at) == (AT, AT + 3600)
    assert found.matter.startswith("AWS_EC2_PERSISTENT_INSTANCE_RETIREMENT_SCHEDULED_")


def test_aws_health_is_read_in_iso_dates_too_and_from_resources_alone() -> None:
    event = health(A, affectedEntities=[], startTime=iso(AT + 60))
    assert (notice(event).instances, notice(event).effective_at) == ((A,), AT + 60)


def test_instances_that_are_done_are_told_apart_from_those_that_wait() -> None:
    entities = [
        {"entityValue": A, "status": "RESOLVED"},
        {"entityValue": B, "status": "PENDING"},
        {"entityValue": C},
        {"entityValue": "vol-0123456789abcdef0", "status": "PENDING"},
    ]
    coming, over = notices(health(affectedEntities=entities))
    assert (coming.instances, coming.is_over) == ((B, C), False)
    assert (over.instances, over.is_over) == ((A,), True)


def test_a_closed_change_is_over_for_all() -> None:
    assert notice(health(A, B, statusCode="closed")).is_over


@pytest.mark.parametrize(
    "detail",
    [{"service": "RDS"}, {"eventTypeCategory": "issue"}, {"eventRegion": "eu-west-1"}, {"affectedEntities": []}],
)
def test_other_health_events_are_no_news(detail: dict[str, Any]) -> None:
    event = health(A, **detail)
    if "affectedEntities" in detail:
        event["resources"] = []
    assert notices(event) == ()


def test_the_region_that_is_hit_counts_and_not_the_one_that_told() -> None:
    event = health(A, eventRegion="eu-west-1")
    assert event["region"] == REGION
    assert notices(event, "eu-west-1")[0].instances == (A,)


@pytest.mark.parametrize(
    "event",
    [spot_warning(A), rebalance(A), state_change(A, "stopped"), reservation_interruption(A), block_ending("cr-1"),
     fleet_change(A, "terminated")],
    ids=lambda event: event["detail-type"],
)  # fmt: skip
def test_another_regions_instances_are_not_ours(event: dict[str, Any]) -> None:
    assert notices(event, "eu-west-1") == ()


@pytest.mark.parametrize(
    ("code", "action"),
    [
        ("AWS_EC2_PERSISTENT_INSTANCE_RETIREMENT_SCHEDULED", NoticeAction.STOP),
        ("AWS_EC2_INSTANCE_RETIREMENT_SCHEDULED", NoticeAction.TERMINATE),
        ("AWS_EC2_INSTANCE_TERMINATION_SCHEDULED", NoticeAction.TERMINATE),
        ("AWS_EC2_INSTANCE_STOP_SCHEDULED", NoticeAction.STOP),
        ("AWS_EC2_INSTANCE_REBOOT_MAINTENANCE_SCHEDULED", NoticeAction.REBOOT),
        ("AWS_EC2_SYSTEM_REBOOT_MAINTENANCE_SCHEDULED", NoticeAction.REBOOT),
        ("AWS_EC2_INSTANCE_NETWORK_MAINTENANCE_SCHEDULED", NoticeAction.MAINTENANCE),
        ("AWS_EC2_SOMETHING_NEW", NoticeAction.MAINTENANCE),
    ],
)
def test_the_type_of_a_scheduled_change_says_what_ec2_does(code: str, action: NoticeAction) -> None:
    assert action_of(code) is action


@pytest.mark.parametrize(
    "event",
    [
        an_event("EC2 Fleet State Change", {"sub-type": "active"}, source="aws.ec2fleet"),
        an_event("Object Created", {"bucket": {"name": "b"}}, source="aws.s3"),
        spot_warning(A) | {"version": "1"},
        spot_warning(A) | {"source": "example.app"},
    ],
    ids=lambda event: f"{event['version']} {event['source']} {event['detail-type']}",
)
def test_what_nobody_reads_is_unknown(event: dict[str, Any]) -> None:
    reading = read(json.dumps(event), REGION)
    assert (reading.verdict, reading.notices) == (Verdict.UNKNOWN, ())
    assert reading.kind == f"{event['source']} {event['detail-type']}"


SECRET = "hunter2"


@pytest.mark.parametrize(
    "body",
    [
        "",
        SECRET,
        f'"{SECRET}"',
        "[" * 100_000,
        "x" * (BODY_MAX + 1),
        json.dumps({"version": "0", "password": SECRET}),
        json.dumps(spot_warning(A) | {"detail": SECRET}),
        json.dumps(spot_warning(A) | {"time": SECRET}),
        json.dumps(spot_warning(A) | {"time": 1_700_000_000}),
        json.dumps(spot_warning(A) | {"time": "1700000000"}),
        json.dumps(spot_warning(A) | {"time": "2026-01-01T00:00:00"}),
        json.dumps(spot_warning(A) | {"id": SECRET * 100}),
        json.dumps(spot_warning(f"i-{SECRET}")),
        json.dumps(spot_warning(A, SECRET)),
        json.dumps(state_change(A, SECRET)),
        json.dumps(an_event("EC2 Spot Instance Interruption Warning", {})),
        json.dumps(block_ending(f"cr-{SECRET}!")),
        json.dumps(health(A, startTime=SECRET)),
        json.dumps(health(A, startTime=f"Tue, {SECRET}")),
        json.dumps(health(A, affectedEntities=[{"entityValue": 7}])),
        json.dumps(health(A, affectedEntities=[{"entityValue": A}] * 20_001)),
    ],
    ids=range(21),
)
def test_a_bad_message_is_told_without_what_is_in_it(body: str) -> None:
    reading = read(body, REGION)
    assert (reading.verdict, reading.notices) == (Verdict.BAD, ())
    assert reading.problem
    assert SECRET not in reading.problem
    assert SECRET not in reading.kind


def test_every_registered_kind_is_of_a_known_source() -> None:
    assert {(version, source) for version, source, _ in PARSERS} == {
        ("0", "aws.ec2"),
        ("0", "aws.ec2fleet"),
        ("0", "aws.ec2spotfleet"),
        ("0", "aws.health"),
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


@given(st.sampled_from(sorted(PARSERS)), st.dictionaries(st.text(), JSON), JSON)
def test_nothing_that_is_sent_raises(key: tuple[str, str, str], detail: dict[str, Any], junk: Any) -> None:
    version, source, detail_type = key
    for value in (detail, detail | {"instance-id": A, "state": junk, "instance-action": junk, "end-date": junk}):
        event = an_event(detail_type, value, source=source, version=version)
        reading = read(json.dumps(event), REGION)
        assert all(notice.instances == (A,) for notice in reading.notices)
        assert reading.verdict is not Verdict.UNKNOWN


@given(st.text())
def test_no_text_is_a_message(body: str) -> None:
    assert read(body, REGION).verdict is Verdict.BAD
