"""`python -m clustermgtd.adapters.slurm.broker FD`: serve the daemon on an inherited socket until it closes."""

from __future__ import annotations

import ctypes
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from io import BufferedRWPair
from itertools import islice

from clustermgtd.adapters.slurm.broker import frames
from clustermgtd.adapters.slurm.broker.interface import Complaint, Interface, Row, Unsupported

_PR_SET_PDEATHSIG = 1


def main() -> int:
    """0 when the daemon has closed the socket, or went away."""
    _die_with_the_daemon()
    with socket.socket(fileno=int(sys.argv[1])) as connection, connection.makefile("rwb") as stream:
        try:
            serve(stream)
        except (BrokenPipeError, ConnectionResetError):
            return 0
    return 0


def serve(stream: BufferedRWPair) -> None:
    """Say hello, then answer one request after the other."""
    try:
        # libslurm ends this process here if it finds no slurm.conf
        interface = Interface.load()
    except (ImportError, Unsupported) as error:
        _send(stream, {"protocol": frames.PROTOCOL, "failed": f"{type(error).__name__}: {error}"})
        return
    hello = {"protocol": frames.PROTOCOL, "pyslurm": interface.release, "operations": sorted(interface.operations)}
    _send(stream, hello)
    while (request := frames.read(stream)) is not None:
        _answer(stream, interface, request)


def _answer(stream: BufferedRWPair, interface: Interface, request: frames.Message) -> None:
    number, operation = request["id"], request["operation"]
    count = 0
    try:
        for rows in _slices(interface.operations[operation](**request["arguments"])):
            _send(stream, {"id": number, "rows": rows})
            count += len(rows)
    except Complaint as error:
        _send(stream, {"id": number, "complaint": error.text, "errno": error.errno})
    except Unsupported as error:
        _send(stream, {"id": number, "unsupported": str(error)})
    else:
        _send(stream, {"id": number, "done": count})


def _slices(rows: Iterable[Row]) -> Iterator[list[Row]]:
    rest = iter(rows)
    while part := list(islice(rest, frames.ROWS_MAX)):
        yield part


def _send(stream: BufferedRWPair, message: frames.Message) -> None:
    stream.write(frames.encode(message))
    stream.flush()


def _die_with_the_daemon() -> None:
    """Even while libslurm waits for a slurmctld that hangs."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
