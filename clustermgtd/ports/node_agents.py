"""What the daemon and the agents on the nodes tell each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from clustermgtd.model.ids import InstanceId
from clustermgtd.model.node_report import NodeReport


@dataclass(frozen=True, slots=True, order=True)
class Announcement:
    """An agent says that its report has changed."""

    instance: InstanceId
    sequence: int
    """The report's."""


class NodeAgents(Protocol):
    """DynamoDB. Agents write reports and announce them; the daemon writes a heartbeat.

    Reads may lag some seconds, never backwards over an acknowledgement: a report is stored before it is announced.
    Anybody with a node's permissions can write any report, so reports are believed no further than they can harm.
    """

    async def beat(self) -> None:
        """Tell the agents that the head node lives.

        Raises:
            TransientError: that is not known; the next beat tells as much.
            ConfigurationError: it is not permitted, or the table is gone.
        """
        ...

    async def announcements(self) -> Collection[Announcement]:
        """Those that were not acknowledged, whichever daemon ran when they were made.

        Raises:
            TransientError, ConfigurationError: they could not be read.
        """
        ...

    async def reports(self, instances: Iterable[InstanceId]) -> Mapping[InstanceId, NodeReport]:
        """The newest reports. Instances without one, and reports that cannot be understood, are left out.

        Raises:
            TransientError, ConfigurationError: they could not be read.
        """
        ...

    async def acknowledge(self, announcements: Iterable[Announcement]) -> None:
        """Forget these. One that a newer report made meanwhile stays.

        Raises:
            TransientError, ConfigurationError: some may be seen again.
        """
        ...
