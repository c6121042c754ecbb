"""Capacity reservations and capacity blocks, as far as launches depend on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from clustermgtd.lab.ec2.instances import InstanceStore
from clustermgtd.lab.ec2.records import CAPACITY_BLOCK, SPOT, Ec2Error, InstanceRecord, LaunchData
from clustermgtd.lab.ec2.scenario import ReservationSpec, Scenario


@dataclass(frozen=True, slots=True)
class Reserved:
    """Where instances of one kind may run for what is paid already."""

    ids: tuple[str, ...] = ()
    """Reservations that are used up in this order."""
    is_only: bool = False
    """They run nowhere else."""


class Reservations:
    """The account's reservations by id."""

    def __init__(self, scenario: Scenario, store: InstanceStore) -> None:
        self._store = store
        self._specs: dict[str, ReservationSpec] = dict(scenario.capacity_reservations)
        self._reclaim_s = scenario.block_reclaim_s

    def add(self, id: str, spec: ReservationSpec) -> None:
        """*lab*: a new reservation, or another content of an old one. What runs in it stays."""
        self._specs[id] = spec

    def remove(self, id: str) -> None:
        """*lab*: EC2 forgets a reservation, as it does some time after its end."""
        self._specs.pop(id, None)

    def all(self) -> Mapping[str, ReservationSpec]:
        """Sorted by id."""
        return dict(sorted(self._specs.items()))

    def state(self, id: str, now: float) -> str:
        """scheduled, active or expired."""
        spec = self._specs[id]
        if now < spec.starts_at:
            return "scheduled"
        return "expired" if spec.ends_at is not None and now >= spec.ends_at else "active"

    def reclaims(self) -> Iterator[tuple[float, InstanceRecord]]:
        """The live instances of capacity blocks, and when EC2 ends them."""
        ends = {
            id: spec.ends_at - self._reclaim_s
            for id, spec in self._specs.items()
            if spec.kind == CAPACITY_BLOCK and spec.ends_at is not None
        }
        if not ends:
            return
        for record in self._store.records():
            if record.is_live and record.capacity_reservation in ends:
                yield ends[record.capacity_reservation], record

    def available(self, id: str) -> int:
        """Instances that still fit in."""
        used = sum(1 for record in self._store.records() if record.capacity_reservation == id and _counts(record.state))
        return max(0, self._specs[id].count - used)

    def for_launch(self, data: LaunchData, market: str, now: float) -> Reserved:
        """What instances with `data` (type and zone decided) use in a market.

        Raises:
            Ec2Error: the reservation that is asked for does not exist, is not active, or is for something else.
        """
        if market == SPOT:
            return Reserved()
        if data.capacity_reservation:
            self._check(data, market, now)
            return Reserved((data.capacity_reservation,), is_only=True)
        if market == CAPACITY_BLOCK:
            raise Ec2Error("InvalidParameterCombination", "A Capacity Block needs a target Capacity Reservation.")
        matching = (
            id
            for id, spec in sorted(self._specs.items())
            if (spec.instance_type, spec.zone, spec.kind) == (data.instance_type, data.zone, "default")
            and self.state(id, now) == "active"
            and (
                spec.group == data.capacity_reservation_group if data.capacity_reservation_group else not spec.targeted
            )
        )
        return Reserved(tuple(matching))

    def split(self, reserved: Reserved, count: int) -> list[tuple[str, int]]:
        """`count` instances over the reservations and, with an empty id, over what is in none."""
        parts: list[tuple[str, int]] = []
        for id in reserved.ids:
            part = min(count, self.available(id))
            count -= part
            parts.append((id, part))
        return [(id, part) for id, part in (*parts, ("", count)) if part]

    def _check(self, data: LaunchData, market: str, now: float) -> None:
        id = data.capacity_reservation
        spec = self._specs.get(id)
        if spec is None:
            raise unknown_reservation(id)
        if len({said == CAPACITY_BLOCK for said in (spec.kind, market, data.market)}) > 1:
            message = f"Capacity Reservation '{id}' is a Capacity Block, or is none: MarketType says otherwise"
            raise Ec2Error("InvalidParameterCombination", message)
        if (spec.instance_type, spec.zone) != (data.instance_type, data.zone):
            message = f"Capacity Reservation '{id}' is for {spec.instance_type} in {spec.zone}"
            raise Ec2Error("InvalidParameterValue", message)
        if self.state(id, now) != "active":
            message = f"The Capacity Reservation '{id}' is {self.state(id, now)}"
            is_early = self.state(id, now) == "scheduled"
            code = "InvalidCapacityReservationState.PendingActivation" if is_early else "CapacityReservationNotActive"
            raise Ec2Error(code, message)
        if spec.kind == CAPACITY_BLOCK and spec.ends_at is not None and now >= spec.ends_at - self._reclaim_s:
            raise exceeded(id)


def unknown_reservation(id: str) -> Ec2Error:
    return Ec2Error("InvalidCapacityReservationId.NotFound", f"The Capacity Reservation ID '{id}' does not exist")


def exceeded(id: str) -> Ec2Error:
    """The reservation is full."""
    return Ec2Error(
        "ReservationCapacityExceeded",
        f"The requested Capacity Reservation '{id}' does not have enough available instance capacity.",
    )


def _counts(state: str) -> bool:
    return state not in ("stopped", "shutting-down", "terminated")
