"""The hooks as Slurm runs them: real processes, a real socket, a real spool folder."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import resume_suspend
from clustermgtd.adapters.system.loop_clock import LoopClock
from clustermgtd.intake.hooks import HookServer, HookServerSettings
from clustermgtd.model.ids import JobId, NodeName
from resume_suspend.client import TEMPORARY_PREFIX
from resume_suspend.programs import PROGRAMS, write_programs
from resume_suspend.protocol import Reply, ResumeFailRequest, ResumeRequest, SuspendRequest, decode, encode
from tests.fakes.hint_sink import FakeSink
from tests.fakes.waiting import until

PACKAGE_ROOT = Path(resume_suspend.__file__).parent.parent
EVERY_HOOK = ("resume", "suspend", "resume_fail")
DEADLINE_S = 20.0


@dataclass(frozen=True)
class Ended:
    status: int
    errors: str


@dataclass(frozen=True)
class Opened:
    reason: str


class Gate:
    """Opens when the test says so."""

    def __init__(self) -> None:
        self.waiting = 0
        self.opened = asyncio.Event()

    async def wait(self, job_id: JobId, nodes: Sequence[NodeName]) -> Opened:
        assert job_id == 7
        assert nodes == ("q1-dy-c5-1", "q1-dy-c5-2")
        self.waiting += 1
        try:
            await self.opened.wait()
        finally:
            self.waiting -= 1
        return Opened("ready")


class Site:
    """A head node's folders and the programs that its slurm.conf names."""

    def __init__(self, root: Path) -> None:
        self.socket = root / "hooks.sock"
        self.spool = root / "spool"
        self.spool.mkdir()
        self.sink = FakeSink()
        self.gate = Gate()
        environment = {"CLUSTERMGTD_SOCKET": str(self.socket), "CLUSTERMGTD_SPOOL": str(self.spool)}
        self.environment = environment
        self.programs = write_programs(root / "a folder", Path(sys.executable), PACKAGE_ROOT, environment)

    @contextlib.asynccontextmanager
    async def daemon(self) -> AsyncIterator[None]:
        settings = HookServerSettings(self.socket, self.spool, frozenset({os.getuid()}), spool_poll_s=0.05)
        server = HookServer(settings, self.sink, self.gate, LoopClock())
        running = asyncio.create_task(server.run())
        try:
            await asyncio.wait_for(server.listening.wait(), DEADLINE_S)
            yield
        finally:
            running.cancel()
            await asyncio.wait({running})

    @contextlib.asynccontextmanager
    async def started(
        self, program: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """A program in an environment as bare as slurmctld's."""
        process = await asyncio.create_subprocess_exec(
            self.programs[program],
            *arguments,
            env=environment or {},
            cwd="/",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def run(self, program: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Ended:
        async with self.started(program, *arguments, environment=environment) as process:
            return await ended(process)

    def spooled(self) -> list[Path]:
        return sorted(self.spool.glob("*.json"))


async def ended(process: asyncio.subprocess.Process) -> Ended:
    _, errors = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode is not None
    return Ended(process.returncode, errors.decode())


@pytest.fixture
def site() -> Iterator[Site]:
    with TemporaryDirectory(prefix="site") as root:
        yield Site(Path(root))


def play(story: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(story())


def write_resume_file(folder: Path, content: object) -> dict[str, str]:
    path = folder / "resume.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return {"SLURM_RESUME_FILE": str(path)}


@pytest.mark.parametrize("hook", EVERY_HOOK)
def test_a_living_daemon_gets_the_request(site: Site, hook: str) -> None:
    async def story() -> None:
        async with site.daemon():
            assert await site.run(hook, "q1-dy-c5-[1-3]") == Ended(0, "")
        (hint,) = site.sink.hints
        assert hint.kind == hook.replace("_", "-")
        assert hint.nodes == ("q1-dy-c5-1", "q1-dy-c5-2", "q1-dy-c5-3")
        assert site.spooled() == []

    play(story)


@pytest.mark.parametrize("hook", EVERY_HOOK)
def test_with_the_daemon_dead_the_request_is_spooled_and_the_next_daemon_gets_it(site: Site, hook: str) -> None:
    async def story() -> None:
        ran = await site.run(hook, "q1-dy-c5-[1-3]")
        assert ran.status == 0
        assert "it waits in" in ran.errors
        (path,) = site.spooled()
        request = decode(path.read_bytes())
        assert isinstance(request, ResumeRequest | SuspendRequest | ResumeFailRequest)
        assert request.nodes == "q1-dy-c5-[1-3]"
        async with site.daemon():
            await until(lambda: len(site.sink.hints) == 1)
            site.sink.store()
        assert site.sink.hints[0].id == request.id
        assert site.spooled() == []

    play(story)


@pytest.mark.parametrize("hook", EVERY_HOOK)
def test_with_neither_daemon_nor_spool_it_fails_and_says_so(site: Site, hook: str) -> None:
    async def story() -> None:
        site.spool.rmdir()
        ran = await site.run(hook, "q1-dy-c5-1")
        assert ran.status == 1
        assert "no daemon took the request" in ran.errors
        assert str(site.spool) in ran.errors

    play(story)


@pytest.mark.parametrize("redirection", [">&- 2>&- <&-", "2>/dev/full >/dev/full"])
def test_a_hook_that_cannot_say_anything_still_does_its_work(site: Site, redirection: str) -> None:
    command = f'exec "$0" q1-dy-c5-1 {redirection}'
    subprocess.run(["/bin/sh", "-c", command, str(site.programs["resume"])], env={}, timeout=DEADLINE_S, check=True)
    assert len(site.spooled()) == 1


def test_spooled_requests_keep_their_order(site: Site) -> None:
    async def story() -> None:
        for number in range(1, 6):
            await site.run("suspend" if number % 2 else "resume", f"q1-dy-c5-{number}")
        async with site.daemon():
            await until(lambda: len(site.sink.hints) == 5)
        assert [hint.nodes[0] for hint in site.sink.hints] == [f"q1-dy-c5-{number}" for number in range(1, 6)]

    play(story)


def test_a_daemon_that_is_stuck_costs_a_hook_its_deadline_and_no_more(site: Site) -> None:
    async def story() -> None:
        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        async with await asyncio.start_unix_server(say_nothing, site.socket):
            ran = await site.run("suspend", "q1-dy-c5-1", environment={"CLUSTERMGTD_HOOK_DEADLINE": "0.2"})
        assert ran.status == 0
        assert "timed out" in ran.errors
        assert len(site.spooled()) == 1

    play(story)


def test_a_full_inbox_sends_the_request_to_the_spool(site: Site) -> None:
    async def story() -> None:
        site.sink.room = 0
        async with site.daemon():
            ran = await site.run("suspend", "q1-dy-c5-1")
            assert ran.status == 0
            assert "the inbox is full" in ran.errors
            site.sink.room = 1
            await until(lambda: len(site.sink.hints) == 1)

    play(story)


def test_what_the_daemon_will_never_take_is_not_spooled(site: Site) -> None:
    async def story() -> None:
        async with site.daemon():
            ran = await site.run("suspend", "q1-dy-c5-[1-")
        assert ran.status == 1
        assert "unbalanced brackets" in ran.errors
        assert site.spooled() == []

    play(story)


RELEASE_22_05 = {"jobs": [{"job_id": 1, "nodes": "q1-dy-c5-[1-3]"}], "all_nodes": "q1-dy-c5-[1-3]"}
RELEASE_24_11 = {
    "all_nodes_resume": "q1-dy-c5-[1-3]",
    "jobs": [
        {
            "extra": "",
            "features": None,
            "job_id": 1,
            "nodes_alloc": "q1-dy-c5-[1-4]",
            "nodes_resume": "q1-dy-c5-[1-3]",
            "oversubscribe": "OK",
            "partition": "q1",
            "reservation": "",
        }
    ],
}


@pytest.mark.parametrize("content", [RELEASE_22_05, RELEASE_24_11], ids=["22.05", "24.11"])
def test_the_jobs_of_the_resume_file_come_along(site: Site, tmp_path: Path, content: object) -> None:
    async def story() -> None:
        async with site.daemon():
            environment = write_resume_file(tmp_path, content)
            assert await site.run("resume", "q1-dy-c5-[1-3]", environment=environment) == Ended(0, "")
        (hint,) = site.sink.hints
        assert hint.jobs == (1,)
        assert hint.note == ""

    play(story)


@pytest.mark.parametrize("content", ["", "garbage", '{"jobs": 7}'])
def test_a_broken_resume_file_costs_the_grouping_only(site: Site, tmp_path: Path, content: str) -> None:
    async def story() -> None:
        async with site.daemon():
            environment = write_resume_file(tmp_path, content)
            assert (await site.run("resume", "q1-dy-c5-[1-3]", environment=environment)).status == 0
        (hint,) = site.sink.hints
        assert len(hint.nodes) == 3
        assert hint.jobs == ()
        assert hint.note.startswith("resume file ")

    play(story)


def test_four_thousand_nodes_for_four_thousand_jobs(site: Site, tmp_path: Path) -> None:
    async def story() -> None:
        jobs = [
            {**RELEASE_24_11["jobs"][0], "job_id": n, "nodes_alloc": f"q1-dy-c5-{n}", "nodes_resume": f"q1-dy-c5-{n}"}  # type: ignore[dict-item]
            for n in range(1, 4001)
        ]
        environment = write_resume_file(tmp_path, {"all_nodes_resume": "q1-dy-c5-[1-4000]", "jobs": jobs})
        async with site.daemon():
            assert await site.run("resume", "q1-dy-c5-[1-4000]", environment=environment) == Ended(0, "")
        (hint,) = site.sink.hints
        assert len(hint.nodes) == 4000
        assert hint.jobs == tuple(range(1, 4001))

    play(story)


def test_a_hook_killed_while_it_writes_leaves_nothing_that_a_daemon_would_take(site: Site) -> None:
    program = f"""\
import os, signal, sys
sys.path.append({str(PACKAGE_ROOT)!r})
from resume_suspend import client
client.os.rename = lambda old, new: os.kill(os.getpid(), signal.SIGKILL)
client.spool({str(site.spool)!r}, "1", b"{{}}")
"""
    killed = subprocess.run([sys.executable, "-I", "-S", "-c", program], timeout=DEADLINE_S, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in site.spool.iterdir()] == [f"{TEMPORARY_PREFIX}1"]

    async def story() -> None:
        async with site.daemon():
            await site.run("suspend", "q1-dy-c5-1")
        assert len(site.sink.hints) == 1
        assert not (site.spool / "rejected").exists()

    play(story)


@pytest.mark.parametrize("hook", EVERY_HOOK)
@pytest.mark.parametrize("arguments", [[], ["a", "b"], [""], ["--force"]])
def test_usage_errors_show_an_example(site: Site, hook: str, arguments: list[str]) -> None:
    async def story() -> None:
        ran = await site.run(hook, *arguments)
        assert ran.status == 2
        assert f"{hook} 'q1-dy-c5-[1-10,12]'" in ran.errors
        assert site.spooled() == []

    play(story)


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_each_hook_runs_as_a_module_and_helps(name: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", f"resume_suspend.{name}", "--help"],
        cwd=PACKAGE_ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    assert ran.stdout.startswith(f"usage: {name} ")
    assert "CLUSTERMGTD_SOCKET" in ran.stdout
    assert ran.stderr == ""


@pytest.mark.parametrize("name", EVERY_HOOK)
def test_no_hook_imports_what_it_can_do_without(name: str) -> None:
    program = f"import sys; import resume_suspend.{name}; print(*sorted(sys.modules))"
    ran = subprocess.run(
        [sys.executable, "-S", "-c", program],
        cwd=PACKAGE_ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    heavy = {"argparse", "asyncio", "dataclasses", "enum", "inspect", "json", "logging", "pathlib", "re", "socket"}
    heavy |= {"subprocess", "typing"}
    assert heavy.isdisjoint(ran.stdout.split())


def test_the_programs_are_what_slurm_wants(site: Site) -> None:
    assert set(site.programs) == set(PROGRAMS)
    for path in site.programs.values():
        assert path.is_absolute()
        assert path.stat().st_mode & 0o777 == 0o755


def test_an_environment_that_no_shell_can_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be the name of an environment variable"):
        write_programs(tmp_path, Path(sys.executable), PACKAGE_ROOT, {"A=B;rm": "1"})


def test_what_is_written_into_the_programs_is_taken_literally(tmp_path: Path) -> None:
    folder = tmp_path / "it's $HOME `id`"
    folder.mkdir()
    environment = {"CLUSTERMGTD_SOCKET": str(folder / "s"), "CLUSTERMGTD_SPOOL": str(folder)}
    programs = write_programs(tmp_path / "bin", Path(sys.executable), PACKAGE_ROOT, environment)
    subprocess.run([programs["suspend"], "q1-dy-c5-1"], env={}, timeout=DEADLINE_S, check=True, capture_output=True)
    assert len(list(folder.glob("*.json"))) == 1


JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "q1-dy-c5-[1-2]"}


def test_the_gate_holds_a_job_until_its_nodes_are_ready(site: Site) -> None:
    async def story() -> None:
        async with site.daemon(), site.started("start_gate", environment=JOB) as gate:
            await until(lambda: site.gate.waiting == 1)
            assert gate.returncode is None
            site.gate.opened.set()
            assert await ended(gate) == Ended(0, "")

    play(story)


def test_the_gate_reads_an_answer_that_comes_in_one_piece_with_the_first_word(site: Site) -> None:
    async def both_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(encode(Reply(True, waiting=True)) + encode(Reply(True, reason="ready")))
        await writer.drain()
        writer.close()

    async def story() -> None:
        async with await asyncio.start_unix_server(both_at_once, site.socket):
            assert await site.run("start_gate", environment=JOB) == Ended(0, "")

    play(story)


def test_the_gate_lets_a_job_go_when_nobody_answers(site: Site) -> None:
    async def story() -> None:
        ran = await site.run("start_gate", environment=JOB)
        assert ran.status == 0
        assert "job 7 is not held back" in ran.errors

    play(story)


def test_the_gate_lets_a_job_go_when_the_daemon_dies(site: Site) -> None:
    async def story() -> None:
        async with contextlib.AsyncExitStack() as daemon:
            await daemon.enter_async_context(site.daemon())
            async with site.started("start_gate", environment=JOB) as gate:
                await until(lambda: site.gate.waiting == 1)
                await daemon.aclose()
                assert (await ended(gate)).status == 0

    play(story)


def test_the_gate_ends_at_once_on_sigterm_and_the_daemon_forgets_it(site: Site) -> None:
    async def story() -> None:
        async with site.daemon(), site.started("start_gate", environment=JOB) as gate:
            await until(lambda: site.gate.waiting == 1)
            gate.terminate()
            ran = await ended(gate)
            assert ran.status == 0
            assert "SIGTERM" in ran.errors
            await until(lambda: site.gate.waiting == 0)

    play(story)


def test_the_gate_gives_up_at_its_deadline(site: Site) -> None:
    async def story() -> None:
        async with site.daemon():
            ran = await site.run("start_gate", environment={**JOB, "CLUSTERMGTD_START_GATE_DEADLINE": "0.2"})
        assert ran.status == 0
        assert "deadline" in ran.errors

    play(story)


def test_a_daemon_that_is_stuck_holds_no_job_back(site: Site) -> None:
    async def story() -> None:
        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        async with await asyncio.start_unix_server(say_nothing, site.socket):
            ran = await site.run("start_gate", environment=JOB)
        assert ran.status == 0
        assert "timed out" in ran.errors

    play(story)


@pytest.mark.parametrize(
    "environment", [{"SLURM_JOB_ID": "seven"}, {"SLURM_JOB_ID": "7"}, {**JOB, "SLURM_JOB_NODELIST": "q1-["}]
)
def test_the_gate_never_fails_a_job_by_itself(site: Site, environment: Mapping[str, str]) -> None:
    async def story() -> None:
        async with site.daemon():
            ran = await site.run("start_gate", environment=environment)
            assert ran.status == 0
            assert ran.errors != ""
            assert (await site.run("start_gate", "--bogus", environment=environment)).status == 0

    play(story)


def test_the_gate_by_hand_without_a_job_is_a_usage_error(site: Site) -> None:
    async def story() -> None:
        ran = await site.run("start_gate")
        assert ran.status == 2
        assert "SLURM_JOB_ID" in ran.errors

    play(story)


@pytest.fixture
def prolog(tmp_path: Path) -> Path:
    """A site's own prolog that notes its environment and arguments, and ends with the status it is given."""
    path = tmp_path / "prolog"
    path.write_text(f'#!/bin/sh\necho "$SLURM_JOB_ID $2" > {tmp_path}/seen\ntrap - TERM\nexit "$1"\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("status", [0, 5])
def test_the_sites_own_prolog_runs_after_the_wait_and_its_status_counts(
    site: Site, prolog: Path, tmp_path: Path, status: int
) -> None:
    async def story() -> None:
        arguments = ["--then", str(prolog), str(status), "an argument"]
        async with site.daemon(), site.started("start_gate", *arguments, environment=JOB) as gate:
            await until(lambda: site.gate.waiting == 1)
            assert not (tmp_path / "seen").exists()
            site.gate.opened.set()
            assert (await ended(gate)).status == status
        assert (tmp_path / "seen").read_text() == "7 an argument\n"

    play(story)


@pytest.mark.parametrize("environment", [JOB, {"SLURM_JOB_ID": "seven"}])
def test_the_sites_own_prolog_runs_even_if_nobody_could_wait(
    site: Site, prolog: Path, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    async def story() -> None:
        assert (await site.run("start_gate", f"--then={prolog}", "3", environment=environment)).status == 3
        assert (tmp_path / "seen").exists()

    play(story)


def test_the_sites_own_prolog_can_be_named_in_the_environment(site: Site, tmp_path: Path) -> None:
    async def story() -> None:
        ran = await site.run("start_gate", environment={**JOB, "CLUSTERMGTD_START_GATE_THEN": "/bin/false"})
        assert ran.status == 1
        gone = await site.run("start_gate", environment={**JOB, "CLUSTERMGTD_START_GATE_THEN": str(tmp_path / "gone")})
        assert gone.status == 127
        assert "cannot run" in gone.errors

    play(story)
