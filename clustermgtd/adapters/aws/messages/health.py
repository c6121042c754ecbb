"""AWS Health: scheduled changes of EC2 instances."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field

from clustermgtd.adapters.aws.messages.envelope import Envelope, EventKey, Parser, Part, Time, Word, epoch_s
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.notice import Notice, NoticeAction, NoticeKind, NoticeSource

_INSTANCE = re.compile(r"(?:^|/)(i-[0-9a-f]{8,17})$")
_OVER = frozenset({"RESOLVED", "UNIMPAIRED"})

_ACTIONS: tuple[tuple[str, NoticeAction], ...] = (
    ("_PERSISTENT_INSTANCE_RETIREMENT", NoticeAction.STOP),
    ("_RETIREMENT", NoticeAction.TERMINATE),
    ("_TERMINATION", NoticeAction.TERMINATE),
    ("_STOP", NoticeAction.STOP),
    ("_REBOOT", NoticeAction.REBOOT),
)
"""Parts of an event type code, the first that fits counts: an instance whose root volume persists is stopped only."""


class _Entity(Part):
    value: Annotated[str, Field(alias="entityValue", max_length=1300)]
    status: Word = ""


class _Detail(Part):
    event_arn: Annotated[str, Field(alias="eventArn", min_length=1, max_length=1600)]
    service: Word
    code: Annotated[Word, Field(alias="eventTypeCode")]
    category: Annotated[Word, Field(alias="eventTypeCategory")]
    region: Annotated[Word, Field(alias="eventRegion")] = ""
    """The one that is hit; the event's own `region` is where it was delivered."""
    starts_at: Annotated[Time | None, Field(alias="startTime")] = None
    updated_at: Annotated[Time | None, Field(alias="lastUpdatedTime")] = None
    status: Annotated[Word, Field(alias="statusCode")] = ""
    entities: Annotated[tuple[_Entity, ...], Field(alias="affectedEntities", max_length=20_000)] = ()


def scheduled_change(event: Envelope, region: str) -> tuple[Notice, ...]:
    """`AWS Health Event`. One notice for the instances that are concerned, one for those that are not any more."""
    detail = _Detail.model_validate(event.detail)
    if detail.service != "EC2" or detail.category != "scheduledChange" or (detail.region or event.region) != region:
        return ()
    entities = dict(_entities(event, detail))
    is_closed = detail.status == "closed"
    over = tuple(sorted(id for id, status in entities.items() if is_closed or status in _OVER))
    coming = tuple(sorted(entities.keys() - set(over)))
    return tuple(
        Notice(
            id=event.id,
            kind=NoticeKind.SCHEDULED_EVENT,
            announced_at=epoch_s(detail.updated_at) or event.announced_at,
            source=NoticeSource.QUEUE,
            instances=instances,
            action=action_of(detail.code),
            effective_at=epoch_s(detail.starts_at),
            matter=detail.event_arn.rpartition("/")[2],
            is_over=is_over,
            detail=detail.code,
        )
        for instances, is_over in ((coming, False), (over, True))
        if instances
    )


def action_of(code: str) -> NoticeAction:
    """What EC2 does at a scheduled change of this type."""
    return next((action for part, action in _ACTIONS if part in code), NoticeAction.MAINTENANCE)


def _entities(event: Envelope, detail: _Detail) -> Iterator[tuple[InstanceId, str]]:
    named = [(entity.value, entity.status) for entity in detail.entities]
    resources = (event.resources,) if isinstance(event.resources, str) else event.resources
    for value, status in named or [(str(resource), "") for resource in resources]:
        match = _INSTANCE.search(value)
        if match:
            yield InstanceId(match[1]), status


PARSERS: Mapping[EventKey, Parser] = {("0", "aws.health", "AWS Health Event"): scheduled_change}
