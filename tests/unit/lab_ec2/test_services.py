"""The way to moto: who waits for whom."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from clustermgtd.lab.aws.services import Forwarded, MotoServices


class FakeMoto:
    """Answers after a moment, and counts how many calls of a service it works on at once."""

    def __init__(self) -> None:
        self.url = ""
        self.pid = None
        self.starts = 0
        self.most: Counter[str] = Counter()
        self._now: Counter[str] = Counter()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        self.starts += 1
        application = web.Application()
        application.router.add_post("/{service}", self._answer)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        for name in (request.match_info["service"], "all"):
            self._now[name] += 1
            self.most[name] = max(self.most[name], self._now[name])
        await asyncio.sleep(0.01)
        for name in (request.match_info["service"], "all"):
            self._now[name] -= 1
        return web.Response(text="done")


@asynccontextmanager
async def services() -> AsyncIterator[tuple[MotoServices, FakeMoto]]:
    moto = FakeMoto()
    served = MotoServices(moto)
    try:
        yield served, moto
    finally:
        await served.close()


async def call(served: MotoServices, service: str, *, locked: bool = True) -> Forwarded:
    return await served.call("POST", f"/{service}", {}, b"", lock=service if locked else "")


def test_calls_of_one_service_go_one_at_a_time() -> None:
    async def scenario() -> None:
        async with services() as (served, moto):
            await asyncio.gather(*(call(served, "dynamodb") for _ in range(10)))
            assert moto.most["dynamodb"] == 1

    asyncio.run(scenario())


def test_services_do_not_wait_for_each_other() -> None:
    async def scenario() -> None:
        async with services() as (served, moto):
            await asyncio.gather(*(call(served, service) for service in ("dynamodb", "sqs", "ssm") for _ in range(5)))
            assert moto.most["all"] == 3

    asyncio.run(scenario())


def test_a_call_without_a_lock_waits_for_nobody() -> None:
    async def scenario() -> None:
        async with services() as (served, moto):
            await asyncio.gather(*(call(served, "sqs", locked=False) for _ in range(5)))
            assert moto.most["sqs"] == 5

    asyncio.run(scenario())


def test_moto_starts_with_the_first_call_and_once() -> None:
    async def scenario() -> None:
        async with services() as (served, moto):
            assert not served.is_running
            replies = await asyncio.gather(*(call(served, "sqs") for _ in range(5)))
            assert (moto.starts, served.is_running) == (1, True)
            assert {(r.status, r.body) for r in replies} == {(200, b"done")}

    asyncio.run(scenario())
