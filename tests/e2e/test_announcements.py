"""What AWS announces reaches the daemon in a whole cluster, and its messages are deleted once it was used."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from clustermgtd.lab.aws.event_queue import QUEUE
from tests.e2e.lab import Lab

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def received(lab: Lab, kind: str) -> list[dict[str, Any]]:
    """The daemon's lines about new notices of a kind."""
    lines = lab.folder.daemon_log.read_text(errors="replace").splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    return [event for event in events if event.get("event") == "notices_received" and event["kind"] == kind]


def waiting(lab: Lab) -> int:
    """Messages in the queue, received ones included."""
    sqs = lab.aws("sqs")
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    return sum(int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"][name]) for name in names)


def test_an_announcement_is_known_within_seconds_and_its_message_goes(lab: Lab) -> None:
    job = lab.submit("sleep 20")
    lab.wait_for_job(job, "RUNNING")
    (id, *_) = lab.status().site["instance_pids"]
    later = time.time() + 86_400
    lab.control(
        "schedule", instance_id=id, event_id="e-1", code="system-maintenance", not_before=later, not_after=later + 60
    )
    (line,) = lab.wait_until(lambda: received(lab, "scheduled-event"), deadline_s=10)
    assert (line["source"], line["instances"]) == ("queue", [id])
    lab.wait_for_job(job)
    lab.wait_until_clean()
    lab.wait_until(lambda: waiting(lab) == 0, deadline_s=60)
