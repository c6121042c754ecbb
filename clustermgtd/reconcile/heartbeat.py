"""The sign of life that node agents watch. It needs the table alone, so Slurm or EC2 may be unreadable meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from clustermgtd.errors import ClustermgtdError
from clustermgtd.ports.clock import Clock
from clustermgtd.ports.node_agents import NodeAgents

log = structlog.get_logger(__name__)

RETRY_S = 5.0


class Heartbeat:
    """Beats once in a period; after a failure sooner."""

    def __init__(
        self, node_agents: NodeAgents, clock: Clock, period_s: Callable[[], float], done: Callable[[float], None]
    ) -> None:
        """`done` is told the epoch second of each beat that was written."""
        self._node_agents = node_agents
        self._clock = clock
        self._period_s = period_s
        self._done = done

    async def run(self) -> None:
        """Until cancelled. A failure is logged when it begins and when it ends."""
        has_failed = False
        while True:
            pause_s = self._period_s()
            try:
                await self._node_agents.beat()
            except ClustermgtdError as error:
                if not has_failed:
                    log.warning("heartbeat_not_written", error=str(error))
                has_failed = True
                pause_s = min(RETRY_S, pause_s)
            else:
                if has_failed:
                    log.info("heartbeat_written_again")
                has_failed = False
                self._done(self._clock.now())
            await self._clock.sleep(pause_s)
