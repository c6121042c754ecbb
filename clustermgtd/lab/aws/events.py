"""EC2's events on their way to EventBridge."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import aiohttp

from clustermgtd.lab.aws.services import MotoServices
from clustermgtd.lab.ec2.records import Ec2Event, EventKind
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
        return {
            "Source": "aws.ec2",
            "DetailType": str(event.kind),
            "Detail": json.dumps(detail_of(event)),
            "Resources": [f"arn:aws:ec2:{region}:{account}:instance/{event.instance_id}"],
            "Time": event.at,
        }


def detail_of(event: Ec2Event) -> dict[str, str]:
    """The `detail` of an EC2 event, as EventBridge carries it."""
    match event.kind:
        case EventKind.STATE_CHANGE:
            return {"instance-id": event.instance_id, "state": event.state}
        case EventKind.SPOT_INTERRUPTION:
            return {"instance-id": event.instance_id, "instance-action": "terminate"}
        case EventKind.REBALANCE:
            return {"instance-id": event.instance_id}
