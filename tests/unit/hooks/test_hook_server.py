"""The daemon's socket: who may speak, what is taken, and that a bad peer costs no more than its own connection."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from clustermgtd.adapters.system.loop_clock import LoopClock
from clustermgtd.errors import ConfigurationError
from clustermgtd.intake.hooks import HookServer, HookServerSettings
from clustermgtd.intake.listener import Listener
from clustermgtd.intake.observer import Rejection, Source
from clustermgtd.model.ids import JobId, NodeName
from resume_suspend.protocol import GateRequest, Reply, SuspendRequest, decode, encode
from resume_suspend.wire import LINE_BYTES_MAX
from tests.fakes.hint_sink import FakeSink, RecordingObserver
from tests.fakes.waiting import until

A_REQUEST = SuspendRequest("q1-dy-c5-[1-3]", "1-2-ab", 1.0)


@dataclass(frozen=True)
class Opened:
    reason: str


class FakeGate:
    """Opens when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[JobId, tuple[NodeName, ...]]] = []
        self.left = 0
        self.opened = asyncio.Event()

    async def wait(self, job_id: JobId, nodes: Sequence[NodeName]) -> Opened:
        self.asked.append((job_id, tuple(nodes)))
        try:
            await self.opened.wait()
        finally:
            self.left += 1
        return Opened("ready")


class Stage:
    """A server in a folder of its own, and everything a test looks at."""

    def __init__(self, folder: Path) -> None:
        self.settings = HookServerSettings(folder / "hooks.sock", folder / "spool", frozenset({os.getuid()}))
        self.sink = FakeSink()
        self.gate = FakeGate()
        self.observer = RecordingObserver()

    def server(self) -> HookServer:
        return HookServer(self.settings, self.sink, self.gate, LoopClock(), self.observer)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(str(self.settings.socket_path))

    async def ask(self, line: bytes) -> Reply:
        reader, writer = await self.connect()
        try:
            writer.write(line)
            return await read_reply(reader)
        finally:
            writer.close()
            await writer.wait_closed()


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    async with asyncio.timeout(10):
        reply = decode(await reader.readuntil(b"\n"))
    assert isinstance(reply, Reply)
    return reply


def play(story: Callable[[Stage], Awaitable[None]], **changes: object) -> None:
    """Run a story against a running server, then stop the server."""

    async def run() -> None:
        with TemporaryDirectory(prefix="hooks") as folder:
            stage = Stage(Path(folder))
            stage.settings = replace(stage.settings, **changes)  # type: ignore[arg-type]
            server = stage.server()
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(server.run())
                async with asyncio.timeout(10):
                    await server.listening.wait()
                await story(stage)
                running.cancel()
            assert not stage.settings.socket_path.exists()

    asyncio.run(run())


def test_a_request_is_taken_and_acknowledged() -> None:
    async def story(stage: Stage) -> None:
        assert await stage.ask(encode(A_REQUEST)) == Reply(ok=True)
        (hint,) = stage.sink.hints
        assert hint.kind == "suspend"
        assert hint.nodes == ("q1-dy-c5-1", "q1-dy-c5-2", "q1-dy-c5-3")
        assert stage.observer.taken == [("suspend", Source.SOCKET)]
        stage.sink.store()

    play(story)


@pytest.mark.parametrize(
    ("line", "complaint", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\n", "not a line of JSON", Rejection.MALFORMED),
        (b"\n", "not a line of JSON", Rejection.MALFORMED),
        (b'{"version":"9.0","kind":"suspend"}\n', "this side speaks 1.0", Rejection.UNSUPPORTED_VERSION),
        (encode(SuspendRequest("q1-[", "1", 1.0)), "unbalanced brackets", Rejection.MALFORMED),
        (encode(GateRequest(1, "q1-[")), "unbalanced brackets", Rejection.MALFORMED),
        (encode(SuspendRequest(",", "1", 1.0)), "names no node", Rejection.MALFORMED),
        (encode(Reply(ok=True)), "a reply is not a request", Rejection.MALFORMED),
        (b"x" * (LINE_BYTES_MAX + 70_000), "line is longer", Rejection.TOO_LARGE),
    ],
)
def test_garbage_gets_a_clear_error_and_the_next_request_is_served(
    line: bytes, complaint: str, reason: Rejection
) -> None:
    async def story(stage: Stage) -> None:
        reply = await stage.ask(line)
        assert not reply.ok
        assert reply.permanent
        assert complaint in reply.error
        assert stage.observer.refused == [(reason, Source.SOCKET)]
        assert (await stage.ask(encode(A_REQUEST))).ok

    play(story)


def test_a_line_without_an_end_is_garbage_and_silence_is_nothing() -> None:
    async def story(stage: Stage) -> None:
        reader, writer = await stage.connect()
        writer.write(b'{"version"')
        writer.write_eof()
        assert "no end" in (await read_reply(reader)).error
        writer.close()
        _, silent = await stage.connect()
        silent.close()
        assert (await stage.ask(encode(A_REQUEST))).ok
        assert stage.observer.refused == [(Rejection.MALFORMED, Source.SOCKET)]

    play(story)


def test_a_peer_that_does_not_finish_is_cut_off_and_may_spool() -> None:
    async def story(stage: Stage) -> None:
        reply = await stage.ask(b'{"version"')
        assert not reply.ok
        assert not reply.permanent
        assert stage.observer.refused == [(Rejection.TIMED_OUT, Source.SOCKET)]

    play(story, deadline_s=0.05)


