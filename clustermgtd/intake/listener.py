"""The listening socket of the hooks: systemd's, if it passed one, else our own."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from clustermgtd.errors import ConfigurationError

BACKLOG = 1024
"""Connections that wait while the daemon restarts; Slurm may start a hook per job."""
_CREDENTIALS = struct.Struct("3i")


class Listener:
    """A non-blocking listening unix socket. `close` removes the path only if it was bound here and is still ours."""

    def __init__(self, listening: socket.socket, path: Path | None) -> None:
        self.socket = listening
        self._path = path
        self._inode = path.stat().st_ino if path else 0

    @classmethod
    def inherit(cls, descriptor: int) -> Listener:
        """Take over a descriptor that listens already; it outlives this process.

        Raises:
            ConfigurationError: it is not a unix stream socket.
        """
        try:
            listening = socket.socket(fileno=descriptor)
        except OSError as error:
            raise ConfigurationError(f"inherited descriptor {descriptor} is not a socket") from error
        if listening.family != socket.AF_UNIX or listening.type != socket.SOCK_STREAM:
            listening.detach()
            raise ConfigurationError(f"inherited descriptor {descriptor} is not a unix stream socket")
        listening.setblocking(False)
        return cls(listening, None)

    @classmethod
    def bind(cls, path: Path, mode: int) -> Listener:
        """Listen on `path`, replacing what a daemon that is gone left there.

        Raises:
            ConfigurationError: another daemon answers there, something else is there, or the folder is not writable.
        """
        _clear(path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(str(path))
            path.chmod(mode)
            listening.listen(BACKLOG)
        except OSError as error:
            listening.close()
            raise ConfigurationError(f"cannot listen on {path}: {error.strerror or error}") from error
        listening.setblocking(False)
        return cls(listening, path)

    def close(self) -> None:
        self.socket.close()
        if self._path is None:
            return
        try:
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        except OSError:
            return  # gone already, or its folder is


def _clear(path: Path) -> None:
    if not path.exists() and not path.is_symlink():
        return
    if not path.is_socket():
        raise ConfigurationError(f"{path} is in the way: not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise ConfigurationError(f"cannot tell whether {path} is in use: {error}") from error
    raise ConfigurationError(f"another daemon listens on {path}")


def peer_uid(connection: socket.socket) -> int:
    """User id of the process that connected, as the kernel saw it then."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    return int(uid)
