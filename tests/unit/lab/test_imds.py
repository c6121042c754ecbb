"""The lab's metadata service, asked by the node agent's own client and by plain requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web

from clustermgtd.errors import NotFoundError, TransientError
from clustermgtd.lab.imds import TOKEN_HEADER, TTL_HEADER, Metadata, MetadataServer
from clustermgtd.node.imds import MetadataService

SPOT = Metadata(
    instance_id="i-1",
    instance_type="c5.large",
    private_address="10.0.0.7",
    zone="us-east-1a",
    is_spot=True,
    tags={"clustermgtd:launch-token": "token-7", "Name": "x"},
    user_data="#!/bin/sh\n",
)


class Instances(dict[str, Metadata]):
    now = 1_000.0


def serve(test: Callable[[str, Instances], Awaitable[None]]) -> None:
    """Run `test` against a server with one spot instance."""

    async def run() -> None:
        instances = Instances({"i-1": SPOT})
        application = web.Application()
        application.add_routes(MetadataServer(instances.get, lambda: instances.now).routes())
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            host, port = runner.addresses[0][:2]
            await test(f"http://{host}:{port}/imds/i-1", instances)
        finally:
            await runner.cleanup()

    asyncio.run(run())


def test_the_agent_learns_who_it_is() -> None:
    async def test(endpoint: str, instances: Instances) -> None:
        identity = await asyncio.to_thread(MetadataService(endpoint).identity)
        assert (identity.instance_id, identity.launch_token) == ("i-1", "token-7")
        assert (identity.instance_type, identity.region) == ("c5.large", "us-east-1")

    serve(test)


def test_without_a_launch_token_the_agent_is_told_what_is_missing() -> None:
    async def test(endpoint: str, instances: Instances) -> None:
        instances["i-1"] = replace(SPOT, tags={})
        with pytest.raises(NotFoundError, match="InstanceMetadataTags"):
            await asyncio.to_thread(MetadataService(endpoint).identity)

    serve(test)


def test_an_instance_that_is_gone_does_not_answer() -> None:
    async def test(endpoint: str, instances: Instances) -> None:
        instances.clear()
        with pytest.raises(TransientError, match="404"):
            await asyncio.to_thread(MetadataService(endpoint).identity)

    serve(test)


def test_the_agent_renews_a_token_that_is_refused() -> None:
    async def test(endpoint: str, instances: Instances) -> None:
        service = MetadataService(endpoint)
        assert await asyncio.to_thread(service.get, "meta-data/local-ipv4") == "10.0.0.7"
        instances.now += 30_000
        with pytest.raises(TransientError, match="401"):
            await asyncio.to_thread(service.get, "meta-data/local-ipv4")
        assert await asyncio.to_thread(service.get, "meta-data/local-ipv4") == "10.0.0.7"

    serve(test)


@pytest.mark.parametrize("token", [None, "", "made-up"])
def test_no_valid_token_no_answer(token: str | None) -> None:
    async def test(endpoint: str, instances: Instances) -> None:
        headers = {} if token is None else {TOKEN_HEADER: token}
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{endpoint}/latest/meta-data/instance-id", headers=headers) as answer,
        ):
            assert answer.status == 401

    serve(test)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({TTL_HEADER: "0"}, 400),
        ({TTL_HEADER: "21601"}, 400),
        ({TTL_HEADER: "ten"}, 400),
        ({TTL_HEADER: "60", "X-Forwarded-For": "10.0.0.1"}, 403),
        ({TTL_HEADER: "60"}, 200),
    ],
)
def test_a_token_needs_a_time_to_live_and_no_proxy(headers: dict[str, str], status: int) -> None:
    async def test(endpoint: str, instances: Instances) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.put(f"{endpoint}/latest/api/token", headers=headers) as answer,
        ):
            assert answer.status == status

    serve(test)


def test_the_spot_notice_appears_when_it_is_given() -> None:
    async def test(endpoint: str, instances: Instances) -> None:
        service = MetadataService(endpoint)
        with pytest.raises(NotFoundError):
            await asyncio.to_thread(service.get, "meta-data/spot/instance-action")
        instances["i-1"] = replace(SPOT, spot_notice_at=1_000_000_000.0, rebalance_notice_at=0.0)
        notice = json.loads(await asyncio.to_thread(service.get, "meta-data/spot/instance-action"))
        assert notice == {"action": "terminate", "time": "2001-09-09T01:46:40Z"}
        advice = await asyncio.to_thread(service.get, "meta-data/events/recommendations/rebalance")
        assert json.loads(advice) == {"noticeTime": "1970-01-01T00:00:00Z"}

    serve(test)


def test_folders_are_listed() -> None:
    async def test(endpoint: str, instances: Instances) -> None:
        service = MetadataService(endpoint)
        assert await asyncio.to_thread(service.get, "meta-data/tags/instance") == "Name\nclustermgtd:launch-token"
        assert "placement/" in (await asyncio.to_thread(service.get, "meta-data/")).split("\n")
        assert await asyncio.to_thread(service.get, "user-data") == "#!/bin/sh\n"
        document = json.loads(await asyncio.to_thread(service.get, "dynamic/instance-identity/document"))
        assert document["instanceId"] == "i-1"

    serve(test)
