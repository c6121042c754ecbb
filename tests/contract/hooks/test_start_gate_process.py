"""The start gate as slurmctld runs it: a job waits for its nodes, and never for anything else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from resume_suspend.protocol import Reply, encode
from tests.contract.hooks.site import Ended, Site, ended, play
from tests.fakes.waiting import until

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
