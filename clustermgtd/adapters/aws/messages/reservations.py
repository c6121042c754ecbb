"""Events that name a capacity reservation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from clustermgtd.adapters.aws.messages.envelope import Envelope, EventKey, Parser, Part, Time, epoch_s
from clustermgtd.model.notice import Notice, NoticeAction, NoticeKind, NoticeSource

ENDS_EARLY_S = 1800.0
"""EC2 begins to end a capacity block's instances so long before the block's end."""
WARNING_S = 600.0
"""Between the warning and that moment."""


class _Reservation(Part):
    id: Annotated[str, Field(alias="capacity-reservation-id", pattern=r"^cr-[0-9a-z]{1,40}$")]
    ends_at: Annotated[Time | None, Field(alias="end-date")] = None


def block_delivered(event: Envelope, region: str) -> tuple[Notice, ...]:
    """`Capacity Block Reservation Delivered`: launches that failed until now will succeed; nothing ends."""
    _Reservation.model_validate(event.detail)
    del region
    return ()


def block_ending(event: Envelope, region: str) -> tuple[Notice, ...]:
    """`Capacity Block Reservation Expiration Warning`, forty minutes before the end."""
    detail = _Reservation.model_validate(event.detail)
    if event.region != region:
        return ()
    ends_at = epoch_s(detail.ends_at)
    return (
        Notice(
            id=event.id,
            kind=NoticeKind.RESERVATION_ENDING,
            announced_at=event.announced_at,
            source=NoticeSource.QUEUE,
            reservation=detail.id,
            action=NoticeAction.TERMINATE,
            effective_at=event.announced_at + WARNING_S if ends_at is None else ends_at - ENDS_EARLY_S,
        ),
    )


# The documentation's text leaves out the first word that its schema registry has.
PARSERS: Mapping[EventKey, Parser] = {
    ("0", "aws.ec2", f"{prefix}Capacity Block Reservation {what}"): parser
    for prefix in ("", "EC2 ")
    for what, parser in (("Delivered", block_delivered), ("Expiration Warning", block_ending))
}
