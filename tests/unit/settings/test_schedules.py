"""`Schedules`: when windows begin and end, and what is refused."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from clustermgtd.model.claim import LaunchTemplate
from clustermgtd.model.policy import ComputeResourceKey
from clustermgtd.model.schedule import ScheduleName, WarmNodes
from clustermgtd.settings import Settings, SettingsError, loads
from clustermgtd.settings.policy import build_policy, template_keys
from clustermgtd.settings.schedules import Calendar, Schedule, WarmCount
from clustermgtd.settings.slurm_conf import PROGRAMS, SlurmSite, render

MINIMAL = (Path(__file__).parents[3] / "docs" / "examples" / "minimal.yaml").read_text()
BERLIN = "Europe/Berlin"


def a_schedule(cron: str, minutes: int, zone: str = BERLIN) -> Schedule:
    warm = (WarmCount(Queue="q1", ComputeResource="c5", MinCount=1),)  # type: ignore[call-arg]
    return Schedule(Cron=cron, DurationMinutes=minutes, TimeZone=zone, WarmNodes=warm)  # type: ignore[call-arg]


def at(text: str, zone: str = BERLIN) -> float:
    """Epoch seconds of a wall-clock time; `!` at the end is the second of two such times."""
    fold = int(text.endswith("!"))
    return datetime.fromisoformat(text.rstrip("!")).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def is_active(schedule: Schedule, when: float) -> bool:
    return schedule.time(when).is_active(when)


def test_a_window_begins_with_its_minute_and_lasts_as_long_as_it_says() -> None:
    office = a_schedule("30 7 * * mon-fri", 600)
    assert not is_active(office, at("2026-11-20 07:29:59"))
    assert is_active(office, at("2026-11-20 07:30:00"))
    assert is_active(office, at("2026-11-20 17:29:59"))
    assert not is_active(office, at("2026-11-20 17:30:00"))
    assert not is_active(office, at("2026-11-21 12:00:00"))


def test_it_says_when_something_changes_next() -> None:
    office = a_schedule("30 7 * * mon-fri", 600)
    friday_noon, friday_night = at("2026-11-20 12:00"), at("2026-11-20 23:00")
    assert office.time(friday_noon).changes_at(friday_noon) == at("2026-11-20 17:30")
    assert office.time(friday_night).changes_at(friday_night) == at("2026-11-23 07:30")


def test_a_window_reaches_into_the_next_day_and_overlapping_ones_are_one() -> None:
    night = a_schedule("0 22 * * *", 480)
    assert is_active(night, at("2026-11-21 05:59"))
    assert not is_active(night, at("2026-11-21 06:00"))
    often = a_schedule("*/30 * * * *", 45)
    assert all(is_active(often, at("2026-11-21 00:00") + 60 * minute) for minute in range(200))


@pytest.mark.parametrize(
    ("cron", "day", "begins", "ends"),
    [
        # clocks go from 02:00 to 03:00: what would begin meanwhile begins then
        ("30 2 * * *", "2026-03-29", "2026-03-29 03:00", "2026-03-29 05:00"),
        # two hours pass between 01:30 and 04:30
        ("30 1 * * *", "2026-03-29", "2026-03-29 01:30", "2026-03-29 04:30"),
        # clocks go from 03:00 back to 02:00: half past two comes twice, and begins one window
        ("30 2 * * *", "2026-10-25", "2026-10-25 02:30", "2026-10-25 03:30"),
        ("30 1 * * *", "2026-10-25", "2026-10-25 01:30", "2026-10-25 02:30!"),
    ],
)
def test_days_on_which_clocks_change(cron: str, day: str, begins: str, ends: str) -> None:
    schedule = a_schedule(cron, 120)
    start = at(f"{day} 00:00")
    active = [start + 300 * step for step in range(23 * 12) if is_active(schedule, start + 300 * step)]
    assert (active[0], active[-1] + 300) == (at(begins), at(ends))
    assert len(active) == 24


def test_a_calendar_is_right_whenever_it_is_asked_also_after_the_clock_was_put_back() -> None:
    schedules = {"office": a_schedule("30 7 * * mon-fri", 600), "night": a_schedule("0 22 * * *", 480, "UTC")}
    calendar = Calendar(schedules)
    start = at("2026-11-20 00:00")
    moments = [start + 1800 * step for step in range(150)]
    for now in [*moments, *reversed(moments[::7])]:
        shown = calendar.at(now)
        assert {name: time.is_active(now) for name, time in shown.items()} == {
            name: is_active(schedule, now) for name, schedule in schedules.items()
        }
        for name, time in shown.items():
            assert time.changes_at(now) == schedules[name].time(now).changes_at(now)


def test_a_time_that_never_comes_again_ends_the_search() -> None:
    schedule = a_schedule("0 0 29 2 *", 60)
    now = at("2026-11-20 00:00")
    assert schedule.time(now).next_starts_at == at("2028-02-29 00:00")


def cluster(schedules: str) -> Settings:
    return loads(MINIMAL + f"Clustermgtd: {{Schedules: {schedules}}}\n")


def one(**keys: str) -> str:
    given = {
        "Cron": '"30 7 * * mon-fri"',
        "DurationMinutes": "600",
        "TimeZone": BERLIN,
        "WarmNodes": "[{Queue: q1, ComputeResource: c5, MinCount: 4}]",
        **keys,
    }
    return "{office: {" + ", ".join(f"{key}: {value}" for key, value in given.items() if value) + "}}"


@pytest.mark.parametrize(
    ("keys", "path", "said"),
    [
        ({"Cron": '"61 7 * * *"'}, "office.Cron", "'61 7 * * *' is not a time: bad minute"),
        ({"Cron": '"@daily"'}, "office.Cron", "'@daily' has 1 fields, not 5"),
        ({"Cron": '"0 30 7 * * *"'}, "office.Cron", "has 6 fields, not 5"),
        ({"Cron": '"0 0 31 2 *"'}, "office.Cron", "'0 0 31 2 *' is not a time: bad day-of-month"),
        ({"TimeZone": "Europe/Bielefeld"}, "office.TimeZone", "'Europe/Bielefeld' is not the name of a time zone"),
        ({"TimeZone": '"../etc/passwd"'}, "office.TimeZone", "is not the name of a time zone"),
        ({"DurationMinutes": "0"}, "office.DurationMinutes", "at least 1"),
        ({"WarmNodes": "[]"}, "office.WarmNodes", ""),
        (
            {"WarmNodes": "[{Queue: q9, ComputeResource: c5, MinCount: 1}]"},
            "office.WarmNodes[0].Queue",
            "q9 is not the name of a queue",
        ),
        (
            {"WarmNodes": "[{Queue: q1, ComputeResource: c9, MinCount: 1}]"},
            "office.WarmNodes[0].ComputeResource",
            "c9 is not the name of a compute resource of queue q1",
        ),
        (
            {"WarmNodes": "[{Queue: q1, ComputeResource: c5, MinCount: 11}]"},
            "office.WarmNodes[0].MinCount",
            "11 is more than the compute resource's MaxCount (10)",
        ),
        (
            {
                "WarmNodes": "[{Queue: q1, ComputeResource: c5, MinCount: 1}, "
                "{Queue: q1, ComputeResource: c5, MinCount: 2}]"
            },
            "office.WarmNodes[1]",
            "is about the same compute resource as WarmNodes[0]",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_key_and_value(keys: dict[str, str], path: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        cluster(one(**keys))
    assert f"Clustermgtd.Schedules.{path}" in str(caught.value)
    assert said in str(caught.value)


def test_a_queue_with_warm_nodes_is_never_suspended_by_slurm_and_the_daemon_knows_its_idle_times() -> None:
    settings = cluster(one())
    site = SlurmSite({name: Path("/opt/hooks") / name for name in PROGRAMS})
    (partition,) = (line for line in render(settings, site).splitlines() if line.startswith("PartitionName"))
    assert " SuspendTime=315360000 " in partition
    policy = build_policy(settings, {key: LaunchTemplate("lt-1", "1") for key in template_keys(settings)})
    (key,) = policy.compute_resources
    assert key == ComputeResourceKey(key.queue, key.name)
    assert policy.idle_after_s == {key: 600.0}
    assert policy.warm == {key: (WarmNodes(ScheduleName("office"), 4),)}


def test_the_zone_is_utc_unless_it_is_said() -> None:
    schedule = cluster(one(TimeZone="")).clustermgtd.schedules["office"]
    now = at("2026-11-20 07:30", "UTC")
    assert schedule.time(now).ends_at == now + timedelta(hours=10).total_seconds()
