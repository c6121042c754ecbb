"""The adapter over programs that misbehave. How it gets on with slurmctld is in the contract suite."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from clustermgtd.adapters.slurm.command_line import CommandLine
from clustermgtd.adapters.slurm.scheduler import SlurmScheduler
from clustermgtd.errors import (
    ClustermgtdError,
    ConfigurationError,
    ConflictError,
    IncompleteObservationError,
    NotFoundError,
    PermanentError,
    TransientError,
)
from clustermgtd.model.ids import JobId, NodeName
from clustermgtd.model.node import NodeBase

NODE = "NodeName={} NodeAddr=10.0.0.1 NodeHostName=h RealMemory=1 State={} Partitions=q1 BootTime=None"


class Programs:
    """`scontrol` and `squeue` as shell scripts that also write down how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.are("scontrol", f"echo '{NODE.format('n1', 'IDLE')}'")
        self.are("squeue", "")

    def are(self, name: str, body: str) -> None:
        program = self.folder / name
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {self.folder}/{name}.calls\n{body}\n')
        program.chmod(0o755)

    def calls(self, name: str) -> list[str]:
        path = self.folder / f"{name}.calls"
        return path.read_text().splitlines() if path.exists() else []

    def scheduler(self, *, deadline_s: float = 10.0, **options: Callable[[Sequence[NodeName]], None]) -> SlurmScheduler:
        calls = CommandLine(self.folder, self.folder / "slurm.conf", deadline_s=deadline_s)
        return SlurmScheduler(calls, **options)  # type: ignore[arg-type]


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


def failure(call: Awaitable[object]) -> ClustermgtdError:
    async def run() -> None:
        await call

    with pytest.raises(ClustermgtdError) as caught:
        asyncio.run(run())
    return caught.value


@pytest.mark.parametrize("program", ["scontrol", "squeue"])
@pytest.mark.parametrize(
    "body",
    [
        "echo 'slurm_load error: Unable to contact slurm controller (connect failure)' >&2; exit 1",
        "echo 'error: Munge encode failed: Failed to access /run/munge: No such file' >&2; exit 1",
        "echo 'something never seen' >&2; exit 1",
        "printf 'NodeName=n1 NodeAddr=n1 State=ID'",
        "echo garbage",
        "kill -9 $$",
    ],
)
def test_a_read_that_is_not_whole_is_no_observation(programs: Programs, program: str, body: str) -> None:
    programs.are(program, body)
    assert isinstance(failure(programs.scheduler().view()), IncompleteObservationError)


def test_a_program_that_hangs_is_ended_with_its_children_at_the_deadline(programs: Programs) -> None:
    programs.are("scontrol", f"sleep 61 & echo $! > {programs.folder}/child; wait")
    error = failure(programs.scheduler(deadline_s=0.5).view())
    assert isinstance(error, IncompleteObservationError)
    assert "within 0.5 s" in str(error)
    child = Path(f"/proc/{(programs.folder / 'child').read_text().strip()}/stat")
    give_up_at = time.monotonic() + 5
    while child.exists() and ") Z" not in child.read_text():
        assert time.monotonic() < give_up_at, "the child outlived the deadline"
        time.sleep(0.01)


def test_a_chatty_program_does_not_block_on_its_errors(programs: Programs) -> None:
    programs.are("squeue", "head -c 300000 /dev/zero >&2; exit 0")
    assert asyncio.run(programs.scheduler().view()).jobs == {}


def test_a_missing_program_and_a_missing_configuration_are_for_a_human(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "squeue").unlink()
    assert isinstance(failure(programs.scheduler().view()), ConfigurationError)
    programs.are("squeue", "echo 'squeue: fatal: Could not establish a configuration source' >&2; exit 1")
    assert isinstance(failure(programs.scheduler().view()), ConfigurationError)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("slurm_update error: Unable to contact slurm controller (connect failure)", TransientError),
        ("slurm_update error: Socket timed out on send/recv operation", TransientError),
        ("slurm_update error: Zero Bytes were transmitted or received", TransientError),
        ("slurm_update error: Protocol authentication error", TransientError),
        ("slurm_update error: Access/permission denied", ConfigurationError),
        ("slurm_update error: Invalid user id", ConfigurationError),
        ("Job is no longer pending execution for job 7", ConflictError),
        ("Job has already finished for job 7", NotFoundError),
        ("Invalid job id specified for job 7", NotFoundError),
        ("slurm_update error: something never seen", PermanentError),
    ],
)
def test_an_update_fails_with_what_can_be_done_about_it(
    programs: Programs, said: str, kind: type[ClustermgtdError]
) -> None:
    programs.are("scontrol", f"echo '{said}' >&2; exit 1")
    error = failure(programs.scheduler().lift_requeue_hold(JobId(7)))
    assert type(error) is kind
    assert said in str(error)


