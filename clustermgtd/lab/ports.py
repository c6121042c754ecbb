"""TCP ports for labs that run side by side.

Ports below the kernel's ephemeral range are dealt out in aligned blocks. A lab owns a block while it holds the UDP port
of the block's first number, so blocks need no files, no agreement between users, and are free again whatever ends it.
"""

from __future__ import annotations

import contextlib
import random
import socket
from dataclasses import dataclass

from clustermgtd.errors import ConfigurationError

_BLOCK = 64
_FIRST = 10_048
_LAST = 32_000
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class PortRange:
    """Ports that belong to this process until it closes them or ends."""

    first: int
    count: int
    guards: tuple[socket.socket, ...]

    def close(self) -> None:
        """Let others have them."""
        for guard in self.guards:
            guard.close()


def take_ports(count: int) -> PortRange:
    """`count` TCP ports in a row that nobody listens on and no other lab owns.

    Raises:
        ConfigurationError: there is no such row.
    """
    blocks = -(-count // _BLOCK)
    starts = list(range(_FIRST, _LAST - blocks * _BLOCK, _BLOCK))
    random.shuffle(starts)
    for start in starts:
        with contextlib.ExitStack() as undo:
            try:
                guards = tuple(
                    undo.enter_context(_bound(socket.SOCK_DGRAM, start + block * _BLOCK)) for block in range(blocks)
                )
                for port in range(start, start + count):
                    _bound(socket.SOCK_STREAM, port).close()
            except OSError:
                continue
            undo.pop_all()
            return PortRange(start, count, guards)
    raise ConfigurationError(f"no {count} TCP ports in a row are free between {_FIRST} and {_LAST}")


def _bound(kind: socket.SocketKind, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, kind)
    try:
        bound.bind((_LOOPBACK, port))
    except OSError:
        bound.close()
        raise
    return bound
