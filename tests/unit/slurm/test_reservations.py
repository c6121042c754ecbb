"""What `scontrol show reservation` prints, and what is made of it."""

from __future__ import annotations

import pytest

from clustermgtd.adapters.slurm.reservations import parse_reservations
from clustermgtd.errors import IncompleteObservationError
from clustermgtd.model.reservation import Reservation

LINE = (
    b"ReservationName=%s StartTime=1795262944 EndTime=1795263004 Duration=00:01:00 Nodes=%s NodeCnt=3 CoreCnt=4 "
    b"Features=(null) PartitionName=(null) Flags=MAINT,IGNORE_JOBS,SPEC_NODES TRES=cpu=4 Users=root Groups=(null) "
    b"Accounts=(null) Licenses=(null) State=ACTIVE BurstBuffer=(null) Watts=n/a MaxStartDelay=(null)\n"
)


def test_a_line_is_a_reservation() -> None:
    [found] = parse_reservations(LINE % (b"clustermgtd-cr-1-after", b"q1-st-c5-[2-3],q1-st-c5-1")).values()
    nodes = ("q1-st-c5-1", "q1-st-c5-2", "q1-st-c5-3")
    assert found == Reservation("clustermgtd-cr-1-after", nodes, 1795262944.0, 1795263004.0)  # type: ignore[arg-type]


def test_one_without_nodes_is_one_and_one_of_somebody_else_that_is_not_understood_is_left_out() -> None:
    strange = LINE.replace(b"StartTime=1795262944", b"StartTime=Unknown") % (b"strange", b"n1")
    found = parse_reservations(strange + LINE % (b"licences", b"(null)") + LINE % (b"maintenance", b"n1"))
    assert {name: one.nodes for name, one in found.items()} == {"licences": (), "maintenance": ("n1",)}


@pytest.mark.parametrize(
    "output",
    [
        LINE.replace(b"EndTime=1795263004", b"EndTime=Unknown") % (b"clustermgtd-cr-1-after", b"n1"),
        (LINE % (b"clustermgtd-cr-1-after", b"n1"))[:-1],
        b"ReservationName=clustermgtd-cr-1-after\n",
    ],
)
def test_one_of_ours_that_is_not_understood_makes_no_observation(output: bytes) -> None:
    with pytest.raises(IncompleteObservationError):
        parse_reservations(output)


def test_a_comment_does_not_pass_for_a_field() -> None:
    line = LINE % (b"clustermgtd-cr-1-after", b"n1")
    output = line[:-1] + b" Comment=Nodes=n2 EndTime=9\nStartTime=7\n"
    [found] = parse_reservations(output).values()
    assert (found.nodes, found.ends_at) == (("n1",), 1795263004.0)
