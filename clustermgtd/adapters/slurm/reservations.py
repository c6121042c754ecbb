"""Slurm's reservations through `scontrol`: how they print, and the commands that make ours."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from clustermgtd.adapters.slurm.complaints import (
    DUPLICATE_RESERVATION,
    INVALID_RESERVATION,
    STARTED_RESERVATION,
)
from clustermgtd.errors import ClustermgtdError, IncompleteObservationError
from clustermgtd.model import hostlist
from clustermgtd.model.ids import NodeName
from clustermgtd.model.reservation import OWN_PREFIX, Reservation

Run = Callable[..., Awaitable[None]]
"""`scontrol` with these arguments; raises what slurmctld complains of."""

_FLAGS = "MAINT,IGNORE_JOBS"
"""MAINT may overlap with other reservations, whoever came first; IGNORE_JOBS lets jobs that run there end as they
would."""
_USER = "root"
"""Somebody has to be named; root starts no jobs."""
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
        try:
            names = fields["Nodes"] if fields["Nodes"] != "(null)" else ""
            nodes = tuple(sorted(NodeName(node) for node in hostlist.expand(names)))
            found[name] = Reservation(name, nodes, float(fields["StartTime"]), float(fields["EndTime"]))
        except (KeyError, ValueError) as error:
            if name.startswith(OWN_PREFIX):
                raise IncompleteObservationError(f"scontrol wrote a reservation that is none: {line!r}") from error
    return found


def says_none(text: str) -> bool:
    """scontrol's way of saying that there is no reservation, with which it may end as with an error."""
    return text.startswith(_NONE)


async def reserve(reservation: Reservation, now: float, run: Run) -> None:
    """Make the reservation, or change one of its name, so that it is as given."""
    try:
        await run("create", "reservation", *_created(reservation, now))
    except ClustermgtdError as error:
        if error.code != DUPLICATE_RESERVATION:
            raise
        await _change(reservation, now, run)


async def _change(reservation: Reservation, now: float, run: Run) -> None:
    """Slurm moves the start of a reservation only as long as it has not begun."""
    name = f"ReservationName={reservation.name}"
    rest = (f"EndTime={_time(reservation.ends_at)}", f"Nodes={hostlist.fold(reservation.nodes)}")
    try:
        await run("update", name, f"StartTime={_start(reservation, now)}", *rest)
    except ClustermgtdError as error:
        if error.code != STARTED_RESERVATION:
            raise
        if reservation.starts_at <= now:
            await run("update", name, *rest)
            return
        await delete(reservation.name, run)
        await run("create", "reservation", *_created(reservation, now))


async def delete(name: str, run: Run) -> None:
    """Delete a reservation; one that is gone already is deleted."""
    try:
        await run("delete", f"ReservationName={name}")
    except ClustermgtdError as error:
        if error.code != INVALID_RESERVATION:
            raise


def _created(reservation: Reservation, now: float) -> tuple[str, ...]:
    return (
        f"ReservationName={reservation.name}",
        f"StartTime={_start(reservation, now)}",
        f"EndTime={_time(reservation.ends_at)}",
        f"Nodes={hostlist.fold(reservation.nodes)}",
        f"Users={_USER}",
        f"Flags={_FLAGS}",
    )


def _start(reservation: Reservation, now: float) -> str:
    return "now" if reservation.starts_at <= now else _time(reservation.starts_at)


def _time(at: float) -> str:
    """As scontrol reads it in the time zone UTC, up to a whole second."""
    return datetime.fromtimestamp(round(at), UTC).strftime("%Y-%m-%dT%H:%M:%S")
