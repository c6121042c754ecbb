"""The claim table as plain data: versions, terms, lost replies."""

from __future__ import annotations

from dataclasses import replace

from clustermgtd.errors import ConflictError, FencedError
from clustermgtd.model.claim import BACKED, Launch
from clustermgtd.model.fleet_status import FleetRecord
from clustermgtd.model.ids import InstanceId, LaunchToken, NodeName
from clustermgtd.model.offering_memory import OfferingMemory
from clustermgtd.model.safeguards import Safeguards


class Table:
    """Atomic conditional writes, one leader."""

    def __init__(self) -> None:
        self.epoch = 0
        self.items: dict[LaunchToken, Launch] = {}
        self.offerings = OfferingMemory()
        self.fleet = FleetRecord()
        self.safeguards = Safeguards()

    def begin_term(self) -> int:
        self.epoch += 1
        return self.epoch

    def confirm_term(self, epoch: int) -> None:
        if epoch != self.epoch:
            raise FencedError(f"term {epoch} ended, now is {self.epoch}")

    def put(self, launch: Launch, epoch: int) -> Launch:
        self.confirm_term(epoch)
        stored = self.items.get(launch.token)
        version = stored.version if stored else 0
        if stored is not None and version == launch.version + 1 and replace(launch, version=version) == stored:
            return stored
        if version != launch.version:
            raise ConflictError(f"{launch.token}: stored version {version}, expected {launch.version}")
        self.items[launch.token] = replace(launch, version=version + 1)
        return self.items[launch.token]

    def put_offerings(self, offerings: OfferingMemory, epoch: int) -> OfferingMemory:
        self.confirm_term(epoch)
        written = replace(offerings, version=offerings.version + 1)
        if self.offerings != written and self.offerings.version != offerings.version:
            raise ConflictError(f"offerings: stored version {self.offerings.version}, expected {offerings.version}")
        self.offerings = written
        return written

    def put_fleet(self, record: FleetRecord, epoch: int) -> FleetRecord:
        self.confirm_term(epoch)
        written = replace(record, version=record.version + 1)
        if self.fleet != written and self.fleet.version != record.version:
            raise ConflictError(f"fleet: stored version {self.fleet.version}, expected {record.version}")
        self.fleet = written
        return written

    def put_safeguards(self, safeguards: Safeguards, epoch: int) -> Safeguards:
        self.confirm_term(epoch)
        written = replace(safeguards, version=safeguards.version + 1)
        if self.safeguards != written and self.safeguards.version != safeguards.version:
            raise ConflictError(f"safeguards: version {self.safeguards.version} is stored")
        self.safeguards = written
        return written

    def ask_fleet(self, record: FleetRecord) -> None:
        """What an operator writes."""
        self.fleet = replace(record, version=record.version + 1)

    def open_launches(self) -> dict[LaunchToken, Launch]:
        return {token: launch for token, launch in sorted(self.items.items()) if launch.is_open}

    def node_of(self, instance: InstanceId) -> NodeName | None:
        """What the node agent on the instance reads."""
        for launch in self.items.values():
            for claim in launch.claims:
                if claim.instance == instance and claim.state in BACKED:
                    return claim.node
        return None
