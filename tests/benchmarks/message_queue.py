"""An SQS queue that never slows: what is measured is the reader. Speaks as much of SQS's JSON as the daemon needs."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

PREFIX = "AmazonSQS."


class MessageQueue:
    """One queue, whatever its URL. `POST /bench/messages` appends a JSON list of bodies."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, str, float]] = deque()
        self._received: set[str] = set()
        self._numbers = 0
        self._arrived = asyncio.Event()
        self.received_at = 0.0
        self.deleted_at = 0.0

    def add_to(self, application: web.Application) -> None:
        application.middlewares.append(self._serve)
        application.router.add_post("/bench/messages", self._append)
        application.router.add_get("/bench/messages", self._state)

    async def _append(self, request: web.Request) -> web.Response:
        for body in await request.json():
            self._numbers += 1
            self._waiting.append((str(self._numbers), body, time.time()))
        self._arrived.set()
        return web.json_response({})

    async def _state(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "left": len(self._waiting) + len(self._received),
                "received_at": self.received_at,
                "deleted_at": self.deleted_at,
            }
        )

    @web.middleware
    async def _serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        target = request.headers.get("X-Amz-Target", "")
        if not target.startswith(PREFIX):
            return await handler(request)
        parameters = await request.json()
        answer = getattr(self, f"_{target.removeprefix(PREFIX)}")
        return web.json_response(await answer(parameters), content_type="application/x-amz-json-1.0")

    async def _ReceiveMessage(self, parameters: dict[str, Any]) -> dict[str, Any]:
        if not self._waiting:
            self._arrived.clear()
            try:
                async with asyncio.timeout(parameters["WaitTimeSeconds"]):
                    await self._arrived.wait()
            except TimeoutError:
                return {}
        found = []
        self.received_at = time.time()
        while self._waiting and len(found) < parameters["MaxNumberOfMessages"]:
            number, body, sent_at = self._waiting.popleft()
            self._received.add(number)
            found.append(
                {
                    "MessageId": number,
                    "ReceiptHandle": number,
                    "Body": body,
                    "MD5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
                    "Attributes": {"SentTimestamp": str(int(sent_at * 1000))},
                }
            )
        return {"Messages": found} if found else {}

    async def _DeleteMessageBatch(self, parameters: dict[str, Any]) -> dict[str, Any]:
        for entry in parameters["Entries"]:
            self._received.discard(entry["ReceiptHandle"])
        self.deleted_at = time.time()
        return {"Successful": [{"Id": entry["Id"]} for entry in parameters["Entries"]], "Failed": []}

    async def _GetQueueAttributes(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"Attributes": {"ApproximateNumberOfMessages": str(len(self._waiting))}}
