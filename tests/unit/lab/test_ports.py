"""Ports for labs side by side."""

from __future__ import annotations

import socket

import pytest

from clustermgtd.errors import ConfigurationError
from clustermgtd.lab.ports import take_ports


def test_two_labs_never_get_the_same_port() -> None:
    ranges = [take_ports(100) for _ in range(20)]
    try:
        ports = [port for taken in ranges for port in range(taken.first, taken.first + taken.count)]
        assert len(ports) == len(set(ports))
    finally:
        for taken in ranges:
            taken.close()


def test_the_ports_can_be_listened_on() -> None:
    taken = take_ports(3)
    try:
        for port in range(taken.first, taken.first + 3):
            with socket.create_server(("127.0.0.1", port)):
                pass
    finally:
        taken.close()


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="ports in a row"):
        take_ports(30_000)
