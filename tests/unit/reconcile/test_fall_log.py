"""What the log says when a compute resource goes on to a lower tier, and when that is over."""

from __future__ import annotations

from dataclasses import replace

from structlog.testing import capture_logs

from clustermgtd.model.offering_memory import Fall, OfferingMemory
from clustermgtd.model.snapshot import Memory, Plan
from clustermgtd.reconcile.fall_log import FallLog
from tests.builders import KEY, NOW, a_snapshot

FALL = Fall(KEY.queue, KEY.name, 1, 2, NOW, NOW + 600, cause="no capacity for spot c5.large")


def said(log: FallLog, *falls: Fall, now: float = NOW, known: tuple[Fall, ...] = ()) -> list[tuple[str, str]]:
    """Events and causes of one tick that leaves these falls behind."""
    snapshot = replace(a_snapshot(now=now), offerings=OfferingMemory(falls=known))
    with capture_logs() as lines:
        log.tick_done(snapshot, Plan((), Memory(), 0, OfferingMemory(falls=falls)), 0.1)
    return [(line["event"], line["cause"]) for line in lines]


def test_a_fall_is_said_once_with_its_cause_and_its_end_with_the_reason() -> None:
    log = FallLog()
    assert said(log) == []
    assert said(log, FALL) == [("compute_resource_fallen", "no capacity for spot c5.large")]
    assert said(log, FALL, now=NOW + 599) == []
    assert said(log, FALL, now=NOW + 600) == [("compute_resource_returned", "the time is over")]
    assert said(log, now=NOW + 700) == []


def test_an_end_before_its_time_is_told_apart() -> None:
    log = FallLog()
    said(log, FALL)
    ((event, cause),) = said(log, now=NOW + 60)
    assert event == "compute_resource_returned"
    assert cause.startswith("a higher tier gave instances")


def test_a_daemon_that_starts_does_not_repeat_what_another_one_said() -> None:
    assert said(FallLog(), FALL, known=(FALL,)) == []
