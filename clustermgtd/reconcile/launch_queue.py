"""What stands between a stored intent and its call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from clustermgtd.model.claim import Launch
from clustermgtd.model.ids import LaunchToken


class LaunchQueue(Protocol):
    """Launches wait here until EC2's limits allow their calls."""

    @property
    def waiting(self) -> frozenset[LaunchToken]:
        """Launches whose turn has not come: their calls have not been made, and can still be prevented."""
        ...

    def withdraw(self, launch: LaunchToken) -> bool:
        """Take a launch out of the queue; its `turn` raises WithdrawnError. False if it does not wait (any more)."""
        ...

    def turn(self, launch: Launch) -> AbstractAsyncContextManager[float]:
        """Wait for the launch's turn, for as long as it takes; gives the seconds that this took.

        The call is to be made inside. A turn that is left without a call, by whatever error or cancellation, gives
        back what was reserved for it.

        Raises:
            WithdrawnError: nobody wants the launch any more; no call was made.
        """
        ...


class NoQueue:
    """Every launch's turn is at once."""

    waiting: frozenset[LaunchToken] = frozenset()

    def withdraw(self, launch: LaunchToken) -> bool:  # noqa: ARG002 - nothing ever waits
        return False

    @asynccontextmanager
    async def turn(self, launch: Launch) -> AsyncIterator[float]:  # noqa: ARG002 - every launch is the same
        yield 0.0
