"""A wire with faults: stands between an AWS client and its endpoint, and spoils the calls that a test plans."""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum, auto
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web


class Fault(Enum):
    """What happens to one matching call."""

    REFUSED = auto()
    """The connection is closed before anything is done."""
    UNAVAILABLE = auto()
    """503 with a page of HTML, as a load balancer answers."""
    THROTTLED = auto()
    """The service's own throttling error, without effect."""
    DENIED = auto()
    """The role may not do this."""
    REPLY_LOST = auto()
    """The call has its effect, and the connection is closed instead of a reply."""
    REPLY_CUT = auto()
    """The call has its effect, and half of the reply arrives as if it were whole."""


_CODES = {
    # by fault: status and code of EC2, code of DynamoDB (always 400)
    Fault.THROTTLED: (503, "RequestLimitExceeded", "ThrottlingException"),
    Fault.DENIED: (403, "UnauthorizedOperation", "AccessDeniedException"),
}


class Wire:
    """An endpoint on a free port of loopback, forwarding to `target`."""

    def __init__(self, target: str) -> None:
        self._target = target.rstrip("/")
        self._planned: deque[tuple[str, Fault]] = deque()
        self._runner = web.AppRunner(self._application(), access_log=None)
        self._one_at_a_time = asyncio.Lock()  # makes an endpoint atomic that is not
        self.url = ""
        self.bodies: list[bytes] = []
        """Requests' bodies as they came, in order; spoiled ones too."""

    def spoil_next(self, operation: str, fault: Fault, *, times: int = 1) -> None:
        """The next calls of an operation (`CreateFleet`) meet `fault`; plans are used in order."""
        self._planned.extend([(operation, fault)] * times)

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(auto_decompress=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()
        await self._runner.cleanup()
        if kind is None:
            assert not self._planned, f"faults that no call met: {self._planned}"

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=64 * 1024**2)
        application.router.add_route("*", "/{path:.*}", self._handle)
        return application

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.bodies.append(body)
        fault = self._fault_of(request, body)
        if fault is Fault.REFUSED:
            return _hang_up(request)
        if fault is Fault.UNAVAILABLE:
            return web.Response(status=503, text="<html><body>Service Unavailable</body></html>")
        if fault in _CODES:
            return _refusal(request, fault)
        headers = {name: value for name, value in request.headers.items() if name.lower() != "transfer-encoding"}
        async with (
            self._one_at_a_time,
            self._client.request(
                request.method, f"{self._target}{request.path_qs}", data=body, headers=headers
            ) as reply,
        ):
            content = await reply.read()
            if fault is Fault.REPLY_LOST:
                return _hang_up(request)
            if fault is Fault.REPLY_CUT:
                content = content[: len(content) // 2]
            kept = {name: value for name, value in reply.headers.items() if name.lower().startswith("x-amz")}
            return web.Response(
                status=reply.status, body=content, headers=kept | {"Content-Type": reply.headers["Content-Type"]}
            )

    def _fault_of(self, request: web.Request, body: bytes) -> Fault | None:
        target = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        if self._planned:
            operation, fault = self._planned[0]
            if target == operation or f"Action={operation}&".encode() in body + b"&":
                self._planned.popleft()
                return fault
        return None


def _hang_up(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def _refusal(request: web.Request, fault: Fault) -> web.Response:
    status, ec2_code, dynamodb_code = _CODES[fault]
    if "X-Amz-Target" in request.headers:
        body = {"__type": f"com.amazonaws.dynamodb.v20120810#{dynamodb_code}", "message": "not now"}
        return web.json_response(body, status=400, content_type="application/x-amz-json-1.0")
    text = (
        f"<Response><Errors><Error><Code>{ec2_code}</Code><Message>not now</Message></Error></Errors>"
        "<RequestID>req-refused</RequestID></Response>"
    )
    return web.Response(status=status, text=text, content_type="text/xml")
