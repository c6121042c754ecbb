"""An EC2 endpoint that answers what a test wrote down."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl

from aiohttp import web

Form = dict[str, str]
Answer = tuple[int, str]
"""HTTP status and XML."""


def failure(code: str, message: str = "no", *, status: int = 400) -> Answer:
    return status, (
        f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
        "<RequestID>req-7</RequestID></Response>"
    )


def success(action: str, body: str = "") -> Answer:
    return 200, f"<{action}Response><requestId>req-8</requestId>{body}</{action}Response>"


class ScriptedEc2:
    """Answers each call with `answer(form)` and keeps the calls."""

    def __init__(self, answer: Callable[[Form], Answer]) -> None:
        self._answer = answer
        application = web.Application(client_max_size=64 * 1024**2)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None)
        self.calls: list[Form] = []
        self.bodies: list[bytes] = []
        self.url = ""

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        form = dict(parse_qsl(body.decode()))
        self.bodies.append(body)
        self.calls.append(form)
        status, text = self._answer(form)
        return web.Response(status=status, text=text, content_type="text/xml")


def instance_ids(form: Form) -> list[str]:
    """The ids that a TerminateInstances call names."""
    return [value for key, value in form.items() if key.startswith("InstanceId.")]
