"""Where hints go: what Slurm's hooks said, to be looked at in the next tick."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from clustermgtd.model.ids import JobId, NodeName


class HintKind(StrEnum):
    RESUME = "resume"
    SUSPEND = "suspend"
    RESUME_FAIL = "resume-fail"


@dataclass(frozen=True, slots=True)
class Hint:
    """Slurm called a hook. True when it was sent, and perhaps no longer: Slurm's own state decides."""

    kind: HintKind
    nodes: tuple[NodeName, ...]
    """In Slurm's order; never empty."""
    id: str
    """Unique. The same hint may come twice, from the socket and from the spool."""
    sent_at: float
    """Epoch seconds."""
    jobs: tuple[JobId, ...] = ()
    """For the log; which job wants which nodes is read from Slurm."""
    note: str = ""
    """For people: what went wrong on the way here."""


class HintSink(Protocol):
    """The inbox of the loop: bounded, on the same event loop, never blocks."""

    def offer(self, hint: Hint, on_stored: Callable[[], None], /) -> bool:
        """Take a hint and wake the loop; False if the inbox is full, and then nothing was taken.

        `on_stored` is called once, on the event loop, after the tick that used the hint has stored its claims. It
        does not raise.
        """
        ...
