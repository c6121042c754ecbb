"""What is told of jobs that came short: once each, and the money as it is spent."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from clustermgtd.model.action import Reason, StartLaunch
from clustermgtd.model.claim import Gang, Launch
from clustermgtd.model.gang import GangEnd, HeldGang, ShortGang
from clustermgtd.model.ids import JobId
from clustermgtd.model.snapshot import Memory, Plan
from clustermgtd.reconcile.gang_watch import GangWatch
from tests.builders import NOW, a_launch, a_snapshot, dynamic

SHORT = ShortGang(JobId(7), 0, NOW)


class Counts:
    def __init__(self) -> None:
        self.held: list[tuple[int, int]] = []
        self.dollars = 0.0
        self.ends: list[GangEnd] = []

    def gangs_held(self, gangs: int, missing: int) -> None:
        self.held.append((gangs, missing))

    def gang_hold_cost(self, dollars: float) -> None:
        self.dollars += dollars

    def gang_ended(self, end: GangEnd) -> None:
        self.ends.append(end)


def tell(watch: GangWatch, *gangs: HeldGang, start: Launch | None = None) -> list[str]:
    """The events that one tick logs."""
    actions = (StartLaunch(start, Reason.TOP_UP),) if start else ()
    with capture_logs() as logs:
        watch.tick_done(a_snapshot(), Plan(actions, Memory(), 0, gangs=gangs), 0.0)
    return [str(entry["event"]) for entry in logs]


def waiting(cost: float, missing: int = 4) -> HeldGang:
    return HeldGang(SHORT, 24, missing, 60.0, cost)


def test_a_shortage_is_told_once_and_the_money_is_counted_as_it_is_spent() -> None:
    counts = Counts()
    watch = GangWatch(counts)
    assert [tell(watch, waiting(0.0)), tell(watch, waiting(1.0)), tell(watch, waiting(1.5))] == [["gang_short"], [], []]
    assert counts.held == [(1, 4)] * 3
    assert counts.dollars == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("end", "event"),
    [(GangEnd.COMPLETE, "gang_complete"), (GangEnd.TIME, "gang_released"), (GangEnd.GONE, "gang_released")],
)
def test_an_end_is_told_once_with_what_it_cost(end: GangEnd, event: str) -> None:
    counts = Counts()
    watch = GangWatch(counts)
    tell(watch, waiting(2.0))
    assert tell(watch, HeldGang(SHORT, 24, 0, 61.0, end=end)) == [event]
    assert tell(watch, HeldGang(SHORT, 24, 0, 62.0, end=GangEnd.GONE)) == []
    assert tell(watch) == []
    assert (counts.ends, counts.dollars, counts.held[-1]) == ([end], 2.0, (0, 0))


def test_a_second_shortage_of_the_same_job_is_another_one() -> None:
    counts = Counts()
    watch = GangWatch(counts)
    tell(watch, waiting(2.0))
    again = HeldGang(ShortGang(JobId(7), 0, NOW + 100), 24, 1, 0.0, 0.5)
    assert tell(watch, again) == ["gang_short"]
    assert counts.dollars == 2.5


def test_a_top_up_is_told() -> None:
    gang = Gang(JobId(7), tuple(dynamic(1)), takes_part=True, is_kept=True, is_top_up=True)
    launch = a_launch()
    request = type(launch.request)(**{n: getattr(launch.request, n) for n in launch.request.__slots__} | {"jobs": (7,)})
    start = Launch(launch.token, request, NOW, (), gangs=(gang,))
    assert tell(GangWatch(Counts()), start=start) == ["gang_topped_up"]
