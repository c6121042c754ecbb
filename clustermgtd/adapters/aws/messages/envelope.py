"""What every event has around its `detail`, and the field types that details share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from clustermgtd.model.notice import Notice
from clustermgtd.ports.notice_queue import Verdict

SHOWN_MAX = 100


class Part(BaseModel):
    """A part of an event: keys that are not read are ignored, AWS adds some now and then."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_by_alias=True)


def _as_time(value: object) -> object:
    """AWS Health writes times as mail headers do, everybody else in ISO 8601; pydantic reads the latter."""
    if not isinstance(value, str) or value.isdecimal():
        raise ValueError("not a time")
    return parsedate_to_datetime(value) if "," in value[:5] else value


Time = Annotated[AwareDatetime, BeforeValidator(_as_time)]
Word = Annotated[str, Field(max_length=200)]
InstanceIdText = Annotated[str, Field(pattern=r"^i-[0-9a-f]{8,17}$")]


class Envelope(Part):
    """One event."""

    version: Annotated[str, Field(max_length=10)]
    id: Annotated[str, Field(min_length=1, max_length=200)]
    detail_type: Annotated[str, Field(alias="detail-type", max_length=200)]
    source: Annotated[str, Field(max_length=200)]
    time: Time
    region: Annotated[str, Field(max_length=50)]
    resources: Annotated[tuple[Any, ...], Field(max_length=20_000)] | str = ()
    """ARNs, or one of them."""
    detail: dict[str, Any]

    @property
    def key(self) -> EventKey:
        return (self.version, self.source, self.detail_type)

    @property
    def announced_at(self) -> float:
        """Epoch seconds."""
        return self.time.timestamp()


EventKey = tuple[str, str, str]
"""version, source, detail-type."""
Parser = Callable[[Envelope, str], tuple[Notice, ...]]
"""The notices of an event for a cluster in a Region, none if it says nothing to it. Raises ValidationError."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a message turned out to be; fields as in `ports.notice_queue.Message`."""

    verdict: Verdict
    notices: tuple[Notice, ...] = ()
    announced_at: float | None = None
    kind: str = ""
    problem: str = ""


def epoch_s(at: datetime | None) -> float | None:
    """Epoch seconds of a time that may not have been said."""
    return None if at is None else at.timestamp()


def shown(text: str) -> str:
    """The beginning of a text, with nothing in it that a terminal or a log reader would act upon."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text[:SHOWN_MAX])
