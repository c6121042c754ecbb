"""What a Slurm on one machine is made of: free ports, programs, and the text of slurm.conf."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from clustermgtd.errors import ConfigurationError
from clustermgtd.model import hostlist

_SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin")
_PORTS_FROM, _PORTS_TO = 10_000, 32_000
"""Below the range from which the kernel takes ports for outgoing connections."""
_BLOCK = 64
_REPEATABLE = frozenset({"nodename", "partitionname", "nodeset", "downnodes", "include"})


@dataclass(frozen=True, slots=True)
class SlurmPorts:
    """TCP ports of one Slurm: the controller's, and the first of one per node."""

    controller: int
    first_node: int


@dataclass(frozen=True)
class PortReservation:
    """A range of ports that no other lab on this machine takes while this value is open."""

    first: int
    count: int
    _locks: list[socket.socket] = field(repr=False)

    @classmethod
    def take(cls, count: int) -> PortReservation:
        """A range of `count` ports on which nothing listens.

        The reservation is a set of abstract unix sockets, which the kernel drops with the process.

        Raises:
            ConfigurationError: there is no such range.
        """
        blocks = -(-count // _BLOCK)
        last_start = (_PORTS_TO - _PORTS_FROM) // _BLOCK - blocks
        if last_start < 0:
            raise ConfigurationError(f"{count} ports are more than there are between {_PORTS_FROM} and {_PORTS_TO}")
        offset = secrets.randbelow(last_start + 1)
        for step in range(last_start + 1):
            start = (offset + step) % (last_start + 1)
            locks = _lock_blocks(start, blocks)
            first = _PORTS_FROM + start * _BLOCK
            if locks is not None:
                if all(_is_free(port) for port in range(first, first + count)):
                    return cls(first, count, locks)
                for lock in locks:
                    lock.close()
        raise ConfigurationError(f"no {count} free ports in a row between {_PORTS_FROM} and {_PORTS_TO}")

    @property
    def slurm(self) -> SlurmPorts:
        """The first port for slurmctld, the others for nodes."""
        return SlurmPorts(controller=self.first, first_node=self.first + 1)

    def close(self) -> None:
        """Let others have the range."""
        for lock in self._locks:
            lock.close()

    def __enter__(self) -> PortReservation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def merge_conf(base: str, node_part: str, extra: str = "") -> str:
    """One slurm.conf out of three: a later setting replaces an earlier one, node and partition lines add up."""
    parts = [base, node_part, extra]
    kept: list[str] = []
    for index, part in enumerate(parts):
        later = {key for other in parts[index + 1 :] for key in map(_key, other.splitlines()) if key}
        kept += [
            line
            for line in part.splitlines()
            if line.strip() and (_key(line) not in later or _key(line) in _REPEATABLE)
        ]
    return "\n".join(kept) + "\n"


def on_loopback(node_part: str, first_port: int, *, address: str = "127.0.0.1") -> str:
    """The same node lines with a port per node, and with `address` as NodeAddr (none if empty: NodeAddr is then the
    node's name, as in production, which on one machine does not resolve). Lines that set them are left alone."""
    lines: list[str] = []
    port = first_port
    for line in node_part.splitlines():
        match = re.match(r"\s*NodeName=(\S+)", line, re.IGNORECASE)
        if match is None or match[1].upper() == "DEFAULT":
            lines.append(line)
            continue
        count = len(hostlist.expand(match[1]))
        if address and not re.search(r"\sNodeAddr=", line, re.IGNORECASE):
            line += f" NodeAddr={address}"
        if not re.search(r"\sPort=", line, re.IGNORECASE):
            line += f" Port={port}" if count == 1 else f" Port=[{port}-{port + count - 1}]"
            port += count
        lines.append(line)
    return "\n".join(lines) + "\n"


def find_program(name: str) -> str:
    """Absolute path of a program of Slurm or munge; the sbin folders count even where PATH lacks them.

    Raises:
        ConfigurationError: it is not installed.
    """
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(_SBIN))
    if not found:
        raise ConfigurationError(f"{name} is not installed (Debian: slurmctld slurmd slurm-client munge)")
    return found


def slurm_release() -> tuple[int, int]:
    """Release of the installed Slurm, such as (22, 5)."""
    said = subprocess.run(
        [find_program("slurmctld"), "-V"], capture_output=True, text=True, timeout=10, check=True
    ).stdout
    match = re.search(r"(\d+)\.(\d+)", said)
    if match is None:
        raise ConfigurationError(f"slurmctld -V says {said!r}, which names no release")
    return int(match[1]), int(match[2])


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log, for an error message."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-count:]) or "(nothing)"
    except FileNotFoundError:
        return "(no log)"


def _key(line: str) -> str:
    """`slurmctldport` for `SlurmctldPort=1`; empty for a comment or an empty line."""
    name, equals, _ = line.strip().partition("=")
    return name.strip().lower() if equals and not name.startswith("#") else ""


def _lock_blocks(start: int, count: int) -> list[socket.socket] | None:
    locks: list[socket.socket] = []
    for block in range(start, start + count):
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        locks.append(lock)
        try:
            lock.bind(f"\0clustermgtd-lab-ports-{block}")
        except OSError:
            for taken in locks:
                taken.close()
            return None
    return locks


def _is_free(port: int) -> bool:
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True