def test_another_user_is_refused_by_name_and_counted() -> None:
    async def story(stage: Stage) -> None:
        reply = await stage.ask(encode(A_REQUEST))
        assert reply == Reply(ok=False, error=f"uid {os.getuid()} may not speak here", permanent=True)
        assert stage.observer.refused == [(Rejection.NOT_PERMITTED, Source.SOCKET)]
        assert stage.sink.hints == []

    play(story, allowed_uids=frozenset({os.getuid() + 1}))


def test_a_full_inbox_says_so_and_the_hook_may_spool() -> None:
    async def story(stage: Stage) -> None:
        stage.sink.room = 0
        assert await stage.ask(encode(A_REQUEST)) == Reply(ok=False, error="the inbox is full")
        assert stage.observer.refused == [(Rejection.BUSY, Source.SOCKET)]

    play(story)


def test_more_connections_than_are_served_are_turned_away_until_there_is_room() -> None:
    async def story(stage: Stage) -> None:
        idle = [await stage.connect() for _ in range(2)]
        reply = await stage.ask(encode(A_REQUEST))
        assert not reply.ok
        assert not reply.permanent
        for reader, writer in idle:
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
        assert (await stage.ask(encode(A_REQUEST))).ok

    play(story, connections_max=2)


def test_what_is_spooled_is_drained_while_the_server_runs() -> None:
    async def story(stage: Stage) -> None:
        (stage.settings.spool_folder / "1.json").write_bytes(encode(A_REQUEST))
        await until(lambda: bool(stage.sink.hints))
        stage.sink.store()
        assert list(stage.settings.spool_folder.iterdir()) == []

    play(story, spool_poll_s=0.02)


def test_a_gate_hears_at_once_that_it_waits_and_later_why_it_opens() -> None:
    async def story(stage: Stage) -> None:
        reader, writer = await stage.connect()
        writer.write(encode(GateRequest(7, "q1-dy-c5-[1-2]")))
        assert await read_reply(reader) == Reply(ok=True, waiting=True)
        stage.gate.opened.set()
        assert await read_reply(reader) == Reply(ok=True, reason="ready")
        assert await reader.read() == b""
        writer.close()
        assert stage.gate.asked == [(7, ("q1-dy-c5-1", "q1-dy-c5-2"))]
        assert stage.observer.taken == [("start-gate", Source.SOCKET)]

    play(story)


def test_a_gate_whose_program_goes_away_is_forgotten() -> None:
    async def story(stage: Stage) -> None:
        reader, writer = await stage.connect()
        writer.write(encode(GateRequest(7, "q1-dy-c5-1")))
        await read_reply(reader)
        await until(lambda: len(stage.gate.asked) == 1)
        writer.close()
        await until(lambda: stage.gate.left == 1)

    play(story)


def test_gates_that_wait_take_no_connection_from_the_hooks() -> None:
    async def story(stage: Stage) -> None:
        waiting = []
        for job_id in range(1, 6):
            reader, writer = await stage.connect()
            writer.write(encode(GateRequest(job_id, "q1-dy-c5-1")))
            assert (await read_reply(reader)).waiting
            waiting.append(writer)
        assert (await stage.ask(encode(A_REQUEST))).ok
        for writer in waiting:
            writer.close()
            await writer.wait_closed()

    play(story, connections_max=1)


def test_when_the_server_stops_waiting_gates_see_the_connection_end() -> None:
    async def run() -> None:
        with TemporaryDirectory(prefix="hooks") as folder:
            stage = Stage(Path(folder))
            server = stage.server()
            running = asyncio.create_task(server.run())
            await server.listening.wait()
            reader, writer = await stage.connect()
            writer.write(encode(GateRequest(7, "q1-dy-c5-1")))
            await read_reply(reader)
            running.cancel()
            await asyncio.wait({running})
            async with asyncio.timeout(10):
                assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    asyncio.run(run())


def test_an_inherited_socket_is_served_and_left_as_it_was() -> None:
    async def run() -> None:
        with TemporaryDirectory(prefix="hooks") as folder, socket.socket(socket.AF_UNIX) as systemd:
            stage = Stage(Path(folder))
            systemd.bind(str(stage.settings.socket_path))
            systemd.listen()
            client = asyncio.create_task(stage.ask(encode(A_REQUEST)))  # waits in the backlog: no daemon yet
            await asyncio.sleep(0)
            stage.settings = replace(stage.settings, inherited_fd=os.dup(systemd.fileno()))
            running = asyncio.create_task(stage.server().run())
            assert (await client).ok
            running.cancel()
            await asyncio.wait({running})
            assert stage.settings.socket_path.exists()

    asyncio.run(run())


def test_a_descriptor_that_is_no_unix_socket_is_refused() -> None:
    with socket.socket(socket.AF_INET) as other, pytest.raises(ConfigurationError, match="not a unix stream socket"):
        Listener.inherit(other.fileno())


def test_the_socket_that_a_dead_daemon_left_is_replaced_and_a_living_ones_is_not() -> None:
    with TemporaryDirectory(prefix="hooks") as folder:
        path = Path(folder) / "hooks.sock"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        living = Listener.bind(path, 0o600)
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(ConfigurationError, match="another daemon listens"):
            Listener.bind(path, 0o600)
        living.close()
        assert not path.exists()


def test_a_file_in_the_sockets_place_is_left_alone() -> None:
    with TemporaryDirectory(prefix="hooks") as folder:
        path = Path(folder) / "hooks.sock"
        path.write_text("precious")
        with pytest.raises(ConfigurationError, match="not a socket"):
            Listener.bind(path, 0o600)
        assert path.read_text() == "precious"
        with pytest.raises(ConfigurationError, match="cannot listen"):
            Listener.bind(Path(folder) / "missing" / "hooks.sock", 0o600)
