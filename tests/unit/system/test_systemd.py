"""What the daemon says to systemd, and the sockets that systemd hands over."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clustermgtd.adapters.system.systemd import Notifier, inherited_sockets
from clustermgtd.errors import ConfigurationError


@contextmanager
def a_service_manager(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(5)
        yield manager


def test_ready_with_a_status_is_one_message(tmp_path: Path) -> None:
    with a_service_manager(f"{tmp_path}/notify") as manager:
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": f"{tmp_path}/notify"})
        assert notifier.ready("12 nodes\nup")
        assert manager.recv(4096) == b"READY=1\nSTATUS=12 nodes up"


def test_every_state_has_its_word(tmp_path: Path) -> None:
    with a_service_manager(f"{tmp_path}/notify") as manager:
        notifier = Notifier(f"{tmp_path}/notify")
        assert notifier.status("idle") and manager.recv(4096) == b"STATUS=idle"
        assert notifier.stopping() and manager.recv(4096) == b"STOPPING=1"
        assert notifier.watchdog() and manager.recv(4096) == b"WATCHDOG=1"


def test_a_reload_carries_the_time_at_which_it_began(tmp_path: Path) -> None:
    with a_service_manager(f"{tmp_path}/notify") as manager:
        assert Notifier(f"{tmp_path}/notify").reloading()
        first, second = manager.recv(4096).decode().splitlines()
    assert first == "RELOADING=1"
    name, value = second.split("=")
    assert name == "MONOTONIC_USEC" and int(value) > 0


def test_an_abstract_socket_is_reached() -> None:
    name = f"clustermgtd-test-{secrets.token_hex(8)}"
    with a_service_manager(f"\0{name}") as manager:
        assert Notifier.from_environment({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert manager.recv(4096) == b"READY=1"


def test_without_a_service_manager_nothing_is_sent() -> None:
    notifier = Notifier.from_environment({})
    assert not notifier.ready()
    assert notifier.watchdog_interval_s is None


def test_a_manager_that_went_away_costs_only_the_message(tmp_path: Path) -> None:
    assert not Notifier(f"{tmp_path}/gone").ready()


def test_a_manager_that_does_not_read_is_not_waited_for(tmp_path: Path) -> None:
    with a_service_manager(f"{tmp_path}/notify"):
        notifier = Notifier(f"{tmp_path}/notify")
        sent = [notifier.status("x" * 400) for _ in range(2000)]
    assert sent[0] and not sent[-1]


@pytest.mark.parametrize("address", ["notify", "vsock:2:1234"])
def test_an_address_of_another_kind_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="NOTIFY_SOCKET"):
        Notifier.from_environment({"NOTIFY_SOCKET": address})


def test_the_watchdog_interval_is_in_seconds() -> None:
    environment = {"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": "17"}
    assert Notifier.from_environment(environment, pid=17).watchdog_interval_s == 90.0


def test_a_watchdog_for_another_process_is_not_ours() -> None:
    environment = {"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": "17"}
    assert Notifier.from_environment(environment, pid=18).watchdog_interval_s is None


@pytest.mark.parametrize("text", ["soon", "-5", "0"])
def test_a_senseless_watchdog_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="WATCHDOG_USEC"):
        Notifier.from_environment({"WATCHDOG_USEC": text})


def test_sockets_meant_for_another_process_are_left_alone() -> None:
    assert inherited_sockets({"LISTEN_PID": "17", "LISTEN_FDS": "1"}, pid=18) == {}
    assert inherited_sockets({}) == {}


def test_names_and_number_must_agree() -> None:
    with pytest.raises(ConfigurationError, match="LISTEN_FDNAMES"):
        inherited_sockets({"LISTEN_PID": "1", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "hooks"}, pid=1)
    with pytest.raises(ConfigurationError, match="LISTEN_FDS"):
        inherited_sockets({"LISTEN_PID": "1", "LISTEN_FDS": "two"}, pid=1)


ACTIVATED = """
import os
os.environ["LISTEN_PID"] = str(os.getpid())
os.dup2(int(os.environ["PASSED"]), 3)
from clustermgtd.adapters.system.systemd import inherited_sockets
found = inherited_sockets(os.environ)
print(found, os.get_inheritable(3))
"""


def test_an_activated_process_finds_its_socket_by_name(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(f"{tmp_path}/hooks.sock")
        environment = os.environ | {
            "LISTEN_FDS": "1",
            "LISTEN_FDNAMES": "hooks",
            "PASSED": str(listening.fileno()),
        }
        answer = subprocess.run(
            [sys.executable, "-c", ACTIVATED],
            env=environment,
            pass_fds=[listening.fileno()],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    assert answer.stdout.strip() == "{'hooks': [3]} False"
