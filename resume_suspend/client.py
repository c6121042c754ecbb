"""Hand a line to the daemon, or keep it in the spool folder until a daemon looks."""

# ruff: noqa: PTH104, PTH108, PTH208 (pathlib takes longer to import than the whole hook may take)

from __future__ import annotations

import os
import time
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM
from _socket import socket as Socket  # the `socket` module on top of it costs six milliseconds

from resume_suspend import wire

DEFAULT_SOCKET = "/run/clustermgtd/hooks.sock"
DEFAULT_SPOOL = "/var/spool/clustermgtd"
SPOOLED_MAX = 10_000
"""More files than this mean that nobody has drained the folder for a long time; nothing is added."""
TEMPORARY_PREFIX = ".writing-"
SPOOLED_SUFFIX = ".json"


class NotDeliveredError(Exception):
    """The daemon did not take the line; the message says why."""


class RefusedError(NotDeliveredError):
    """The daemon answered that it will never take this line."""


def connect(path: str, deadline_s: float) -> Socket:
    """A connected stream socket.

    Raises:
        NotDeliveredError: nobody accepted within the deadline.
    """
    connection = Socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    try:
        connection.settimeout(deadline_s)
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise NotDeliveredError(f"{path}: {told(error)}") from error
    return connection


def hand_over(path: str, line: bytes, deadline_s: float) -> None:
    """Send one line and wait for the daemon's word that it has it.

    Raises:
        RefusedError: the daemon says that the request itself is at fault.
        NotDeliveredError: no daemon, no answer within the deadline, or no room.
    """
    until = time.monotonic() + deadline_s
    connection = connect(path, deadline_s)
    try:
        broken = _send(connection, line, until)
        try:
            answer = wire.reply_fields(read_line(connection, until)[0])
        except (OSError, ValueError) as error:
            raise NotDeliveredError(f"{path}: {told(broken or error)}") from error
    finally:
        connection.close()
    if answer.ok:
        return
    if answer.is_permanent:
        raise RefusedError(answer.error)
    raise NotDeliveredError(f"{path}: {answer.error}")


def _send(connection: Socket, line: bytes, until: float) -> OSError | None:
    """Send all, or return what went wrong: a daemon that refuses early has often said why, and that is read next."""
    try:
        connection.settimeout(_left(until))
        connection.sendall(line)
    except OSError as error:
        return error
    return None


def read_line(connection: Socket, until: float, received: bytes = b"") -> tuple[bytes, bytes]:
    """One line without its newline, and what came behind it; `received` is what came behind the line before.

    Raises:
        OSError: the connection broke or ended, `until` (monotonic seconds) came, or the line is too long.
    """
    while b"\n" not in received:
        connection.settimeout(_left(until))
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionResetError(0, "the connection was closed without a reply")
        received += chunk
        if len(received) > wire.LINE_BYTES_MAX:
            raise OSError(0, "the reply is too long")
    line, _, rest = received.partition(b"\n")
    return line, rest


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def spool(folder: str, request_id: str, line: bytes) -> str:
    """Keep a line in the folder: after a crash at any moment it is there whole or not at all. Returns its path.

    Raises:
        OSError: it could not be written durably, or the folder is full.
    """
    if len(os.listdir(folder)) >= SPOOLED_MAX:
        raise OSError(0, f"{SPOOLED_MAX} requests wait there already")
    temporary = f"{folder}/{TEMPORARY_PREFIX}{request_id}"
    path = f"{folder}/{request_id}{SPOOLED_SUFFIX}"
    try:
        _write_durably(temporary, line)
        os.rename(temporary, path)
    except OSError:
        _remove(temporary)
        raise
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return path


def _write_durably(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return


def told(error: BaseException) -> str:
    """An error in a few words, without its number."""
    strerror = getattr(error, "strerror", None)
    return str(strerror or error or type(error).__name__)
