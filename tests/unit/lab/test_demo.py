"""What the demo says while it runs, and when it is content."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from clustermgtd.lab.client import Job, LabStatus
from clustermgtd.lab.demo import is_empty
from clustermgtd.lab.demo_view import PlainView, event_lines, job_line

EMPTY: Mapping[str, object] = {
    "launched": 3,
    "terminated": 3,
    "open_claims": 0,
    "instance_pids": {},
    "instances": {"terminated": 3},
}


def test_array_tasks_are_counted_by_state() -> None:
    jobs = [
        Job(1, 1, "one", "RUNNING"),
        *(Job(n, 2, "many", "COMPLETED") for n in (2, 3)),
        Job(4, 2, "many", "PENDING"),
    ]
    assert job_line(jobs) == "one RUNNING, many 2 COMPLETED PENDING"


def test_news_of_many_instances_are_one_line() -> None:
    events = [{"state": "running", "kind": "x", "instance_id": f"i-{n}"} for n in range(5)]
    events.append({"state": "", "kind": "EC2 Instance Rebalance Recommendation", "instance_id": "i-9"})
    assert event_lines(events) == [
        "EC2: running: i-0, i-1, i-2 and 2 more",
        "EC2: EC2 Instance Rebalance Recommendation: i-9",
    ]


def test_lines_come_only_when_something_changed(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainView()
    status = LabStatus(EMPTY, {"idle~": 32})
    view.show(status, [Job(1, 1, "one", "RUNNING")], [])
    view.show(status, [Job(1, 1, "one", "RUNNING")], [])
    view.show(status, [Job(1, 1, "one", "COMPLETED")], [])
    said = [line.split("s  ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert said == ["jobs: one RUNNING", "nodes: 32 idle~", "instances: 3 terminated", "jobs: one COMPLETED"]


@pytest.mark.parametrize(
    ("site", "nodes"),
    [
        ({"terminated": 2}, {"idle~": 32}),
        ({"open_claims": 1}, {"idle~": 32}),
        ({"instance_pids": {"i-1": 7}}, {"idle~": 32}),
        ({}, {"idle~": 31, "idle%": 1}),
        ({}, {"idle~": 31, "down~": 1}),
        ({}, {}),
    ],
)
def test_the_demo_waits_while_anything_is_left(site: Mapping[str, object], nodes: Mapping[str, int]) -> None:
    assert is_empty(LabStatus(EMPTY, {"idle~": 32}))
    assert not is_empty(LabStatus({**EMPTY, **site}, nodes))
