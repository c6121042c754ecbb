"""Slurm's reservations: how scontrol prints and reads them, and the calls that make ours as they should be."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from clustermgtd.adapters.slurm.calls import SlurmCalls
from clustermgtd.adapters.slurm.complaints import (
    DUPLICATE_RESERVATION,
    INVALID_RESERVATION,
    STARTED_RESERVATION,
)
from clustermgtd.errors import ClustermgtdError, IncompleteObservationError
from clustermgtd.model import hostlist
from clustermgtd.model.ids import NodeName
from clustermgtd.model.reservation import OWN_PREFIX, Reservation

_FLAGS = "MAINT,IGNORE_JOBS"
"""MAINT may overlap with other reservations, whoever came first; IGNORE_JOBS lets jobs that run there end as they
would."""
_USER = "root"
"""Somebody has to be named; root starts no jobs."""
OWN_SETTINGS = (f"Users={_USER}", f"Flags={_FLAGS}")
"""What scontrol is told of every reservation of ours."""
_NONE = "No reservations in the system"
_FIELD = re.compile(r"(?:^| )(ReservationName|StartTime|EndTime|Nodes)=(\S*)")


def parse_reservations(output: bytes) -> dict[str, Reservation]:
    """Every reservation of `scontrol -o show reservation` with times as epoch seconds.

    Raises:
        IncompleteObservationError: the last line is cut off, or one of ours cannot be understood.
    """
    text = output.decode("utf-8", errors="replace")
    if text and not text.endswith("\n"):
        raise IncompleteObservationError(f"the answer of scontrol is cut off: ...{text[-80:]!r}")
    found: dict[str, Reservation] = {}
    for line in text.splitlines():
        if not line.startswith("ReservationName="):
            continue
        fields: dict[str, str] = {}
        for key, value in _FIELD.findall(line):
            fields.setdefault(key, value)
        name = fields["ReservationName"]
        keys = ("StartTime", "EndTime", "Nodes")
        reservation = reservation_of(name, *(fields.get(key, "") for key in keys))
        if reservation is not None:
            found[name] = reservation
    return found


def reservation_of(name: str, start: str, end: str, nodes: str) -> Reservation | None:
    """From epoch seconds and a hostlist as Slurm gives them; None if it is somebody else's and cannot be understood.

    Raises:
        IncompleteObservationError: one of ours cannot be understood.
    """
    try:
        names = tuple(sorted(NodeName(node) for node in hostlist.expand("" if nodes == "(null)" else nodes)))
        return Reservation(name, names, float(start), float(end))
    except ValueError as error:
        if name.startswith(OWN_PREFIX):
            raise IncompleteObservationError(f"{name} is no reservation: {start} {end} {nodes!r}") from error
        return None


def says_none(text: str) -> bool:
    """scontrol's way of saying that there is no reservation, with which it may end as with an error."""
    return text.startswith(_NONE)


async def reserve(reservation: Reservation, now: float, calls: SlurmCalls) -> None:
    """Make the reservation, or change one of its name, so that it is as given."""
    try:
        await calls.create_reservation(reservation)
    except ClustermgtdError as error:
        if error.code != DUPLICATE_RESERVATION:
            raise
        await _change(reservation, now, calls)


async def _change(reservation: Reservation, now: float, calls: SlurmCalls) -> None:
    """Slurm moves the start of a reservation only as long as it has not begun."""
    try:
        await calls.update_reservation(reservation, start_too=True)
    except ClustermgtdError as error:
        if error.code != STARTED_RESERVATION:
            raise
        if reservation.starts_at <= now:
            await calls.update_reservation(reservation, start_too=False)
            return
        await delete(reservation.name, calls)
        await calls.create_reservation(reservation)


async def delete(name: str, calls: SlurmCalls) -> None:
    """Delete a reservation; one that is gone already is deleted."""
    try:
        await calls.delete_reservation(name)
    except ClustermgtdError as error:
        if error.code != INVALID_RESERVATION:
            raise


def words(reservation: Reservation, now: float) -> tuple[str, ...]:
    """As scontrol reads it."""
    return (
        f"ReservationName={reservation.name}",
        f"StartTime={_start(reservation, now)}",
        f"EndTime={_time(reservation.ends_at)}",
        f"Nodes={hostlist.fold(reservation.nodes)}",
    )


def _start(reservation: Reservation, now: float) -> str:
    return "now" if reservation.starts_at <= now else _time(reservation.starts_at)


def _time(at: float) -> str:
    """As scontrol reads it in the time zone UTC, up to a whole second."""
    return datetime.fromtimestamp(round(at), UTC).strftime("%Y-%m-%dT%H:%M:%S")
