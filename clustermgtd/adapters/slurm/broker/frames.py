"""The frames between the daemon and its broker: a mark, a length, one JSON object.

The broker speaks first:

    {"protocol": 1, "pyslurm": "24.11.0", "operations": ["nodes", ...]}   or   {"protocol": 1, "failed": "why"}

Then the daemon sends one request at a time, `{"id": 7, "operation": "nodes", "arguments": {...}}`, and reads any number
of `{"id": 7, "rows": [[...], ...]}` and at last one of

    {"id": 7, "done": <how many rows>}
    {"id": 7, "complaint": <Slurm's text>, "errno": <Slurm's number>}     slurmctld refused, or did not answer
    {"id": 7, "unsupported": <text>}                                      this pyslurm cannot do it as it was asked

Rows come in frames of `ROWS_MAX`, so that the daemon decodes a big answer in slices between which its event loop does
other things. Every row is a list of strings.
"""

from __future__ import annotations

import json
import struct
from io import BufferedRWPair
from typing import Any

PROTOCOL = 1
"""Raised with every change that the other side would misunderstand."""
ROWS_MAX = 100
SIZE_MAX = 8 << 20
_HEADER = struct.Struct(">4sI")
HEADER_SIZE = _HEADER.size
_MARK = b"clmg"

Message = dict[str, Any]


class GarbageError(Exception):
    """What came is no frame of this protocol."""


def encode(message: Message) -> bytes:
    """One frame."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return _HEADER.pack(_MARK, len(body)) + body


def body_size(header: bytes) -> int:
    """How many bytes follow the header.

    Raises:
        GarbageError: it is none.
    """
    mark, size = _HEADER.unpack(header)
    if mark != _MARK or not 0 < size <= SIZE_MAX:
        raise GarbageError(f"not a frame: {header!r}")
    return int(size)


def decode(body: bytes) -> Message:
    """The object in a frame.

    Raises:
        GarbageError: there is none.
    """
    try:
        message = json.loads(body)
    except ValueError as error:
        raise GarbageError(f"not JSON: {body[:80]!r}") from error
    if not isinstance(message, dict):
        raise GarbageError(f"not an object: {body[:80]!r}")
    return message


def read(stream: BufferedRWPair) -> Message | None:
    """The next message of a blocking stream; None at its end.

    Raises:
        GarbageError: it is none.
    """
    header = stream.read(HEADER_SIZE)
    if len(header) < HEADER_SIZE:
        return None
    return decode(stream.read(body_size(header)))
