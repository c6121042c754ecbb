"""systemd's two protocols for a service: state notifications (sd_notify) and inherited sockets (socket activation).

Both are read from the environment that the service manager sets; without it everything here does nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

from clustermgtd.errors import ConfigurationError

FIRST_INHERITED_DESCRIPTOR = 3
_STATUS_LENGTH_MAX = 500


class Notifier:
    """Tells the service manager how the daemon is. Never blocks; a message that cannot be sent is dropped."""

    def __init__(self, address: str, watchdog_interval_s: float | None = None) -> None:
        self._address = address
        self.watchdog_interval_s = watchdog_interval_s
        """Send `watchdog()` at least this often, better twice as often; None when nobody expects it."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], pid: int | None = None) -> Notifier:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.

        Raises:
            ConfigurationError: NOTIFY_SOCKET or WATCHDOG_USEC is not what systemd would set.
        """
        address = environment.get("NOTIFY_SOCKET", "")
        if address and address[0] not in "/@":
            raise ConfigurationError(f"NOTIFY_SOCKET is {address!r}; it must begin with / or @")
        return cls(address, _watchdog_interval_s(environment, os.getpid() if pid is None else pid))

    def ready(self, status: str = "") -> bool:
        """The daemon works, or works again after a reload."""
        return self._send("READY=1", *_status(status))

    def status(self, status: str) -> bool:
        """One line for `systemctl status`."""
        return self._send(*_status(status))

    def reloading(self) -> bool:
        """A reload begins; `ready` must follow."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        return self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def stopping(self, status: str = "") -> bool:
        """The daemon ends on purpose."""
        return self._send("STOPPING=1", *_status(status))

    def watchdog(self) -> bool:
        """The daemon still makes progress."""
        return self._send("WATCHDOG=1")

    def _send(self, *assignments: str) -> bool:
        """True if the message was handed over."""
        if not self._address:
            return False
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)
                out.sendto("\n".join(assignments).encode(), address)
        except OSError:
            return False
        return True


def inherited_sockets(environment: Mapping[str, str], pid: int | None = None) -> dict[str, list[int]]:
    """Descriptors that the service manager passed, by their FileDescriptorName, made close-on-exec.

    Empty if there are none or they are meant for another process (LISTEN_PID).

    Raises:
        ConfigurationError: LISTEN_FDS and LISTEN_FDNAMES contradict each other or are no numbers.
    """
    if environment.get("LISTEN_PID") != str(os.getpid() if pid is None else pid):
        return {}
    text = environment.get("LISTEN_FDS", "0")
    if not text.isascii() or not text.isdigit():
        raise ConfigurationError(f"LISTEN_FDS is {text!r}, not a number")
    count = int(text)
    names = environment.get("LISTEN_FDNAMES", "").split(":") if environment.get("LISTEN_FDNAMES") else []
    if names and len(names) != count:
        raise ConfigurationError(f"LISTEN_FDS is {count} but LISTEN_FDNAMES names {len(names)}")
    found: dict[str, list[int]] = {}
    for offset in range(count):
        descriptor = FIRST_INHERITED_DESCRIPTOR + offset
        os.set_inheritable(descriptor, False)
        found.setdefault(names[offset] if names else "unknown", []).append(descriptor)
    return found


def _status(status: str) -> tuple[str, ...]:
    return (f"STATUS={' '.join(status.split())[:_STATUS_LENGTH_MAX]}",) if status else ()


def _watchdog_interval_s(environment: Mapping[str, str], pid: int) -> float | None:
    text = environment.get("WATCHDOG_USEC", "")
    if not text or environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise ConfigurationError(f"WATCHDOG_USEC is {text!r}, not a number of microseconds")
    return int(text) / 1e6
