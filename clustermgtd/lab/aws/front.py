"""The one address where all of AWS is: EC2 from the model, the rest from moto, and the lab's own controls."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import Callable
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web

from clustermgtd.lab.aws import service_quotas
from clustermgtd.lab.aws.controls import Controls
from clustermgtd.lab.aws.door import Ec2Door
from clustermgtd.lab.aws.events import EventBridge
from clustermgtd.lab.aws.moto_child import MotoChild
from clustermgtd.lab.aws.protocol import API_VERSION
from clustermgtd.lab.aws.services import MotoServices, service_of
from clustermgtd.lab.ec2.model import Ec2Model
from clustermgtd.lab.ec2.records import Ec2Event
from clustermgtd.lab.ec2.scenario import Scenario

BODY_MAX_BYTES = 64 * 2**20
STOP_TIMEOUT_S = 1.0


class AwsEndpoints:
    """AWS on 127.0.0.1.

    The model is touched on the event loop only; whoever uses `model` from another thread must go through the loop.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        port: int = 0,
        seed: int = 0,
        clock: Callable[[], float] = time.time,
        extra_routes: Callable[[web.Application], None] | None = None,
    ) -> None:
        self.model = Ec2Model(scenario, random.Random(seed))  # noqa: S311 - not for secrets
        self.endpoint_url = ""
        """`http://127.0.0.1:<port>`, once started."""
        self._scenario = scenario
        self._port = port
        self._clock = clock
        self._extra_routes = extra_routes
        self._listeners: list[Callable[[Ec2Event], None]] = []
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._timer: asyncio.TimerHandle | None = None

    def listen(self, callback: Callable[[Ec2Event], None]) -> None:
        """Have `callback` called on the event loop for every EC2 event, in order."""
        self._listeners.append(callback)

    async def start(self) -> None:
        """Serve.

        Raises:
            OSError: the port is taken.
        """
        self._services = MotoServices(MotoChild(self._scenario.account))
        self._bridge = EventBridge(self._services, self._scenario)
        self._door = await asyncio.to_thread(Ec2Door, self.model)
        self.listen(self._bridge.put)
        application = web.Application(client_max_size=BODY_MAX_BYTES)
        Controls(self.model, self._clock, self.pump).add_routes(application)
        if self._extra_routes is not None:
            self._extra_routes(application)
        application.router.add_route("*", "/{path:.*}", self._serve)
        # Handlers outlive their client: one that is cut off in the middle would free a service's lock while moto works.
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=STOP_TIMEOUT_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        except OSError:
            await self.close()
            raise
        port = self._runner.addresses[0][1]
        self.endpoint_url = f"http://127.0.0.1:{port}"
        self._tasks.append(asyncio.create_task(self._bridge.run(), name="eventbridge"))
        self.pump()

    async def warm_up(self) -> None:
        """Start moto now, not with the first call that needs it."""
        await self._services.start()

    @property
    def moto_pid(self) -> int | None:
        """moto's process id, once it runs."""
        return self._services.pid

    async def close(self) -> None:
        """Stop serving, and end moto."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        await self._services.close()

    def pump(self) -> None:
        """Bring the model up to now, tell everybody what happened, and come back when the next thing is due."""
        for event in self.model.advance(self._clock()):
            for callback in self._listeners:
                callback(event)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.model.next_event_at()
        if due is not None:
            delay = max(0.0, due - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self.pump)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        service = service_of(request)
        if service in ("ec2", ""):
            form = _form(request, body)
            if service == "ec2" or form.get("Version") == API_VERSION:
                return await self._serve_ec2(request, form)
        quota = service_quotas.answer(request, body, self._scenario)
        if quota is not None:
            return quota
        try:
            return await self._services.forward(request, body)
        except (TimeoutError, aiohttp.ClientError, RuntimeError) as error:
            return web.Response(status=503, text=f"moto does not answer: {error}")

    async def _serve_ec2(self, request: web.Request, form: dict[str, str]) -> web.StreamResponse:
        if self._scenario.api_latency_s > 0:
            await asyncio.sleep(self._scenario.api_latency_s)
        request_id = str(uuid.uuid4())
        answer = self._door.answer(form, self._clock(), request_id)
        self.pump()
        if answer.lost:
            assert request.transport is not None
            request.transport.abort()
            raise web.HTTPServiceUnavailable
        return web.Response(
            status=answer.status,
            body=answer.body.encode(),
            content_type="text/xml",
            charset="UTF-8",
            headers={"x-amzn-RequestId": request_id},
        )


def _form(request: web.Request, body: bytes) -> dict[str, str]:
    if request.method == "GET":
        return dict(request.query)
    if "x-www-form-urlencoded" not in request.headers.get("Content-Type", ""):
        return {}
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
