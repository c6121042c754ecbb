"""The lab's AWS without token buckets, in a process of its own, with a count of the calls that came.

`python -m tests.benchmarks.endpoints` prints its URL and serves until its standard input closes. `GET /bench/calls`
answers `{operation: {"count": ..., "last": epoch seconds of the newest answer}}`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from urllib.parse import parse_qs

from aiohttp import web
from aiohttp.typedefs import Handler

from clustermgtd.lab.aws.front import AwsEndpoints
from clustermgtd.lab.ec2.scenario import Scenario
from tests.benchmarks.message_queue import MessageQueue


class Calls:
    """Counts by operation."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, float]] = {}

    def add_to(self, application: web.Application) -> None:
        application.middlewares.append(self._count)
        application.router.add_get("/bench/calls", self._answer)

    @web.middleware
    async def _count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/bench/"):
            return await handler(request)
        operation = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        if not operation:
            operation = parse_qs((await request.read())[:4096].decode())["Action"][0]
        response = await handler(request)
        seen = self._seen.setdefault(operation, {"count": 0})
        seen["count"] += 1
        seen["last"] = time.time()
        return response

    async def _answer(self, _: web.Request) -> web.Response:
        return web.json_response(self._seen)


async def _serve() -> None:
    scenario = Scenario(request_buckets={}, resource_buckets={}, boot_delay_s=0.1, terminate_delay_s=0.1)

    def add_to(application: web.Application) -> None:
        Calls().add_to(application)
        MessageQueue().add_to(application)

    endpoints = AwsEndpoints(scenario, extra_routes=add_to)
    await endpoints.start()
    try:
        await endpoints.warm_up()
        print(endpoints.endpoint_url, flush=True)
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await endpoints.close()


if __name__ == "__main__":
    asyncio.run(_serve())
