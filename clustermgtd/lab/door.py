"""The lab's own routes in the endpoints' web server: one look at everything, and switches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from aiohttp import web

from clustermgtd.errors import ClustermgtdError


class Switchboard(Protocol):
    """What can be asked of a lab."""

    async def describe(self, since: int) -> Mapping[str, Any]:
        """Everything the supervisor knows, with the events numbered `since` and later."""
        ...

    async def start_daemon(self) -> None:
        """Start the daemon and wait until it is ready."""
        ...

    async def stop_daemon(self) -> None:
        """End the daemon (SIGTERM) and wait for that."""
        ...

    async def restart_slurmctld(self) -> None:
        """End slurmctld and start it again on its saved state and the slurm.conf of now."""
        ...


def routes(switchboard: Switchboard) -> list[web.RouteDef]:
    """`GET /lab/site[?since=N]`, `POST /lab/site/daemon/start`, `POST /lab/site/daemon/stop`,
    `POST /lab/site/slurmctld/restart`."""

    async def describe(request: web.Request) -> web.Response:
        since = request.query.get("since", "0")
        if not since.isdecimal():
            return web.Response(status=400, text=f"since={since!r} is not a number")
        try:
            return web.json_response(await switchboard.describe(int(since)))
        except ClustermgtdError as error:
            return web.Response(status=503, text=str(error))

    def switch(turn: Callable[[], Awaitable[None]]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(_request: web.Request) -> web.Response:
            try:
                await turn()
            except ClustermgtdError as error:
                return web.Response(status=503, text=str(error))
            return web.json_response({})

        return handle

    return [
        web.get("/lab/site", describe),
        web.post("/lab/site/daemon/start", switch(switchboard.start_daemon)),
        web.post("/lab/site/daemon/stop", switch(switchboard.stop_daemon)),
        web.post("/lab/site/slurmctld/restart", switch(switchboard.restart_slurmctld)),
    ]
