"""Every service but EC2: forwarded to moto, one call at a time per service.

moto is not safe against itself: without the lock two conditional writes of DynamoDB can both win. Receiving from SQS
is the exception: a long poll would block the service, so it is cut into short ones here, and it wakes when something
may have arrived. (moto also loses a message to a long poll whose client has gone.)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

CALL_TIMEOUT_S = 120.0
CONNECTIONS_MAX = 100
POLL_PERIOD_S = 1.0
"""How often a long poll looks again when nothing seems to have happened (a message may have become visible again)."""
_SCOPE = re.compile(r"Credential=[^/,]+/\d{8}/([^/,]+)/([^/,]+)/aws4_request")
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "content-length"})
_FEEDS_SQS = frozenset({"sqs", "events", "sns", "s3", "scheduler", "pipes", "lambda", "cloudformation"})


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A reply of moto."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def service_of(request: web.Request) -> str:
    """The service that signed the request, from its credential scope; empty if it is not signed."""
    match = _SCOPE.search(request.headers.get("Authorization", ""))
    if match:
        return match.group(2)
    scope = request.query.get("X-Amz-Credential", "").split("/")
    return scope[3] if len(scope) == 5 else ""


class Upstream(Protocol):
    """A server that has every service but EC2."""

    @property
    def url(self) -> str:
        """Empty until it serves."""

    @property
    def pid(self) -> int | None: ...

    async def start(self) -> None:
        """Raises: RuntimeError if it does not come up."""

    async def close(self) -> None: ...


class MotoServices:
    """The way to moto; starts it with the first call."""

    def __init__(self, child: Upstream) -> None:
        self._child = child
        self._start = asyncio.Lock()
        self._locks: dict[str, asyncio.Lock] = {}
        self._arrivals = asyncio.Event()
        """Set, and replaced, when a call may have put something into a queue."""
        self._client: aiohttp.ClientSession | None = None

    @property
    def is_running(self) -> bool:
        """Whether any call was made so far; before that there is no queue, table or rule."""
        return bool(self._child.url)

    @property
    def pid(self) -> int | None:
        """moto's process id, once it runs."""
        return self._child.pid

    async def start(self) -> None:
        """Start moto if it does not run yet.

        Raises:
            RuntimeError: it cannot be started.
        """
        async with self._start:
            if self._client is None:
                await self._child.start()
                self._client = aiohttp.ClientSession(
                    auto_decompress=False,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
                    timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S),
                )

    async def close(self) -> None:
        """End moto."""
        if self._client is not None:
            await self._client.close()
            self._client = None
        await self._child.close()

    async def forward(self, request: web.Request, body: bytes) -> web.Response:
        """Answer a client's request as moto does."""
        service = service_of(request) or "unsigned"
        headers = CIMultiDict(request.headers)
        target = request.headers.get("X-Amz-Target", "")
        if target == "AmazonSQS.ReceiveMessage":
            reply = await self._receive(request, headers, body)
        elif service == "sqs" and b"Action=ReceiveMessage" in body:
            reply = await self.call(request.method, request.raw_path, headers, body)
        else:
            reply = await self.call(request.method, request.raw_path, headers, body, lock=service)
        kept = {k: v for k, v in reply.headers.items() if k.lower() not in _HOP_BY_HOP}
        response = web.Response(status=reply.status, body=reply.body)
        response.headers.clear()
        response.headers.extend(kept)
        return response

    async def call(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, *, lock: str = ""
    ) -> Forwarded:
        """One request to moto, holding the service's lock if one is named.

        Raises:
            TimeoutError, aiohttp.ClientError: moto does not answer.
        """
        await self.start()
        if not lock:
            return await self._send(method, path, headers, body)
        async with self._locks.setdefault(lock, asyncio.Lock()):
            reply = await self._send(method, path, headers, body)
        if lock in _FEEDS_SQS:
            self._arrivals.set()
            self._arrivals = asyncio.Event()
        return reply

    async def _send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Forwarded:
        assert self._client is not None
        sent = CIMultiDict((k, v) for k, v in headers.items() if k.lower() not in _HOP_BY_HOP)
        url = URL(self._child.url + path, encoded=True)
        async with self._client.request(method, url, headers=sent, data=body, allow_redirects=False) as response:
            return Forwarded(response.status, CIMultiDict(response.headers), await response.read())

    async def _receive(self, request: web.Request, headers: CIMultiDict[str], body: bytes) -> Forwarded:
        """ReceiveMessage: short polls until there is a message or the client's waiting time is over."""
        asked: dict[str, Any] = json.loads(body or b"{}")
        if "WaitTimeSeconds" not in asked:
            return await self.call(request.method, request.raw_path, headers, body)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + float(asked["WaitTimeSeconds"])
        short = json.dumps({**asked, "WaitTimeSeconds": 0}).encode()
        while True:
            if request.transport is None or request.transport.is_closing():
                return Forwarded(408, {}, b"")
            arrivals = self._arrivals
            reply = await self.call(request.method, request.raw_path, headers, short)
            left = deadline - loop.time()
            if left <= 0 or reply.status != 200 or b'"Messages"' in reply.body:
                return reply
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, POLL_PERIOD_S)):
                    await arrivals.wait()
