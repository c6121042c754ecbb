"""The open launches in memory, exactly as stored: this daemon is the only writer, so nothing is read back per tick."""

from __future__ import annotations

from clustermgtd.errors import ConflictError, TransientError
from clustermgtd.model.claim import Launch
from clustermgtd.model.fleet_status import FleetRecord
from clustermgtd.model.ids import LaunchToken
from clustermgtd.model.offering_memory import OfferingMemory
from clustermgtd.model.safeguards import Safeguards
from clustermgtd.ports.claim_store import ClaimStore, Term


class Ledger:
    """Open launches, launches in flight, and this term's counter."""

    def __init__(self, store: ClaimStore) -> None:
        self._claim_store = store
        self._launches: dict[LaunchToken, Launch] = {}
        self._is_stale = False
        self.in_flight: set[LaunchToken] = set()
        self.next_launch = 0
        self.term: Term | None = None
        self.offerings = OfferingMemory()
        """As stored."""
        self.safeguards = Safeguards()
        """As stored."""
        self.fleet = FleetRecord()
        """As last read or written; operators write it too."""

    @property
    def launches(self) -> dict[LaunchToken, Launch]:
        """A copy, so that a snapshot stays what it was."""
        return dict(self._launches)

    async def begin(self, holder: str) -> Term:
        """Become the writer and read what is open."""
        self.term = await self._claim_store.begin_term(holder)
        self.next_launch = 0
        await self._load()
        return self.term

    async def confirm(self) -> None:
        """Before a tick: still the writer, and memory equals the table.

        Raises:
            FencedError: another daemon took over.
        """
        await self._claim_store.confirm_term()
        if self._is_stale:
            await self._load()
            self._is_stale = False

    async def _load(self) -> None:
        self._launches = dict(await self._claim_store.load())
        self.offerings = await self._claim_store.load_offerings()
        self.safeguards = await self._claim_store.load_safeguards()

    async def store(self, launch: Launch) -> Launch:
        """Store a launch and keep its new version; a closed one is let go.

        Raises:
            ConflictError: memory was out of date; the next `confirm` reads the table again.
            FencedError: another daemon took over.
            TransientError: the outcome is not known; the next `confirm` reads the table again, because an intent that
                was stored without our learning of it would let its node be claimed twice.
        """
        try:
            stored = await self._claim_store.put(launch)
        except (ConflictError, TransientError):
            self._is_stale = True
            raise
        if stored.is_open:
            self._launches[stored.token] = stored
        else:
            self._launches.pop(stored.token, None)
        return stored

    async def store_offerings(self, offerings: OfferingMemory) -> None:
        """Store what was learned about offerings and keep its new version.

        Raises:
            ConflictError, FencedError, TransientError: as `store`.
        """
        try:
            self.offerings = await self._claim_store.put_offerings(offerings)
        except (ConflictError, TransientError):
            self._is_stale = True
            raise

    async def store_safeguards(self, safeguards: Safeguards) -> None:
        """Store what is held back and keep its new version.

        Raises:
            ConflictError, FencedError, TransientError: as `store`.
        """
        try:
            self.safeguards = await self._claim_store.put_safeguards(safeguards)
        except (ConflictError, TransientError):
            self._is_stale = True
            raise

    async def read_fleet(self) -> FleetRecord:
        """What operators ask for by now.

        Raises:
            TransientError: it could not be read.
        """
        self.fleet = await self._claim_store.load_fleet()
        return self.fleet

    async def store_fleet(self, record: FleetRecord) -> None:
        """Store how far stops and starts have come. Nothing is kept back: it is read again before the next decision.

        Raises:
            ConflictError, FencedError, TransientError: as `store`.
        """
        self.fleet = await self._claim_store.put_fleet(record)
