"""EC2's announcements: how they are read, and what the agent does about them."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from clustermgtd.errors import NotFoundError, TransientError
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.node_report import HealthTrouble, HookState
from clustermgtd.model.notice import Notice, NoticeAction, NoticeKind, NoticeSource
from clustermgtd.node.arguments import AgentArguments
from clustermgtd.node.notices import Notices, hook_seconds
from clustermgtd.node.processes import Activity
from clustermgtd.node.programs import Outcome
from clustermgtd.node.report import Reporter
from clustermgtd.node.watches import HealthWatch, InterruptionWatch, Say
from tests.fakes.node_processes import FakeProcesses

SPOT = "meta-data/spot/instance-action"
REBALANCE = "meta-data/events/recommendations/rebalance"
SCHEDULED = "meta-data/events/maintenance/scheduled"
NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z
ONE = InstanceId("i-1")
WARNING = Notice(
    "spot-interruption",
    NoticeKind.SPOT_INTERRUPTION,
    NOW,
    NoticeSource.NODE_AGENT,
    (ONE,),
    action=NoticeAction.TERMINATE,
    effective_at=NOW + 115,
)
ADVICE = replace(WARNING, id="rebalance", kind=NoticeKind.REBALANCE, action=NoticeAction.NONE, effective_at=None)
WARNED = {SPOT: json.dumps({"action": "terminate", "time": "2023-11-14T22:15:15Z"})}


class Metadata:
    def __init__(self, entries: Mapping[str, str] | None) -> None:
        self.entries = entries
        self.now = NOW

    def get_dated(self, path: str) -> tuple[str, float]:
        if self.entries is None:
            raise TransientError("no answer")
        if path not in self.entries:
            raise NotFoundError(path)
        return self.entries[path], self.now


def notices_of(entries: Mapping[str, str]) -> tuple[tuple[Notice, ...], list[str]]:
    said: list[str] = []
    return Notices(Metadata(entries), ONE, said.append).look().notices, said


def test_an_instance_to_which_nothing_is_announced() -> None:
    assert notices_of({}) == ((), [])
    assert notices_of({SCHEDULED: "[]"}) == ((), [])


def test_a_spot_warning_and_a_recommendation_may_come_together() -> None:
    entries = {**WARNED, REBALANCE: json.dumps({"noticeTime": "2023-11-14T22:13:20Z"})}
    assert notices_of(entries) == ((WARNING, ADVICE), [])


EVENT = {
    "NotBefore": "21 Jan 2019 09:00:43 GMT",
    "NotAfter": "21 Jan 2019 09:17:23 GMT",
    "Code": "system-reboot",
    "Description": "scheduled reboot",
    "EventId": "instance-event-0d59937288b749b32",
    "State": "active",
}
REBOOT = replace(
    WARNING,
    id="instance-event-0d59937288b749b32",
    kind=NoticeKind.SCHEDULED_EVENT,
    action=NoticeAction.REBOOT,
    effective_at=1_548_061_243.0,
    matter="instance-event-0d59937288b749b32",
    detail="system-reboot",
)


def test_a_scheduled_event_is_announced_until_it_is_over() -> None:
    assert notices_of({SCHEDULED: json.dumps([EVENT])}) == ((REBOOT,), [])
    for state in ("completed", "canceled"):
        (found,), _ = notices_of({SCHEDULED: json.dumps([{**EVENT, "State": state}])})
        assert found == replace(REBOOT, is_over=True)


def test_what_is_seen_again_was_announced_when_it_was_first_seen() -> None:
    metadata = Metadata({**WARNED, SCHEDULED: json.dumps([EVENT])})
    notices = Notices(metadata, ONE, lambda _: None)
    first = notices.look().notices
    metadata.now += 5
    assert notices.look().notices == first == (WARNING, REBOOT)
    metadata.entries = {SCHEDULED: json.dumps([{**EVENT, "NotBefore": "22 Jan 2019 09:00:43 GMT"}])}
    assert notices.look().notices == (replace(REBOOT, announced_at=NOW + 5, effective_at=1_548_061_243.0 + 86_400),)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"action": "terminate", "time": "soon"}', "<html>"])
def test_a_warning_that_is_not_understood_is_a_warning_all_the_same(text: str) -> None:
    said: list[str] = []
    notices = Notices(metadata := Metadata({SPOT: text}), ONE, said.append)
    looks = []
    for _ in range(3):
        looks.append(notices.look().notices)
        metadata.now += 5
    assert looks == [(replace(WARNING, effective_at=None),)] * 3
    assert len(said) == 1


@pytest.mark.parametrize("text", ["{}", "7", '[{"Code": "x"}]', "[7]"])
def test_other_announcements_that_are_not_understood_are_left_out_and_said_once(text: str) -> None:
    said: list[str] = []
    notices = Notices(Metadata({SCHEDULED: text}), ONE, said.append)
    assert [notices.look().notices for _ in range(3)] == [()] * 3
    assert len(said) == 1


@pytest.mark.parametrize(
    ("left_s", "longest_s", "seconds"),
    [(115, 100, 100), (115, 110, 105), (60, 100, 50), (12, 100, 6), (0, 100, 1), (-3600, 100, 1), (7200, 115, 110)],
)
def test_the_hook_ends_before_the_instance_does(left_s: float, longest_s: float, seconds: float) -> None:
    assert hook_seconds(replace(WARNING, effective_at=NOW + left_s), NOW, longest_s) == seconds


def test_a_warning_without_a_time_leaves_two_minutes_from_when_it_was_seen() -> None:
    assert hook_seconds(replace(WARNING, effective_at=None), NOW + 20, 115) == 90


def test_a_hibernation_leaves_no_two_minutes() -> None:
    assert hook_seconds(replace(WARNING, action=NoticeAction.HIBERNATE), NOW, 100) == 5


class Node:
    """The watch of one instance; programs end as the test says."""

    def __init__(self, entries: Mapping[str, str] | None, hook: str = "/opt/site/leave") -> None:
        self.metadata = Metadata(entries)
        self.said: list[str] = []
        self.reporter = Reporter(self.said.append, lambda: NOW)
        self.reporter.update(instance=ONE, node="q1-dy-c5-1")
        self.processes = FakeProcesses(Activity((12, 14), is_busy=True))
        self.outcome = Outcome(0, 3.25, "saved")
        self.calls: list[tuple[Sequence[str], Mapping[str, str], float]] = []
        self.has_run = threading.Event()
        self.arguments = AgentArguments(table="t", interruption_hook=hook, health_check="/opt/site/health")
        self.watch = InterruptionWatch(
            self.arguments,
            Notices(self.metadata, ONE, self.said.append),
            self.reporter,
            self.processes,
            self.run,
            self.said.append,
        )
        self.health = HealthWatch(self.arguments, self.reporter, self.run, self.said.append, lambda: NOW)

    def run(self, command: Sequence[str], environment: Mapping[str, str], deadline_s: float, say: Say) -> Outcome:
        self.calls.append((command, environment, deadline_s))
        say("a line")
        self.has_run.set()
        return self.outcome

    def wait_for_hook(self) -> HookState:
        for thread in threading.enumerate():
            if thread.name == "hook":
                thread.join(10)
        return self.reporter.report.hook


def test_a_warning_is_reported_told_to_jobs_and_given_to_the_hook_once() -> None:
    node = Node(WARNED)
    for _ in range(3):
        node.watch.look()
    assert node.wait_for_hook() is HookState.DONE
    assert node.reporter.report.spot_interruption == WARNING
    assert node.processes.told == 1
    ((command, environment, deadline_s),) = node.calls
    assert (command, deadline_s) == (["/opt/site/leave", "spot-interruption", "terminate", "100"], 100.0)
    ours = {name: value for name, value in environment.items() if name.startswith("CLUSTERMGTD_")}
    assert ours == {
        "CLUSTERMGTD_EVENT": "spot-interruption",
        "CLUSTERMGTD_ACTION": "terminate",
        "CLUSTERMGTD_ENDS_AT": "1700000115",
        "CLUSTERMGTD_SECONDS": "100",
        "CLUSTERMGTD_NODE": "q1-dy-c5-1",
        "CLUSTERMGTD_INSTANCE_ID": "i-1",
        "CLUSTERMGTD_JOB_IDS": "12 14",
    }
    assert "hook: a line" in node.said


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome(3, 1.0, ""), HookState.FAILED),
        (Outcome(None, 0.0, "no such file"), HookState.FAILED),
        (Outcome(None, 100.0, "", was_killed=True), HookState.KILLED),
    ],
)
def test_how_the_hook_ends_is_reported(outcome: Outcome, state: HookState) -> None:
    node = Node(WARNED)
    node.outcome = outcome
    node.watch.look()
    assert node.wait_for_hook() is state


def test_without_a_hook_the_rest_happens() -> None:
    node = Node(WARNED, hook="")
    node.watch.look()
    assert node.reporter.report.hook is HookState.NONE
    assert node.processes.told == 1
    assert node.calls == []


def test_a_recommendation_alone_disturbs_nobody() -> None:
    node = Node({REBALANCE: json.dumps({"noticeTime": "2023-11-14T22:13:20Z"})})
    node.watch.look()
    assert [notice.kind for notice in node.reporter.report.notices] == [NoticeKind.REBALANCE]
    assert (node.processes.told, node.calls) == (0, [])


def test_no_metadata_service_is_said_once_and_changes_nothing() -> None:
    node = Node(WARNED, hook="")
    node.watch.look()
    node.metadata.entries = None
    before = node.reporter.report
    for _ in range(3):
        node.watch.look()
    assert node.reporter.report == before
    assert [line for line in node.said if "cannot be read" in line] == [
        "announcements of EC2 cannot be read: no answer"
    ]


def test_a_health_check_that_fails_is_reported_once_and_until_it_succeeds() -> None:
    node = Node({})
    node.outcome = Outcome(2, 1.0, "GPU 3: lost")
    sequences = set()
    for _ in range(3):
        node.health.check()
        sequences.add(node.reporter.report.sequence)
    assert node.reporter.report.health == HealthTrouble(NOW, 2, "GPU 3: lost")
    assert len(sequences) == 1
    node.outcome = Outcome(None, 60.0, "hangs", was_killed=True)
    node.health.check()
    assert node.reporter.report.health == HealthTrouble(NOW, None, "hangs")
    node.outcome = Outcome(0, 1.0, "")
    node.health.check()
    assert node.reporter.report.health is None
    command, environment, deadline_s = node.calls[0]
    assert (command, deadline_s, environment["CLUSTERMGTD_NODE"]) == (["/opt/site/health"], 60.0, "q1-dy-c5-1")
