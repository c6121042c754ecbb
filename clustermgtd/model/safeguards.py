"""What the daemon holds back on its own, and the counts that this depends on. Stored: a restart forgets nothing."""

from __future__ import annotations

from dataclasses import dataclass

from clustermgtd.model.ids import QueueName


@dataclass(frozen=True, slots=True)
class TerminationPolicy:
    """How many involuntary terminations are allowed."""

    per_minute: int = 20
    """Of all queues."""
    percent: float = 25.0
    """Of the queue's instances, within a minute; at least `ALWAYS_ALLOWED`."""


ALWAYS_ALLOWED = 2
"""Of one queue within a minute, however small it is."""
WINDOW_S = 60.0


@dataclass(frozen=True, slots=True, order=True)
class Terminated:
    """Involuntary terminations of one decision."""

    at: float
    """Epoch seconds."""
    queue: QueueName
    reason: str
    """A `Reason`, as text."""
    count: int


@dataclass(frozen=True, slots=True, order=True)
class HeldBack:
    """Terminations that a limit forbids for now."""

    queue: QueueName
    reason: str
    """A `Reason`, as text."""
    count: int


@dataclass(frozen=True, slots=True)
class Safeguards:
    """All of it, as stored."""

    terminated: tuple[Terminated, ...] = ()
    """Those of the last minute, as of the last write; sorted."""
    held_back: tuple[HeldBack, ...] = ()
    """Sorted. Not empty: somebody has to look."""
    version: int = 0
    """The stored version this value was read from; 0 is not stored yet."""
