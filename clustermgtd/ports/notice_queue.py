"""The queue in which AWS's announcements arrive."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from clustermgtd.model.notice import Notice


class Verdict(StrEnum):
    """What a message turned out to be."""

    NOTICES = "notices"
    """It announces something about instances."""
    NO_NEWS = "no-news"
    """It is understood, and there is nothing in it for this cluster: another Region, another service, a launch."""
    UNKNOWN = "unknown"
    """Nobody here reads messages of its kind."""
    BAD = "bad"
    """It is not what its kind should be, or not a message at all."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message, already read."""

    receipt: str
    """What `delete` takes; good for the visibility time."""
    sent_at: float
    """When the queue took it, epoch seconds."""
    verdict: Verdict
    notices: tuple[Notice, ...] = ()
    """Not empty only if the verdict is `NOTICES`."""
    announced_at: float | None = None
    """The event's own time, epoch seconds; None where it has none that can be read."""
    kind: str = ""
    """The event's source and detail-type as far as they could be read, short and printable: for the log."""
    problem: str = ""
    """Of a bad one: which fields are wrong and how, without what is in them."""


class NoticeQueue(Protocol):
    """SQS, at least once and in no order: a message may come twice, late, or not at all.

    A received message stays out of sight for a visibility time and then comes again, unless it was deleted.
    """

    async def receive(self, wait_s: float) -> Sequence[Message]:
        """At most `MESSAGES_MAX` messages. Waits for the first one for at most so long; none is an answer too.

        Raises:
            TransientError: the queue does not answer.
            ConfigurationError: it does not exist, or may not be read.
        """
        ...

    async def delete(self, receipts: Collection[str]) -> int:
        """Delete messages, in as many calls as it takes. Returns how many are deleted: the others come again.

        Raises:
            TransientError, ConfigurationError: as `receive`; some may be deleted all the same.
        """
        ...

    async def depth(self) -> int:
        """About how many messages wait to be received.

        Raises:
            TransientError, ConfigurationError: as `receive`.
        """
        ...


MESSAGES_MAX = 10
"""In one receive, and in one delete call."""
