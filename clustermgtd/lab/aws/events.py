"""EC2's and AWS Health's events on their way to EventBridge."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

import aiohttp

from clustermgtd.lab.aws.services import MotoServices
from clustermgtd.lab.ec2.records import Ec2Event, EventKind, ScheduledEvent
from clustermgtd.lab.ec2.scenario import Scenario

QUEUE_MAX = 50_000
ENTRIES_PER_CALL = 10
RETRY_DELAY_S = 0.5
_log = logging.getLogger(__name__)


class EventBridge:
    """Puts EC2's events on the default bus, in order, in the background.

    As with EC2 itself this is best effort: when the queue is full, new events are dropped and counted.
    """

    def __init__(self, services: MotoServices, scenario: Scenario) -> None:
        self._services = services
        self._scenario = scenario
        self._queue: asyncio.Queue[Ec2Event] = asyncio.Queue(QUEUE_MAX)
        self.dropped = 0

    def put(self, event: Ec2Event) -> None:
        """Hand over an event; without a running moto there is no rule that could want it."""
        if not self._services.is_running:
            return
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            batch = [await self._queue.get()]
            while len(batch) < ENTRIES_PER_CALL and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                if await self._has_rules():
                    await self._call("PutEvents", {"Entries": [self._entry(event) for event in batch]})
            except (TimeoutError, aiohttp.ClientError) as error:
                _log.warning("events not delivered: %s", error)
                await asyncio.sleep(RETRY_DELAY_S)

    async def _has_rules(self) -> bool:
        return bool((await self._call("ListRules", {})).get("Rules"))

    async def _call(self, action: str, parameters: dict[str, Any]) -> dict[str, Any]:
        headers = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"AWSEvents.{action}",
            "Authorization": f"AWS4-HMAC-SHA256 Credential=lab/20260101/{self._scenario.region}/events/aws4_request, "
            "SignedHeaders=host, Signature=0",
        }
        reply = await self._services.call("POST", "/", headers, json.dumps(parameters).encode(), lock="events")
        if reply.status != 200:
            raise aiohttp.ClientError(f"{action}: HTTP {reply.status}")
        answer: dict[str, Any] = json.loads(reply.body)
        return answer

    def _entry(self, event: Ec2Event) -> dict[str, Any]:
        region, account = self._scenario.region, self._scenario.account
        subject = f"instance/{event.instance_id}" if event.instance_id else f"capacity-reservation/{event.reservation}"
        return {
            "Source": "aws.health" if event.kind is EventKind.HEALTH else "aws.ec2",
            "DetailType": str(event.kind),
            "Detail": json.dumps(detail_of(event, region)),
            "Resources": [f"arn:aws:ec2:{region}:{account}:{subject}"],
            "Time": event.at,
        }


_HEALTH_CODES = {
    "instance-reboot": "AWS_EC2_INSTANCE_REBOOT_MAINTENANCE_SCHEDULED",
    "system-reboot": "AWS_EC2_SYSTEM_REBOOT_MAINTENANCE_SCHEDULED",
    "system-maintenance": "AWS_EC2_INSTANCE_NETWORK_MAINTENANCE_SCHEDULED",
    "instance-retirement": "AWS_EC2_PERSISTENT_INSTANCE_RETIREMENT_SCHEDULED",
    "instance-stop": "AWS_EC2_INSTANCE_STOP_SCHEDULED",
}
"""AWS Health's names of EC2's event codes."""


def detail_of(event: Ec2Event, region: str) -> dict[str, Any]:
    """The `detail` of an event, as EventBridge carries it."""
    match event.kind:
        case EventKind.STATE_CHANGE:
            return {"instance-id": event.instance_id, "state": event.state}
        case EventKind.SPOT_INTERRUPTION:
            return {"instance-id": event.instance_id, "instance-action": event.action}
        case EventKind.REBALANCE:
            return {"instance-id": event.instance_id}
        case EventKind.RESERVATION_INTERRUPTION:
            assert event.ends_at is not None
            return {
                "instance-id": event.instance_id,
                "instance-action": event.action,
                "instance-termination-time": _seconds(event.ends_at),
            }
        case EventKind.BLOCK_ENDING:
            assert event.ends_at is not None
            return {"capacity-reservation-id": event.reservation, "end-date": _seconds(event.ends_at)}
        case EventKind.HEALTH:
            assert event.scheduled is not None
            return _health(event, event.scheduled, region)


def _health(event: Ec2Event, scheduled: ScheduledEvent, region: str) -> dict[str, Any]:
    code = _HEALTH_CODES[scheduled.code]
    return {
        "eventArn": f"arn:aws:health:{region}::event/EC2/{code}/{code}_{scheduled.id}",
        "service": "EC2",
        "eventTypeCode": code,
        "eventTypeCategory": "scheduledChange",
        "eventScopeCode": "ACCOUNT_SPECIFIC",
        "startTime": formatdate(scheduled.not_before, usegmt=True),
        "endTime": formatdate(scheduled.not_after, usegmt=True),
        "lastUpdatedTime": formatdate(event.at, usegmt=True),
        "statusCode": "upcoming",
        "eventRegion": region,
        "eventDescription": [{"language": "en_US", "latestDescription": scheduled.description}],
        "affectedEntities": [{"entityValue": event.instance_id, "status": "PENDING"}],
    }


def _seconds(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
