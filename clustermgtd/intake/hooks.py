"""The daemon's side of the hooks: one line in, one line out, on a unix socket that checks who speaks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from clustermgtd.intake.hints import UnusableError, hint_from, nodes_from, request_from
from clustermgtd.intake.listener import Listener, peer_uid
from clustermgtd.intake.observer import IntakeObserver, Rejection, Source, Unobserved
from clustermgtd.intake.spool import SpoolDrain
from clustermgtd.model.ids import JobId, NodeName
from clustermgtd.ports.clock import Clock
from clustermgtd.ports.hint_sink import HintSink
from resume_suspend.protocol import GateRequest, Hook, Reply, encode
from resume_suspend.wire import LINE_BYTES_MAX


class GateAnswer(Protocol):
    @property
    def reason(self) -> str: ...


class JobGate(Protocol):
    """Who knows when a job's nodes are ready. Bounded in number and time by itself."""

    async def wait(self, job_id: JobId, nodes: Sequence[NodeName]) -> GateAnswer:
        """Returns when the job need not be held back any longer."""
        ...


@dataclass(frozen=True, slots=True)
class HookServerSettings:
    socket_path: Path
    spool_folder: Path
    allowed_uids: frozenset[int]
    """Who may speak: SlurmUser, root, the daemon's own user."""
    inherited_fd: int | None = None
    """A socket that listens already (systemd passed it); `socket_path` is then not touched."""
    socket_mode: int = 0o660
    connections_max: int = 64
    """Requests being read at once; gates that wait are bounded by the gate."""
    deadline_s: float = 5.0
    """For reading one request, and for writing one reply."""
    spool_poll_s: float = 2.0


class HookServer:
    """Takes what hooks hand over and offers it to the inbox. `run` serves until it is cancelled."""

    def __init__(
        self,
        settings: HookServerSettings,
        sink: HintSink,
        gate: JobGate,
        clock: Clock,
        observer: IntakeObserver | None = None,
    ) -> None:
        self._settings = settings
        self._sink = sink
        self._gate = gate
        self._observer = observer or Unobserved()
        self._spool = SpoolDrain(settings.spool_folder, settings.allowed_uids, sink, clock, self._observer)
        self._connections = 0
        self.listening = asyncio.Event()
        """Set once connections are taken."""

    async def run(self) -> None:
        """Serve the socket and drain the spool folder until cancelled; closes all it opened.

        Raises:
            ConfigurationError: the socket or the spool folder cannot be had (in an ExceptionGroup once it runs).
        """
        settings = self._settings
        if settings.inherited_fd is not None:
            listener = Listener.inherit(settings.inherited_fd)
        else:
            listener = Listener.bind(settings.socket_path, settings.socket_mode)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._spool.run(settings.spool_poll_s), name="spool drain")
                tasks.create_task(self._accept(listener.socket, tasks), name="hook connections")
        finally:
            self.listening.clear()
            listener.close()

    async def _accept(self, listening: socket.socket, tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        self.listening.set()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as error:  # out of descriptors, or the peer has gone already
                self._observer.rejected(Rejection.BUSY, Source.SOCKET, f"accept: {error.strerror}")
                await asyncio.sleep(0.1)
                continue
            uid = peer_uid(connection)
            if uid not in self._settings.allowed_uids:
                self._turn_away(
                    connection, Rejection.NOT_PERMITTED, Reply(False, f"uid {uid} may not speak here", True)
                )
            elif self._connections >= self._settings.connections_max:
                self._turn_away(connection, Rejection.BUSY, Reply(False, "too many requests at once"))
            else:
                self._connections += 1
                tasks.create_task(self._serve(connection), name="hook connection")

    def _turn_away(self, connection: socket.socket, reason: Rejection, reply: Reply) -> None:
        """One reply, not waited for, and the end; nothing of the request is read."""
        self._observer.rejected(reason, Source.SOCKET, reply.error)
        with connection, suppress(OSError):
            connection.setblocking(False)
            connection.send(encode(reply))

    async def _serve(self, connection: socket.socket) -> None:
        writer: asyncio.StreamWriter | None = None
        gate_request: GateRequest | None = None
        try:
            try:
                reader, writer = await asyncio.open_unix_connection(sock=connection, limit=LINE_BYTES_MAX)
                gate_request = await self._answer(reader, writer)
            finally:
                self._connections -= 1
            if gate_request:
                await self._hold(gate_request, reader, writer)
        except (OSError, TimeoutError) as error:
            self._observer.rejected(Rejection.TIMED_OUT, Source.SOCKET, f"the hook went away: {error!r}")
        finally:
            if writer is None:
                connection.close()
            else:
                await self._close(writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> GateRequest | None:
        """Read one request and reply; a gate request is returned instead, for what can take long."""
        try:
            line = await self._read_line(reader)
            if not line:
                return None
            request = request_from(line)
            if isinstance(request, GateRequest):
                return request
            reply = self._take(request)
        except UnusableError as error:
            self._observer.rejected(error.reason, Source.SOCKET, str(error))
            reply = Reply(False, str(error), permanent=error.reason is not Rejection.TIMED_OUT)
        await self._reply(writer, reply)
        return None

    async def _read_line(self, reader: asyncio.StreamReader) -> bytes:
        """One line; empty if the peer said nothing at all."""
        try:
            async with asyncio.timeout(self._settings.deadline_s):
                return await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise UnusableError(Rejection.MALFORMED, "the line has no end") from error
            return b""
        except asyncio.LimitOverrunError as error:
            raise UnusableError(Rejection.TOO_LARGE, f"the line is longer than {LINE_BYTES_MAX} bytes") from error
        except TimeoutError as error:
            raise UnusableError(Rejection.TIMED_OUT, f"no whole line in {self._settings.deadline_s:g} s") from error

    def _take(self, request: Hook) -> Reply:
        hint = hint_from(request)
        if not self._sink.offer(hint, _nothing_to_remove):
            self._observer.rejected(Rejection.BUSY, Source.SOCKET, hint.id)
            return Reply(False, "the inbox is full")
        self._observer.accepted(hint.kind, Source.SOCKET)
        return Reply(True)

    async def _hold(self, request: GateRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Say at once that we are on the case, and later that the gate opens; forget it if the peer goes."""
        try:
            nodes = nodes_from(request.nodes)
        except UnusableError as error:
            self._observer.rejected(error.reason, Source.SOCKET, str(error))
            await self._reply(writer, Reply(False, str(error), permanent=True))
            return
        self._observer.accepted("start-gate", Source.SOCKET)
        await self._reply(writer, Reply(True, waiting=True))
        async with asyncio.TaskGroup() as tasks:
            answer = tasks.create_task(self._gate.wait(JobId(request.job_id), nodes), name="start gate")
            gone = tasks.create_task(_until_gone(reader), name="start gate peer")
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            opened = answer.done()
            answer.cancel()
            gone.cancel()
        if opened:
            await self._reply(writer, Reply(True, reason=str(answer.result().reason)))

    async def _reply(self, writer: asyncio.StreamWriter, reply: Reply) -> None:
        writer.write(encode(reply))
        async with asyncio.timeout(self._settings.deadline_s):
            await writer.drain()

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._settings.deadline_s):
                await writer.wait_closed()


async def _until_gone(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        await reader.read(1)


def _nothing_to_remove() -> None:
    """What came over the socket is kept nowhere: should it get lost, Slurm's state says it again."""
