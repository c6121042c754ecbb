"""The claim table as plain data behind the port `ClaimStore`. Several stores over one table are several daemons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from clustermgtd.errors import ConflictError, FencedError
from clustermgtd.model.claim import Launch
from clustermgtd.model.fleet_status import FleetRecord
from clustermgtd.model.ids import InstanceId, LaunchToken
from clustermgtd.model.offering_memory import OfferingMemory
from clustermgtd.model.safeguards import Safeguards
from clustermgtd.ports.claim_store import Term
from tests.fakes.faults import Faults


@dataclass
class FakeTable:
    """What is stored; survives its daemons."""

    incarnation: str = "0badcafe"
    epoch: int = 0
    holder: str = ""
    launches: dict[LaunchToken, Launch] = field(default_factory=dict)
    """Closed ones too."""
    offerings: OfferingMemory = OfferingMemory()
    fleet: FleetRecord = FleetRecord()
    safeguards: Safeguards = Safeguards()
    phases: dict[InstanceId, dict[str, float]] = field(default_factory=dict)


@dataclass
class FakeClaimStore:
    table: FakeTable = field(default_factory=FakeTable)
    faults: Faults = field(default_factory=Faults)
    """By method: `begin_term`, `confirm_term`, `load`, `put`, `load_offerings`, `put_offerings`, `load_fleet`,
    `put_fleet`, `boot_phases`."""
    puts: int = 0
    offering_puts: int = 0
    _epoch: int = 0

    async def begin_term(self, holder: str) -> Term:
        with self.faults.around("begin_term"):
            self.table.epoch += 1
            self.table.holder = holder
        self._epoch = self.table.epoch
        return Term(self.table.incarnation, self._epoch)

    async def confirm_term(self) -> None:
        with self.faults.around("confirm_term"):
            if self._epoch != self.table.epoch or not self._epoch:
                raise FencedError(f"term {self._epoch} is over, {self.table.holder!r} writes now")

    async def load(self) -> Mapping[LaunchToken, Launch]:
        with self.faults.around("load"):
            return {token: launch for token, launch in self.table.launches.items() if launch.is_open}

    async def put(self, launch: Launch) -> Launch:
        self.puts += 1
        with self.faults.around("put"):
            if self._epoch != self.table.epoch or not self._epoch:
                raise FencedError(f"term {self._epoch} is over, {self.table.holder!r} writes now")
            stored = self.table.launches.get(launch.token)
            written = replace(launch, version=launch.version + 1)
            if stored != written:
                if (stored.version if stored else 0) != launch.version:
                    raise ConflictError(f"{launch.token}: version {launch.version} is not the stored one")
                self.table.launches[launch.token] = written
        return written

    async def load_offerings(self) -> OfferingMemory:
        with self.faults.around("load_offerings"):
            return self.table.offerings

    async def put_offerings(self, offerings: OfferingMemory) -> OfferingMemory:
        self.offering_puts += 1
        with self.faults.around("put_offerings"):
            if self._epoch != self.table.epoch or not self._epoch:
                raise FencedError(f"term {self._epoch} is over, {self.table.holder!r} writes now")
            written = replace(offerings, version=offerings.version + 1)
            if self.table.offerings != written:
                if self.table.offerings.version != offerings.version:
                    raise ConflictError(f"offerings: version {offerings.version} is not the stored one")
                self.table.offerings = written
        return written

    async def load_fleet(self) -> FleetRecord:
        with self.faults.around("load_fleet"):
            return self.table.fleet

    async def put_fleet(self, record: FleetRecord) -> FleetRecord:
        with self.faults.around("put_fleet"):
            if self._epoch != self.table.epoch or not self._epoch:
                raise FencedError(f"term {self._epoch} is over, {self.table.holder!r} writes now")
            written = replace(record, version=record.version + 1)
            if self.table.fleet != written:
                if self.table.fleet.version != record.version:
                    raise ConflictError(f"fleet: version {record.version} is not the stored one")
                self.table.fleet = written
        return written

    async def load_safeguards(self) -> Safeguards:
        with self.faults.around("load_safeguards"):
            return self.table.safeguards

    async def put_safeguards(self, safeguards: Safeguards) -> Safeguards:
        with self.faults.around("put_safeguards"):
            if self._epoch != self.table.epoch or not self._epoch:
                raise FencedError(f"term {self._epoch} is over, {self.table.holder!r} writes now")
            written = replace(safeguards, version=safeguards.version + 1)
            if self.table.safeguards != written:
                if self.table.safeguards.version != safeguards.version:
                    raise ConflictError(f"safeguards: version {safeguards.version} is not the stored one")
                self.table.safeguards = written
        return written

    async def boot_phases(self, instances: Iterable[InstanceId]) -> Mapping[InstanceId, Mapping[str, float]]:
        with self.faults.around("boot_phases"):
            return {id: dict(self.table.phases[id]) for id in instances if id in self.table.phases}
