"""The queue and the EventBridge rules that a site makes for a cluster (docs/reference/events.md)."""

from __future__ import annotations

import json

from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.lab.ec2.records import EventKind

QUEUE = "clustermgtd-events"
CALL_DEADLINE_S = 30.0

_PATTERNS = {
    "clustermgtd-instances": {
        "source": ["aws.ec2"],
        "detail-type": [str(kind) for kind in EventKind if kind is not EventKind.HEALTH],
    },
    "clustermgtd-maintenance": {
        "source": ["aws.health"],
        "detail-type": [str(EventKind.HEALTH)],
        "detail": {"service": ["EC2"], "eventTypeCategory": ["scheduledChange"]},
    },
}


def queue_url(endpoint_url: str, account: str) -> str:
    """Where `make_event_queue` makes it."""
    return f"{endpoint_url}/{account}/{QUEUE}"


async def make_event_queue(session: AwsSession, account: str) -> None:
    """Make the queue, and the rules that fill it.

    Raises:
        ClustermgtdError: the endpoints do not answer.
    """
    await session.call("sqs", "create_queue", {"QueueName": QUEUE}, CALL_DEADLINE_S)
    arn = f"arn:aws:sqs:{session.region}:{account}:{QUEUE}"
    for name, pattern in _PATTERNS.items():
        rule = {"Name": name, "EventPattern": json.dumps(pattern)}
        await session.call("events", "put_rule", rule, CALL_DEADLINE_S)
        target = {"Rule": name, "Targets": [{"Id": "queue", "Arn": arn}]}
        await session.call("events", "put_targets", target, CALL_DEADLINE_S)
