"""Time."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """The only source of time outside the adapters."""

    def now(self) -> float:
        """Epoch seconds. May step (NTP); used for records that others read."""
        ...

    def monotonic(self) -> float:
        """Seconds since some start. Never steps back; used for deadlines and durations."""
        ...

    async def sleep(self, seconds: float) -> None: ...
