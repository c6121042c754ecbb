"""`Schedules`: times at which nodes are kept warm, as cron has them; and where in them a moment is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import Field

from clustermgtd.model.schedule import ScheduleName, ScheduleTime
from clustermgtd.settings.section import Finding, ResourceName, Section, repeated

_FIELDS = 5
_FAR_S = 3 * 3600.0
"""A search that begins within the hour that comes twice when clocks are put back skips what that hour has, or finds it
a second time; so each begins this far from the moment that is asked about. More than any clock is put back."""
_SOME_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)


class WarmCount(Section):
    """Nodes of one compute resource."""

    queue: ResourceName
    """Name of the queue."""
    compute_resource: ResourceName
    """Name of one of its compute resources."""
    min_count: Annotated[int, Field(ge=1)]
    """As many are up at least, static and busy ones among them; at most MaxCount."""


class Schedule(Section):
    """A time at which nodes are up before anybody needs them."""

    cron: str
    """When it begins: minute, hour, day of the month, month, day of the week, such as `30 7 * * mon-fri`."""
    duration_minutes: Annotated[int, Field(ge=1, le=527_040)]
    """How long it lasts, minutes that pass, whatever clocks are put back or forward meanwhile. Windows of one schedule
    that overlap are one."""
    time_zone: str = "UTC"
    """IANA name of the zone that Cron is in, such as `Europe/Berlin`. A time that the clocks skip is when they are put
    forward; one that comes twice is the first of the two."""
    warm_nodes: Annotated[tuple[WarmCount, ...], Field(min_length=1)]
    """What is up meanwhile. Where several schedules name a compute resource, the one that wants most counts."""

    def findings(self) -> Iterator[Finding]:
        if (problem := _cron_problem(self.cron)) is not None:
            yield Finding(("Cron",), f"{self.cron!r} {problem}", "minute hour day month weekday: 30 7 * * mon-fri")
        if not _is_zone(self.time_zone):
            yield Finding(("TimeZone",), f"{self.time_zone!r} is not the name of a time zone", "Europe/Berlin, UTC")
        for index, first in repeated([f"{one.queue} {one.compute_resource}" for one in self.warm_nodes]):
            yield Finding(("WarmNodes", index), f"is about the same compute resource as WarmNodes[{first}]")

    def time(self, now: float) -> ScheduleTime:
        """Where `now` (epoch seconds) is. The present window is the one that began last."""
        before, after = (datetime.fromtimestamp(now + away_s, ZoneInfo(self.time_zone)) for away_s in (-_FAR_S, _FAR_S))
        past = (begin.timestamp() for begin in CronSim(self.cron, after, reverse=True))
        future = (begin.timestamp() for begin in CronSim(self.cron, before))
        began = next((begin for begin in past if begin <= now), None)
        return ScheduleTime(
            0.0 if began is None else began + self.duration_minutes * 60.0,
            next((begin for begin in future if begin > now), float("inf")),
        )


class Calendar:
    """The site's schedules. Looking is cheap: a schedule is worked out anew only when something has changed."""

    def __init__(self, schedules: Mapping[ResourceName, Schedule]) -> None:
        self._schedules = {ScheduleName(name): schedule for name, schedule in sorted(schedules.items())}
        self._known: dict[ScheduleName, tuple[float, float, ScheduleTime]] = {}
        """From when to when which time is true."""

    def at(self, now: float) -> Mapping[ScheduleName, ScheduleTime]:
        """All schedules by name."""
        for name, schedule in self._schedules.items():
            since, until, _ = self._known.get(name, (0.0, 0.0, None))
            if not since <= now < until:
                time = schedule.time(now)
                self._known[name] = (now, time.changes_at(now), time)
        return {name: time for name, (_, _, time) in self._known.items()}


def _cron_problem(text: str) -> str | None:
    if len(text.split()) != _FIELDS:
        return f"has {len(text.split())} fields, not {_FIELDS}"
    try:
        first = next(CronSim(text, _SOME_MONDAY), None)
    except CronSimError as error:
        return f"is not a time: {str(error)[:1].lower()}{str(error)[1:]}"
    return "never comes" if first is None else None


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
