"""Records of what was intended and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from clustermgtd.model.claim import Launch
from clustermgtd.model.fleet_status import FleetRecord
from clustermgtd.model.ids import InstanceId, LaunchToken
from clustermgtd.model.offering_memory import OfferingMemory
from clustermgtd.model.safeguards import Safeguards


@dataclass(frozen=True, slots=True)
class Term:
    """One daemon's time as the only writer."""

    incarnation: str
    """Made once, with the table: two clusters of one name never share a launch token."""
    epoch: int
    """Grows by one with every daemon that takes over; every write is conditional on it."""

    @property
    def token_prefix(self) -> str:
        return f"clmgtd-{self.incarnation}-{self.epoch}-"


class ClaimStore(Protocol):
    """DynamoDB. Writes are atomic and conditional; reads are strongly consistent."""

    async def begin_term(self, holder: str) -> Term:
        """Become the writer; whoever was before is fenced from this moment on."""
        ...

    async def confirm_term(self) -> None:
        """Return if this daemon is still the writer.

        Raises:
            FencedError: another daemon began a term.
            TransientError: the leader record could not be read.
        """
        ...

    async def load(self) -> Mapping[LaunchToken, Launch]:
        """All open launches."""
        ...

    async def put(self, launch: Launch) -> Launch:
        """Store; returns the value with its new version. A launch that is no longer open is kept for a while for
        people to read, and does not come back from `load`.

        Raises:
            ConflictError: the stored version is not `launch.version`.
            FencedError: another daemon began a term.
            TransientError: the outcome is not known; a second `put` of the same value is safe (it succeeds if the
                first one did not, and also if it did).
        """
        ...

    async def load_offerings(self) -> OfferingMemory:
        """What was learned about offerings; empty, of version 0, before the first `put_offerings`."""
        ...

    async def put_offerings(self, offerings: OfferingMemory) -> OfferingMemory:
        """Store; returns the value with its new version.

        Raises:
            ConflictError, FencedError, TransientError: as `put`.
        """
        ...

    async def load_fleet(self) -> FleetRecord:
        """What operators asked for, and how far the daemon came; empty, of version 0, before the first write. Operators
        write it too, at any time, so it is read before each decision."""
        ...

    async def put_fleet(self, record: FleetRecord) -> FleetRecord:
        """Store; returns the value with its new version.

        Raises:
            ConflictError, FencedError, TransientError: as `put`. A conflict may also be an operator's request.
        """
        ...

    async def load_safeguards(self) -> Safeguards:
        """What is held back; empty, of version 0, before the first `put_safeguards`."""
        ...

    async def put_safeguards(self, safeguards: Safeguards) -> Safeguards:
        """Store; returns the value with its new version.

        Raises:
            ConflictError, FencedError, TransientError: as `put`.
        """
        ...

    async def boot_phases(self, instances: Iterable[InstanceId]) -> Mapping[InstanceId, Mapping[str, float]]:
        """What node agents reported: phase name -> epoch seconds. Instances without a report are left out."""
        ...
