"""What intake tells telemetry."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Source(StrEnum):
    SOCKET = "socket"
    SPOOL = "spool"


class Rejection(StrEnum):
    """Why something that came in was not taken."""

    BUSY = "busy"
    """More connections at once than are served."""
    UID = "uid"
    """The sender is not one of the users that may speak here."""
    SLOW = "slow"
    """No whole line within the deadline."""
    TOO_LONG = "too-long"
    GARBAGE = "garbage"
    VERSION = "version"
    HOSTLIST = "hostlist"
    """The nodes named are not a hostlist."""
    INBOX_FULL = "inbox-full"
    """To be offered again."""
    UNREADABLE = "unreadable"
    """A spooled file that is not a plain file or cannot be read."""


class IntakeObserver(Protocol):
    """Counts. Called on the event loop; does not raise."""

    def accepted(self, kind: str, source: Source) -> None:
        """A request was taken: `resume`, `suspend`, `resume-fail` or `start-gate`."""
        ...

    def rejected(self, reason: Rejection, source: Source, detail: str) -> None:
        """A request was not taken; `detail` is for the log."""
        ...


class Unobserved:
    """Counts nothing."""

    def accepted(self, kind: str, source: Source) -> None:
        del kind, source

    def rejected(self, reason: Rejection, source: Source, detail: str) -> None:
        del reason, source, detail