def test_an_update_whose_reply_does_not_come_is_transient_and_no_observation(programs: Programs) -> None:
    programs.are("scontrol", "sleep 61")
    error = failure(programs.scheduler(deadline_s=0.3).lift_requeue_hold(JobId(7)))
    assert type(error) is TransientError


def test_nodes_that_cannot_be_read_are_unknown_and_reported(programs: Programs) -> None:
    programs.are("scontrol", f"echo '{NODE.format('n1', 'IDLE')}'; echo '{NODE.format('n2', 'WHATEVER')}'")
    reported: list[Sequence[NodeName]] = []
    view = asyncio.run(programs.scheduler(report_unreadable=reported.append).view())
    assert {name: node.base for name, node in view.nodes.items()} == {"n1": NodeBase.IDLE, "n2": NodeBase.UNKNOWN}
    assert reported == [("n2",)]


def test_the_programs_see_a_fixed_environment(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    programs.are("squeue", f"env > {tmp_path}/env")
    environment = {"PATH": "/usr/bin:/bin", "SQUEUE_FORMAT": "%i", "SLURM_CLUSTERS": "x", "LC_TIME": "de", "HOME": "/h"}
    scheduler = SlurmScheduler(CommandLine(tmp_path, Path("/etc/slurm/slurm.conf"), environment=environment))
    asyncio.run(scheduler.view())
    seen = dict(line.partition("=")[::2] for line in (tmp_path / "env").read_text().splitlines())
    seen = {key: seen[key] for key in seen if key not in ("PWD", "OLDPWD", "_", "SHLVL")}
    assert seen == {
        "PATH": "/usr/bin:/bin",
        "HOME": "/h",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "SLURM_TIME_FORMAT": "%s",
        "SLURM_CONF": "/etc/slurm/slurm.conf",
    }


def test_updates_are_split_at_five_thousand_nodes_and_sorted(programs: Programs) -> None:
    nodes = [NodeName(f"q1-dy-c5-{number}") for number in range(12_000, 0, -1)]
    asyncio.run(programs.scheduler().power_down(nodes))
    calls = programs.calls("scontrol")
    assert len(calls) == 3
    assert all(call.startswith("update NodeName=q1-dy-c5-[") for call in calls)
    assert all(call.endswith("] State=POWER_DOWN") for call in calls)


def test_updates_are_split_before_an_argument_is_too_long_for_the_kernel(programs: Programs) -> None:
    addresses = [(NodeName(f"a-rather-long-name-{number * 2:05d}-x"), "10.100.100.100") for number in range(5_000)]
    asyncio.run(programs.scheduler().assign_addresses(addresses))
    assert [len(call) < 250_000 for call in programs.calls("scontrol")] == [True, True]


def test_a_reason_is_one_line_of_bounded_length(programs: Programs) -> None:
    asyncio.run(programs.scheduler().set_down([NodeName("n1")], "clustermgtd:x\nsecond " + "y" * 10_000))
    update = programs.calls("scontrol")[-1]
    assert update.startswith("update NodeName=n1 State=DOWN Reason=clustermgtd:x second yyy")
    assert len(update) < 500


def test_the_event_loop_is_free_while_a_program_runs(programs: Programs) -> None:
    programs.are("squeue", f"while [ ! -e {programs.folder}/go ]; do sleep 0.02; done")

    async def story() -> None:
        view = asyncio.create_task(programs.scheduler().view())
        await asyncio.sleep(0.05)
        assert not view.done()
        (programs.folder / "go").touch()
        assert (await view).jobs == {}

    asyncio.run(story())
