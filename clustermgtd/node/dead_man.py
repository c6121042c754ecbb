"""The dead-man switch: has the head node been silent for too long?

It is judged by a counter that must change, on this node's own monotonic clock; no two clocks are compared. A table that
cannot be read says nothing about the head node, so only a much longer time counts then.
"""

from __future__ import annotations

from dataclasses import dataclass

_READS_PER_LIMIT = 10
_PERIOD_MAX_S = 300.0
_PERIOD_MIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds of silence after which a node ends itself."""

    idle_s: float
    """Without a job; 0: never."""
    job_s: float
    unreadable_s: float
    """At least so long while the table cannot be read."""

    @property
    def period_s(self) -> float:
        """Between two reads, on average."""
        return min(max(self.idle_s / _READS_PER_LIMIT, _PERIOD_MIN_S), _PERIOD_MAX_S)


class DeadManSwitch:
    """Armed by the first heartbeat that is read: a head node that never sends any cannot be missed."""

    def __init__(self, limits: Limits, now: float) -> None:
        """Times are monotonic seconds."""
        self._limits = limits
        self._beats: int | None = None
        self._changed_at = now
        self._is_readable = True

    def read(self, beats: int | None, now: float) -> None:
        """The table said so many beats. After a time without reading, silence counts anew: the head node may have been
        kept from writing by what kept this node from reading."""
        if beats != self._beats or not self._is_readable:
            self._changed_at = now
        self._beats = beats
        self._is_readable = True

    def failed(self) -> None:
        """The table could not be read."""
        self._is_readable = False

    @property
    def is_armed(self) -> bool:
        return self._beats is not None

    def silent_s(self, now: float) -> float:
        """Since the counter was last seen to change."""
        return now - self._changed_at

    def why_end(self, now: float, is_busy: bool) -> str:
        """Why this node should end itself now; empty if it should not."""
        if not self.is_armed or not self._limits.idle_s:
            return ""
        limit_s = self._limits.job_s if is_busy else self._limits.idle_s
        if not self._is_readable:
            limit_s = max(limit_s, self._limits.unreadable_s)
        silent_s = self.silent_s(now)
        if silent_s < limit_s:
            return ""
        cause = "the head node has not given a sign of life" if self._is_readable else "the heartbeat was not readable"
        work = "a job runs here" if is_busy else "no job runs here"
        return f"{cause} for {silent_s:.0f} s, {work}, and the limit is {limit_s:g} s"
