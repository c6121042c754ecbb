"""What the log says about nodes that schedules want."""

from __future__ import annotations

from structlog.testing import capture_logs

from clustermgtd.model.ids import NodeName
from clustermgtd.model.schedule import ScheduleName
from clustermgtd.model.snapshot import Memory, Plan
from clustermgtd.model.warm import WarmStatus
from clustermgtd.reconcile.warm_log import WarmLog
from tests.builders import KEY, NOW, a_snapshot

OFFICE, NIGHT = ScheduleName("office"), ScheduleName("night")


def wanting(wanted: int, up: int, schedule: ScheduleName = OFFICE) -> WarmStatus:
    return WarmStatus(KEY, schedule, NOW + 60, wanted, up, tuple(NodeName(f"n{i}") for i in range(min(wanted, up))))


def said(log: WarmLog, *statuses: WarmStatus) -> list[tuple[str, str]]:
    """Events and schedules of one tick."""
    with capture_logs() as lines:
        log.tick_done(a_snapshot(), Plan((), Memory(), 0, warm=statuses), 0.1)
    return [(line["event"], line["schedule"]) for line in lines]


def test_a_window_is_said_when_it_begins_is_served_and_ends() -> None:
    log = WarmLog()
    assert said(log, WarmStatus(KEY, up=1)) == []
    assert said(log, wanting(2, 1)) == [("warm_nodes_wanted", "office")]
    assert said(log, wanting(2, 1)) == []
    assert said(log, wanting(2, 2)) == [("warm_nodes_up", "office")]
    assert said(log, wanting(2, 3)) == []
    assert said(log, WarmStatus(KEY, up=3)) == [("warm_nodes_released", "office")]
    assert said(log, WarmStatus(KEY)) == []


def test_another_schedule_that_wants_more_is_said_and_what_came_back_too() -> None:
    log = WarmLog()
    assert said(log, wanting(2, 2)) == [("warm_nodes_wanted", "office"), ("warm_nodes_up", "office")]
    assert said(log, wanting(3, 2, NIGHT)) == [("warm_nodes_wanted", "night")]
    assert said(log, wanting(3, 3, NIGHT)) == [("warm_nodes_up", "night")]
    assert said(log, wanting(3, 2, NIGHT)) == []
    assert said(log, wanting(3, 3, NIGHT)) == [("warm_nodes_up", "night")]


def test_a_schedule_that_left_the_file_releases_its_nodes() -> None:
    log = WarmLog()
    said(log, wanting(2, 2))
    assert said(log) == [("warm_nodes_released", "office")]
