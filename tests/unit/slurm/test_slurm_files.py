"""What a Slurm on one machine is made of."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from clustermgtd.errors import ConfigurationError
from clustermgtd.lab.slurm_files import PortReservation, merge_conf, on_loopback

NODES = """\
NodeName=DEFAULT State=CLOUD
NodeName=q1-dy-c5-[1-3] CPUs=2
NodeName=q1-st-c5-1 CPUs=2
PartitionName=q1 Nodes=ALL
"""


def test_every_node_gets_a_port_and_an_address() -> None:
    assert on_loopback(NODES, 7001).splitlines() == [
        "NodeName=DEFAULT State=CLOUD",
        "NodeName=q1-dy-c5-[1-3] CPUs=2 NodeAddr=127.0.0.1 Port=[7001-7003]",
        "NodeName=q1-st-c5-1 CPUs=2 NodeAddr=127.0.0.1 Port=7004",
        "PartitionName=q1 Nodes=ALL",
    ]


def test_names_may_stay_unresolvable_as_on_a_head_node() -> None:
    assert "NodeAddr" not in on_loopback(NODES, 7001, address="")


def test_a_later_setting_replaces_an_earlier_one_and_nodes_add_up() -> None:
    base = "ClusterName=lab\nSlurmctldTimeout=300\n# a comment\n"
    nodes = "slurmctldtimeout=120\nNodeName=a\nPartitionName=p\nSuspendTime=60\n"
    extra = "SuspendTime=5\nNodeName=b\nPartitionName=q\n"
    assert merge_conf(base, nodes, extra).splitlines() == [
        "ClusterName=lab",
        "# a comment",
        "slurmctldtimeout=120",
        "NodeName=a",
        "PartitionName=p",
        "SuspendTime=5",
        "NodeName=b",
        "PartitionName=q",
    ]


def test_reserved_ports_do_not_overlap_and_come_back() -> None:
    with PortReservation.take(200) as first, PortReservation.take(200) as second:
        ranges = [set(range(each.first, each.first + each.count)) for each in (first, second)]
        assert not ranges[0] & ranges[1]
        assert first.slurm.first_node == first.slurm.controller + 1
    more_than_there_are = 100
    for _ in range(more_than_there_are):
        with PortReservation.take(300):
            pass


def test_a_port_that_is_taken_is_passed_over() -> None:
    with PortReservation.take(1) as free, closing(socket.socket()) as taken:
        port = free.first
        taken.bind(("127.0.0.1", port))
        taken.listen()
        free.close()
        with PortReservation.take(64) as other:
            assert port not in range(other.first, other.first + other.count)


def test_more_ports_than_there_are_is_an_error() -> None:
    with pytest.raises(ConfigurationError):
        PortReservation.take(30_000)
