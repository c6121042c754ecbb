"""The daemon's side of its agents: what they told, and the sign of life that they watch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from clustermgtd.model.notice import Notice
from clustermgtd.ports.clock import Clock
from clustermgtd.ports.node_agents import NodeAgents
from clustermgtd.reconcile.heartbeat import Heartbeat
from clustermgtd.reconcile.loop import Loop
from clustermgtd.reconcile.node_reports import NodeReportBook
from clustermgtd.reconcile.notice_book import Offered
from clustermgtd.settings.node_agent import NodeAgent


class AgentDesk:
    """The book of reports and the heartbeat, as the settings of the moment want them."""

    def __init__(
        self,
        node_agents: NodeAgents,
        clock: Clock,
        settings: Callable[[], NodeAgent],
        loop: Callable[[], Loop],
        beaten: Callable[[float], None],
    ) -> None:
        """`loop` is woken by news and told of notices; `beaten`: see `Heartbeat`."""

        def offer(notices: Sequence[Notice]) -> bool:
            return loop().notices.offer(notices, _stored_anyway) is not Offered.REFUSED

        self.book = NodeReportBook(
            node_agents, clock, lambda: settings().report_seconds, lambda: loop().inbox.wake(), offer
        )
        self._heartbeat = Heartbeat(node_agents, clock, lambda: settings().dead_man_switch.heartbeat_seconds, beaten)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._heartbeat.run(), name="heartbeat")
            group.create_task(self.book.run(), name="node reports")


def _stored_anyway() -> None:
    """A node's report stays in the table, whatever became of its notices."""
