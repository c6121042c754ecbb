"""What EC2 announces to this instance, from the metadata service."""

from __future__ import annotations

import calendar
import email.utils
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from clustermgtd.errors import NotFoundError
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.notice import Notice, NoticeAction, NoticeKind, NoticeSource

_SPOT = "meta-data/spot/instance-action"
_REBALANCE = "meta-data/events/recommendations/rebalance"
_SCHEDULED = "meta-data/events/maintenance/scheduled"
_TEXT_MAX = 100
_EVENTS_MAX = 10
_OVER = frozenset({"completed", "canceled"})
_ACTIONS = {
    "terminate": NoticeAction.TERMINATE,
    "stop": NoticeAction.STOP,
    "hibernate": NoticeAction.HIBERNATE,
    "instance-reboot": NoticeAction.REBOOT,
    "system-reboot": NoticeAction.REBOOT,
    "system-maintenance": NoticeAction.MAINTENANCE,
    "instance-retirement": NoticeAction.TERMINATE,  # or a stop, where the root volume persists: gone all the same
    "instance-stop": NoticeAction.STOP,
}

WARNING_S = 120.0
"""How long before the end EC2 warns, at most."""
_MARGIN_S = 10.0
_HIBERNATION_S = 5.0
_LEAST_S = 1.0


class Metadata(Protocol):
    """The metadata service."""

    def get_dated(self, path: str) -> tuple[str, float]:
        """A text, and the epoch second at which it was given, by the service's clock where it tells it.

        Raises:
            NotFoundError, TransientError.
        """
        ...


@dataclass(frozen=True, slots=True)
class Look:
    """All announcements of one moment."""

    notices: tuple[Notice, ...]
    at: float
    """Epoch seconds by the metadata service's clock."""


class Notices:
    """Reads the three places. Absent entries are the normal case: on-demand instances have no spot notices."""

    def __init__(self, metadata: Metadata, instance: InstanceId, say: Callable[[str], None]) -> None:
        self._metadata = metadata
        self._instance = instance
        self._say = say
        self._complaints: set[str] = set()
        self._known: dict[tuple[object, ...], Notice] = {}

    def look(self) -> Look:
        """Ask now. What cannot be understood is said once and left out.

        Raises:
            TransientError: the service did not answer.
        """
        found: list[Notice] = []
        at = 0.0
        for path, parse in ((_SPOT, self._spot), (_REBALANCE, self._rebalance), (_SCHEDULED, self._scheduled)):
            try:
                text, at = self._metadata.get_dated(path)
            except NotFoundError:
                continue
            try:
                found += parse(json.loads(text), at)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                if path not in self._complaints:
                    self._complaints.add(path)
                    self._say(f"{path} is not understood ({error!r}): {text[:_TEXT_MAX]!r}")
                if path == _SPOT:  # whatever it says, it is there only when the end is near
                    found.append(self._notice(NoticeKind.SPOT_INTERRUPTION, at, NoticeAction.TERMINATE))
        self._known = {_matter(notice): notice for notice in found}
        return Look(tuple(found), at)

    def _spot(self, entry: Any, at: float) -> list[Notice]:
        action = _ACTIONS.get(entry["action"], NoticeAction.TERMINATE)
        return [self._notice(NoticeKind.SPOT_INTERRUPTION, at, action, _iso(entry["time"]))]

    def _rebalance(self, entry: Any, _at: float) -> list[Notice]:
        return [self._notice(NoticeKind.REBALANCE, _iso(entry["noticeTime"]))]

    def _scheduled(self, entries: Any, at: float) -> list[Notice]:
        found = []
        for entry in entries[:_EVENTS_MAX]:
            code = _short(entry["Code"])
            notice = self._notice(
                NoticeKind.SCHEDULED_EVENT, at, _ACTIONS.get(code, NoticeAction.MAINTENANCE), _date(entry["NotBefore"])
            )
            event = _short(entry.get("EventId", "")) or code
            notice = replace(notice, id=event, matter=event, detail=code, is_over=entry.get("State") in _OVER)
            found.append(self._known.get(_matter(notice), notice))
        return found

    def _notice(
        self, kind: NoticeKind, at: float, action: NoticeAction = NoticeAction.NONE, effective_at: float | None = None
    ) -> Notice:
        """What was seen before stays as it was first seen."""
        notice = Notice(
            str(kind), kind, at, NoticeSource.NODE_AGENT, (self._instance,), action=action, effective_at=effective_at
        )
        return self._known.get(_matter(notice), notice)


def _matter(notice: Notice) -> tuple[object, ...]:
    return (notice.kind, notice.matter, notice.action, notice.effective_at, notice.is_over)


def hook_seconds(notice: Notice, now: float, longest_s: float) -> float:
    """How long the hook may run: until shortly before the instance is taken; `now` by the metadata service's clock.

    A hibernation begins with the notice, without the two minutes.
    """
    if notice.action is NoticeAction.HIBERNATE:
        return min(_HIBERNATION_S, longest_s)
    ends_at = notice.announced_at + WARNING_S if notice.effective_at is None else notice.effective_at
    left_s = min(ends_at - now, WARNING_S)
    return min(max(left_s - _MARGIN_S, left_s / 2, _LEAST_S), longest_s)


def _short(text: Any) -> str:
    return str(text)[:_TEXT_MAX]


def _iso(text: str) -> float:
    """`2026-01-31T12:00:00Z` as epoch seconds."""
    return float(calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")))


def _date(text: str) -> float:
    """`21 Jan 2026 09:00:43 GMT` as epoch seconds."""
    return email.utils.parsedate_to_datetime(text).timestamp()
