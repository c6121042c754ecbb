"""The hooks as Slurm runs them: real processes, a real socket, a real spool folder."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from resume_suspend.client import TEMPORARY_PREFIX
from resume_suspend.programs import PROGRAMS, write_programs
from resume_suspend.protocol import ResumeFailRequest, ResumeRequest, SuspendRequest, decode
from tests.contract.hooks.site import DEADLINE_S, EVERY_HOOK, PACKAGE_ROOT, Ended, Site, play, write_resume_file
from tests.fakes.waiting import until


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
