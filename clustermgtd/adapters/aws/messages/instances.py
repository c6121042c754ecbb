"""Events that name one instance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from clustermgtd.adapters.aws.messages.envelope import (
    Envelope,
    EventKey,
    InstanceIdText,
    Parser,
    Part,
    Time,
    Word,
    epoch_s,
)
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.instance import InstanceState
from clustermgtd.model.notice import Notice, NoticeAction, NoticeKind, NoticeSource

WARNING_S = 120.0
"""Between an interruption warning and the interruption, unless the instance hibernates."""

_STATE_ACTIONS: Mapping[InstanceState, NoticeAction] = {
    InstanceState.STOPPING: NoticeAction.STOP,
    InstanceState.STOPPED: NoticeAction.STOP,
    InstanceState.SHUTTING_DOWN: NoticeAction.TERMINATE,
    InstanceState.TERMINATED: NoticeAction.TERMINATE,
}


class _OneInstance(Part):
    instance_id: Annotated[InstanceIdText, Field(alias="instance-id")]


class _Interruption(_OneInstance):
    action: Annotated[Literal["terminate", "stop", "hibernate"], Field(alias="instance-action")]
    ends_at: Annotated[Time | None, Field(alias="instance-termination-time")] = None


class _StateChange(_OneInstance):
    state: InstanceState


class _FleetChange(_OneInstance):
    sub_type: Annotated[Word, Field(alias="sub-type")]


def spot_interruption(event: Envelope, region: str) -> tuple[Notice, ...]:
    """`EC2 Spot Instance Interruption Warning`."""
    return _interruption(event, region, NoticeKind.SPOT_INTERRUPTION)


def reservation_interruption(event: Envelope, region: str) -> tuple[Notice, ...]:
    """`EC2 Capacity Reservation Instance Interruption Warning`, of interruptible capacity reservations."""
    return _interruption(event, region, NoticeKind.RESERVATION_INTERRUPTION)


def rebalance(event: Envelope, region: str) -> tuple[Notice, ...]:
    """`EC2 Instance Rebalance Recommendation`."""
    detail = _OneInstance.model_validate(event.detail)
    if event.region != region:
        return ()
    return (_notice(event, NoticeKind.REBALANCE, detail.instance_id, NoticeAction.NONE, None),)


def state_change(event: Envelope, region: str) -> tuple[Notice, ...]:
    """`EC2 Instance State-change Notification`. A state that is a beginning closes what was announced before."""
    detail = _StateChange.model_validate(event.detail)
    if event.region != region:
        return ()
    action = _STATE_ACTIONS.get(detail.state, NoticeAction.NONE)
    return (
        Notice(
            id=event.id,
            kind=NoticeKind.STATE_CHANGE,
            announced_at=event.announced_at,
            source=NoticeSource.QUEUE,
            instances=(InstanceId(detail.instance_id),),
            action=action,
            effective_at=event.announced_at,
            state=detail.state,
            is_over=action is NoticeAction.NONE,
        ),
    )


def fleet_instance_change(event: Envelope, region: str) -> tuple[Notice, ...]:
    """`EC2 Fleet Instance Change` and Spot Fleet's. Fleets of type instant, which this project makes, send none."""
    detail = _FleetChange.model_validate(event.detail)
    if event.region != region or detail.sub_type not in ("termination_notified", "terminated"):
        return ()
    warned_s = WARNING_S if detail.sub_type == "termination_notified" else 0.0
    return (
        _notice(
            event,
            NoticeKind.FLEET_TERMINATION,
            detail.instance_id,
            NoticeAction.TERMINATE,
            event.announced_at + warned_s,
        ),
    )


def _interruption(event: Envelope, region: str, kind: NoticeKind) -> tuple[Notice, ...]:
    detail = _Interruption.model_validate(event.detail)
    if event.region != region:
        return ()
    action = NoticeAction(detail.action)
    warned_s = 0.0 if action is NoticeAction.HIBERNATE else WARNING_S
    ends_at = epoch_s(detail.ends_at)
    effective_at = event.announced_at + warned_s if ends_at is None else ends_at
    return (_notice(event, kind, detail.instance_id, action, effective_at),)


def _notice(
    event: Envelope, kind: NoticeKind, instance_id: str, action: NoticeAction, effective_at: float | None
) -> Notice:
    return Notice(
        id=event.id,
        kind=kind,
        announced_at=event.announced_at,
        source=NoticeSource.QUEUE,
        instances=(InstanceId(instance_id),),
        action=action,
        effective_at=effective_at,
    )


PARSERS: Mapping[EventKey, Parser] = {
    ("0", "aws.ec2", "EC2 Spot Instance Interruption Warning"): spot_interruption,
    ("0", "aws.ec2", "EC2 Instance Rebalance Recommendation"): rebalance,
    ("0", "aws.ec2", "EC2 Instance State-change Notification"): state_change,
    # one page of the documentation, two editions of it
    ("0", "aws.ec2", "EC2 Capacity Reservation Instance Interruption Warning"): reservation_interruption,
    ("0", "aws.ec2", "EC2 Interruptible Capacity Reservation Instance Interruption Warning"): reservation_interruption,
    ("0", "aws.ec2fleet", "EC2 Fleet Instance Change"): fleet_instance_change,
    ("0", "aws.ec2spotfleet", "EC2 Spot Fleet Instance Change"): fleet_instance_change,
}
