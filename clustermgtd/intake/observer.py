"""What intake tells telemetry."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Source(StrEnum):
    SOCKET = "socket"
    SPOOL = "spool"


class Rejection(StrEnum):
    """Why something that came in was not taken."""

    MALFORMED = "malformed"
    """Not a request of the protocol, or its nodes are not a hostlist."""
    UNSUPPORTED_VERSION = "unsupported-version"
    TOO_LARGE = "too-large"
    NOT_PERMITTED = "not-permitted"
    """The sender is not one of the users that may speak here."""
    BUSY = "busy"
    """A bound was reached, connections or inbox; the request comes again by way of the spool folder."""
    TIMED_OUT = "timed-out"
    """The sender did not finish its request, or did not wait for the reply."""
    UNREADABLE = "unreadable"
    """The spool folder, or a file in it, cannot be read, moved or removed."""


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
