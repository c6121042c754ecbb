"""The endpoint, over real sockets on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from clustermgtd.errors import ConfigurationError
from clustermgtd.telemetry.exposition import Health, MetricsServer
from clustermgtd.telemetry.metrics import Metrics

TIMEOUT = aiohttp.ClientTimeout(total=20)


def served(
    story: Callable[[aiohttp.ClientSession, str], Awaitable[None]], health: Callable[[], Health] = lambda: Health(True)
) -> None:
    """Run a story against a server with one daemon's metrics."""

    async def run() -> None:
        registry = CollectorRegistry()
        Metrics(registry).started("1.2.3")
        server = MetricsServer("127.0.0.1", 0, registry, health)
        port = server.bind()
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.run())
            try:
                async with aiohttp.ClientSession(timeout=TIMEOUT) as client:
                    await story(client, f"http://127.0.0.1:{port}")
            finally:
                serving.cancel()

    asyncio.run(run())


def test_a_person_gets_plain_text() -> None:
    async def story(client: aiohttp.ClientSession, url: str) -> None:
        async with client.get(f"{url}/metrics") as answer:
            assert answer.status == 200
            assert answer.content_type == "text/plain"
            assert 'clustermgtd_build_info{version="1.2.3"} 1.0' in await answer.text()

    served(story)


def test_prometheus_gets_openmetrics_that_parse() -> None:
    async def story(client: aiohttp.ClientSession, url: str) -> None:
        accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
        async with client.get(f"{url}/metrics", headers=accept) as answer:
            assert answer.content_type == "application/openmetrics-text"
            families = {family.name for family in text_string_to_metric_families(await answer.text())}
        assert {"clustermgtd_ticks", "clustermgtd_instances", "clustermgtd_port_call_duration_seconds"} <= families

    served(story)


@pytest.mark.parametrize(("is_healthy", "status"), [(True, 200), (False, 503)])
def test_health_is_a_status_and_a_reason(is_healthy: bool, status: int) -> None:
    async def story(client: aiohttp.ClientSession, url: str) -> None:
        async with client.get(f"{url}/healthz") as answer:
            assert answer.status == status
            assert await answer.json() == {"healthy": is_healthy, "last_tick_age_s": 12.5}

    served(story, lambda: Health(is_healthy, {"last_tick_age_s": 12.5}))


def test_nothing_else_is_there() -> None:
    async def story(client: aiohttp.ClientSession, url: str) -> None:
        async with client.get(f"{url}/") as answer:
            assert answer.status == 404
        async with client.post(f"{url}/metrics") as answer:
            assert answer.status == 405

    served(story)


def test_a_taken_port_is_the_sites_to_mend() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = MetricsServer("127.0.0.1", port, CollectorRegistry(), lambda: Health(True))
        with pytest.raises(ConfigurationError, match=f"127.0.0.1 port {port}: Address already in use"):
            server.bind()


def test_an_address_of_another_machine_is_the_sites_to_mend() -> None:
    server = MetricsServer("192.0.2.1", 0, CollectorRegistry(), lambda: Health(True))
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1"):
        asyncio.run(server.run())


def test_the_address_is_free_again_afterwards() -> None:
    async def story() -> None:
        server = MetricsServer("127.0.0.1", 0, CollectorRegistry(), lambda: Health(True))
        port = server.bind()
        serving = asyncio.create_task(server.run())
        await asyncio.sleep(0)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        again = MetricsServer("127.0.0.1", port, CollectorRegistry(), lambda: Health(True))
        assert again.bind() == port
        again.close()

    asyncio.run(story())
