"""One broker process, from its hello to its end, asked one thing at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clustermgtd
from clustermgtd.adapters.slurm.broker import frames
from clustermgtd.model.slurm_backend import BrokerEnd

_PACKAGES = Path(clustermgtd.__file__).parent.parent
_RUN = f"""
import runpy, sys
sys.path.append({str(_PACKAGES)!r})
runpy.run_module("clustermgtd.adapters.slurm.broker", run_name="__main__")
"""
"""The broker needs nothing but the standard library and pyslurm, so that any Python may run it; what that Python has
itself comes first."""
_SAID_MAX = 2_000
_LAST_WORDS_S = 0.5

Rows = Sequence[Sequence[str]]


class BrokerError(Exception):
    """The broker cannot be used; nothing of its answer may be."""

    def __init__(self, why: BrokerEnd, detail: str) -> None:
        super().__init__(detail)
        self.why = why


class SaidError(Exception):
    """slurmctld's complaint: its text and number."""

    def __init__(self, text: str, errno: int) -> None:
        super().__init__(text)
        self.text = text
        self.errno = errno


class UnsupportedError(Exception):
    """This pyslurm cannot do it."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What a broker says first."""

    release: str
    """pyslurm's."""
    operations: frozenset[str]


@dataclass(frozen=True, slots=True)
class Launch:
    """How a broker is started."""

    environment: Mapping[str, str]
    deadline_s: float
    """For its hello, and for each answer."""
    python: str = sys.executable
    """The Python that has pyslurm."""
    conf_file: Path | None = None
    """slurm.conf, after whose change a broker is started anew."""

    @property
    def argv(self) -> Sequence[str]:
        """The number of its socket is added."""
        return (self.python, "-c", _RUN)


class BrokerProcess:
    """A running broker."""

    def __init__(self, process: asyncio.subprocess.Process, streams: _Streams, deadline_s: float) -> None:
        self._process = process
        self._streams = streams
        self._deadline_s = deadline_s
        self._asked = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    async def watch(self) -> None:
        """Keep the end of what it writes on standard error, until it ends.

        Raises:
            BrokerError: always, with its last words.
        """
        assert self._process.stderr is not None
        errors = self._streams.errors
        while chunk := await self._process.stderr.read(_SAID_MAX):
            errors += chunk
            del errors[:-_SAID_MAX]
        self._streams.errors_end.set()
        await self._process.wait()
        raise await self._last_words()

    async def hello(self) -> Hello:
        """What it can do.

        Raises:
            BrokerError: nothing.
        """
        message = await self._within(self._read(), "hello")
        if message.get("protocol") != frames.PROTOCOL:
            raise BrokerError(BrokerEnd.GARBAGE, f"protocol {message.get('protocol')!r}, expected {frames.PROTOCOL}")
        if "failed" in message:
            raise BrokerError(BrokerEnd.NOT_IMPORTABLE, str(message["failed"]))
        try:
            return Hello(str(message["pyslurm"]), frozenset(message["operations"]))
        except (KeyError, TypeError) as error:
            raise BrokerError(BrokerEnd.GARBAGE, f"not a hello: {message!r}"[:200]) from error

    async def ask(self, operation: str, arguments: Mapping[str, Any], take: Callable[[Rows], None]) -> None:
        """Give `take` the answer's rows, slice by slice, with room for the event loop between them. What was taken
        counts only if this returns.

        Raises:
            SaidError: slurmctld complained.
            UnsupportedError: this pyslurm cannot do it.
            BrokerError: the broker did not answer in time, ended, or wrote garbage; it must not be asked again.
        """
        await self._within(self._dialog(operation, arguments, take), operation)

    async def _dialog(self, operation: str, arguments: Mapping[str, Any], take: Callable[[Rows], None]) -> None:
        self._asked += 1
        message = {"id": self._asked, "operation": operation, "arguments": arguments}
        try:
            self._streams.writer.write(frames.encode(message))
            await self._streams.writer.drain()
        except OSError as error:
            raise await self._last_words() from error
        taken = 0
        while True:
            answer = await self._read()
            if answer.get("id") != self._asked:
                raise BrokerError(BrokerEnd.GARBAGE, f"an answer that nobody asked for: {answer!r}"[:200])
            if "rows" not in answer:
                break
            taken += _give(take, answer["rows"])
            await asyncio.sleep(0)
        if "complaint" in answer:
            raise SaidError(str(answer["complaint"]), int(answer.get("errno", 0)))
        if "unsupported" in answer:
            raise UnsupportedError(str(answer["unsupported"]))
        if answer.get("done") != taken:
            raise BrokerError(BrokerEnd.GARBAGE, f"{taken} rows came, and its end says {answer!r}"[:200])

    async def _within(self, dialog: Any, what: str) -> Any:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await dialog
        except TimeoutError as error:
            raise BrokerError(BrokerEnd.NO_ANSWER, f"no answer to {what} within {self._deadline_s:g} s") from error
        except frames.GarbageError as error:
            raise BrokerError(BrokerEnd.GARBAGE, str(error)) from error

    async def _read(self) -> frames.Message:
        try:
            header = await self._streams.reader.readexactly(frames.HEADER_SIZE)
            return frames.decode(await self._streams.reader.readexactly(frames.body_size(header)))
        except (asyncio.IncompleteReadError, OSError) as error:
            raise await self._last_words() from error

    async def _last_words(self) -> BrokerError:
        """Called when its socket is closed: how it ended, and what libslurm wrote about it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await asyncio.gather(self._process.wait(), self._streams.errors_end.wait())
        code = self._process.returncode
        how = "closed its socket" if code is None else f"ended with {code}"
        said = " / ".join(bytes(self._streams.errors).decode(errors="replace").split("\n")).strip(" /")
        return BrokerError(BrokerEnd.ENDED, f"the broker {how}: {said[-500:] or 'nothing said'}")


@dataclass(slots=True)
class _Streams:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    errors: bytearray
    """The end of what it wrote on standard error."""
    errors_end: asyncio.Event


@asynccontextmanager
async def running_broker(launch: Launch) -> AsyncIterator[BrokerProcess]:
    """A broker that is killed at the end.

    Raises:
        BrokerError: it cannot be started.
    """
    ours, theirs = socket.socketpair()
    try:
        process = await asyncio.create_subprocess_exec(
            *launch.argv,
            str(theirs.fileno()),
            env=dict(launch.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
    except OSError as error:
        ours.close()
        raise BrokerError(BrokerEnd.NOT_IMPORTABLE, f"{launch.python} cannot be started: {error}") from error
    finally:
        theirs.close()
    reader, writer = await asyncio.open_unix_connection(sock=ours, limit=1 << 18)
    try:
        yield BrokerProcess(process, _Streams(reader, writer, bytearray(), asyncio.Event()), launch.deadline_s)
    finally:
        writer.close()
        await _kill(process)


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    await asyncio.shield(process.wait())


def _give(take: Callable[[Rows], None], rows: Any) -> int:
    """How many rows were taken."""
    if not isinstance(rows, list) or not all(map(_is_row, rows)):
        raise BrokerError(BrokerEnd.GARBAGE, f"not rows of strings: {rows!r}"[:200])
    try:
        take(rows)
    except (TypeError, ValueError) as error:
        raise BrokerError(BrokerEnd.GARBAGE, f"rows that cannot be read: {error}") from error
    return len(rows)


def _is_row(row: object) -> bool:
    return isinstance(row, list) and all(isinstance(field, str) for field in row)
