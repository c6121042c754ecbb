"""The HTTP endpoint that Prometheus and a person's curl ask: `/metrics` and `/healthz`."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from clustermgtd.errors import ConfigurationError

_BACKLOG = 16
_SHUTDOWN_S = 2.0
_REQUEST_BYTES_MAX = 1024


@dataclass(frozen=True, slots=True)
class Health:
    """What `/healthz` answers: 200 or 503, and the detail as JSON."""

    is_healthy: bool
    detail: Mapping[str, str | int | float | bool] = field(default_factory=dict)


class MetricsServer:
    """Serves one registry on one address, 127.0.0.1 unless the site chose otherwise: there is no authentication."""

    def __init__(self, address: str, port: int, registry: CollectorRegistry, health: Callable[[], Health]) -> None:
        self._address = address
        self._port = port
        self._registry = registry
        self._health = health
        self._socket: socket.socket | None = None

    def bind(self) -> int:
        """Take the address before anybody is told that the daemon is ready; returns the port (chosen if it was 0).

        Raises:
            ConfigurationError: the address is not this machine's, or the port is taken or not permitted.
        """
        family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((self._address, self._port))
            listening.listen(_BACKLOG)
        except OSError as error:
            listening.close()
            raise ConfigurationError(
                f"metrics cannot be served on {self._address} port {self._port}: {error.strerror or error}; "
                "choose another address or port"
            ) from error
        self._socket = listening
        port: int = listening.getsockname()[1]
        return port

    async def run(self) -> None:
        """Serve until cancelled; binds first if nobody has.

        Raises:
            ConfigurationError: as `bind`.
        """
        if self._socket is None:
            self.bind()
        assert self._socket is not None
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=_SHUTDOWN_S)
        try:
            await runner.setup()
            await web.SockSite(runner, self._socket).start()
            await asyncio.get_running_loop().create_future()
        finally:
            await runner.cleanup()
            self.close()

    def close(self) -> None:
        """Give the address back; for a start that failed between `bind` and `run`."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=_REQUEST_BYTES_MAX)
        application.router.add_get("/metrics", self._answer_metrics)
        application.router.add_get("/healthz", self._answer_health)
        return application

    async def _answer_metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    async def _answer_health(self, _request: web.Request) -> web.Response:
        health = self._health()
        body = json.dumps({"healthy": health.is_healthy, **health.detail}) + "\n"
        return web.Response(text=body, status=200 if health.is_healthy else 503, content_type="application/json")
