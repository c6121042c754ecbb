"""When a node may end itself because nobody manages it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from clustermgtd.errors import TransientError
from clustermgtd.model.node_report import NodeReport
from clustermgtd.node.dead_man import DeadManSwitch, Limits
from clustermgtd.node.imds import Identity
from clustermgtd.node.processes import Activity
from clustermgtd.node.watches import DeadManWatch
from tests.fakes.node_processes import FakeProcesses

LIMITS = Limits(idle_s=100.0, job_s=1000.0, unreadable_s=400.0)
IDLE, BUSY = False, True


def a_switch() -> DeadManSwitch:
    """Armed, and heard from last at 0."""
    switch = DeadManSwitch(LIMITS, -50.0)
    switch.read(7, 0.0)
    return switch


@pytest.mark.parametrize(
    ("now", "is_busy", "ends"), [(99, IDLE, False), (100, IDLE, True), (999, BUSY, False), (1000, BUSY, True)]
)
def test_silence_ends_an_idle_node_and_much_later_a_busy_one(now: float, is_busy: bool, ends: bool) -> None:
    switch = a_switch()
    switch.read(7, now)
    assert bool(switch.why_end(now, is_busy)) is ends


def test_a_counter_that_changes_is_a_sign_of_life_even_backwards() -> None:
    switch = a_switch()
    switch.read(3, 99.0)
    assert switch.why_end(150.0, IDLE) == ""
    assert switch.silent_s(150.0) == 51.0


def test_a_table_that_cannot_be_read_is_no_silence_of_the_head_node() -> None:
    switch = a_switch()
    switch.failed()
    assert switch.why_end(399.0, IDLE) == ""
    assert "not readable for 400 s" in switch.why_end(400.0, IDLE)
    assert switch.why_end(999.0, BUSY) == ""
    assert switch.why_end(1000.0, BUSY)


def test_after_a_time_without_reading_the_head_node_has_its_whole_time_again() -> None:
    switch = a_switch()
    switch.failed()
    switch.read(7, 300.0)
    assert switch.why_end(399.0, IDLE) == ""
    switch.read(7, 400.0)
    assert switch.why_end(400.0, IDLE)


def test_a_head_node_that_never_gave_a_sign_is_not_missed() -> None:
    switch = DeadManSwitch(LIMITS, 0.0)
    switch.read(None, 10.0)
    assert switch.why_end(1e9, IDLE) == ""
    switch.failed()
    assert switch.why_end(1e9, IDLE) == ""


def test_a_limit_of_nothing_turns_it_off() -> None:
    switch = DeadManSwitch(Limits(0.0, 1000.0, 400.0), 0.0)
    switch.read(7, 0.0)
    assert switch.why_end(1e9, IDLE) == ""


@pytest.mark.parametrize(("idle_s", "period_s"), [(4.0, 0.5), (1800.0, 180.0), (86_400.0, 300.0)])
def test_a_longer_limit_is_watched_with_fewer_reads(idle_s: float, period_s: float) -> None:
    assert Limits(idle_s, idle_s, idle_s).period_s == period_s


class Beats:
    """A record whose heartbeat the test scripts; the last entry repeats."""

    def __init__(self, *answers: int | Exception | None) -> None:
        self.answers = list(answers)

    def node_name(self, identity: Identity) -> str:
        raise NotImplementedError

    def report(self, report: NodeReport) -> None:
        raise NotImplementedError

    def heartbeat(self) -> int | None:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Node:
    """A watch whose looks and time a test drives."""

    def __init__(self, beats: Beats) -> None:
        self.at = 0.0
        self.processes = FakeProcesses()
        self.ends: list[str] = []
        self.said: list[str] = []
        self.stop = threading.Event()
        self.stop.set()  # no pause between the attempts of a look
        clock: Callable[[], float] = lambda: self.at  # noqa: E731
        self.watch = DeadManWatch(
            LIMITS, beats, lambda: self.processes.activity(None), self.ends.append, self.said.append, clock
        )

    def look_at(self, at: float) -> bool:
        self.at = at
        return self.watch.look(self.stop)


def test_an_idle_node_is_looked_at_twice_before_it_ends() -> None:
    node = Node(Beats(7))
    node.look_at(0.0)
    assert not node.look_at(110.0)
    assert node.look_at(120.0)
    assert len(node.ends) == 1


def test_a_job_between_two_looks_counts() -> None:
    node = Node(Beats(7))
    node.look_at(0.0)
    node.look_at(110.0)
    node.processes.now = Activity((12,), is_busy=True)
    assert not node.look_at(120.0)
    node.processes.now = Activity()
    assert not node.look_at(130.0)
    assert node.look_at(140.0)


def test_processes_that_cannot_be_read_are_taken_for_a_job() -> None:
    node = Node(Beats(7))
    node.processes.trouble = OSError("no /proc")
    node.look_at(0.0)
    assert not any(node.look_at(at) for at in (110.0, 120.0, 900.0))
    assert node.look_at(1001.0)


def test_what_changes_is_said_once() -> None:
    node = Node(Beats(None, 7, 7, 7, TransientError("no route"), TransientError("no route"), 8))
    for at in (0.0, 10.0, 70.0, 80.0, 90.0, 91.0, 92.0):
        node.look_at(at)
    assert node.said == [
        "there is no heartbeat in the table, so the dead-man switch is not armed",
        "the head node lives",
        "the head node is silent",
        "the heartbeat cannot be read: no route",
        "the head node lives",
    ]
