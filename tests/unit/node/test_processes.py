"""Jobs of a node as /proc shows them: titles as Slurm 22.05 writes them, processes played or real."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clustermgtd.node.processes import SIGNAL_VARIABLE, Activity, NodeProcesses

SLURMD = 100


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A machine with init (1), the agent (50) and slurmd (100)."""
    put(tmp_path, 1, 0, "systemd", "/sbin/init")
    put(tmp_path, 50, 1, "python", "python")
    put(tmp_path, SLURMD, 50, "slurmd", "/usr/sbin/slurmd")
    (tmp_path / "meminfo").write_text("")
    return tmp_path


def put(proc: Path, pid: int, parent: int, name: str, *words: str, state: str = "S") -> None:
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "stat").write_text(f"{pid} ({name}) {state} {parent} {pid} {pid} 0 -1 4194560")
    (folder / "cmdline").write_bytes(b"\0".join(word.encode() for word in words) + b"\0")
    (folder / "environ").write_bytes(b"")


def test_a_node_without_jobs(proc: Path) -> None:
    assert NodeProcesses(proc=proc).activity(SLURMD) == Activity()


def test_steps_name_their_jobs(proc: Path) -> None:
    put(proc, 200, 1, "slurmstepd", "slurmstepd: [12.batch]  ")
    put(proc, 201, 1, "slurmstepd", "slurmstepd: [12.0]")
    put(proc, 202, 1, "slurmstepd", "slurmstepd: [9.extern]")
    put(proc, 203, 200, "we(ird) name", "/bin/bash")
    assert NodeProcesses(proc=proc).activity(SLURMD) == Activity((9, 12), is_busy=True)


def test_a_step_that_has_no_title_yet_is_work(proc: Path) -> None:
    put(proc, 200, 1, "slurmstepd", "/usr/sbin/slurmstepd")
    assert NodeProcesses(proc=proc).activity(SLURMD) == Activity((), is_busy=True)


def test_the_keeper_of_the_cgroup_is_no_work(proc: Path) -> None:
    put(proc, 200, 1, "slurmstepd", "/usr/sbin/slurmstepd", "infinity")
    put(proc, 201, 1, "slurmstepd", "slurmstepd: [12.0]", state="Z")
    assert NodeProcesses(proc=proc).activity(SLURMD) == Activity()


def test_a_prolog_is_work(proc: Path) -> None:
    put(proc, 200, SLURMD, "epilog.sh", "/bin/sh", "/etc/slurm/epilog.sh")
    assert NodeProcesses(proc=proc).activity(SLURMD) == Activity((), is_busy=True)
    assert NodeProcesses(proc=proc).activity(None) == Activity()


def test_other_nodes_on_the_same_machine_are_not_ours(proc: Path) -> None:
    put(proc, 300, 1, "python3", "machine.py")
    put(proc, 301, 300, "slurmstepd", "slurmstepd: [77.0]")
    put(proc, 400, 1, "python3", "machine.py")
    put(proc, 401, 400, "slurmstepd", "slurmstepd: [78.0]")
    put(proc, 402, 401, "slurmstepd", "slurmstepd: [78.0]")
    assert NodeProcesses(below=400, proc=proc).activity(None).jobs == (78,)
    assert NodeProcesses(proc=proc).activity(None).jobs == (77, 78)


STEPD = """
import subprocess, sys, time
task = subprocess.Popen(["/bin/sh", "-c", "trap 'echo told; exit 0' USR1; echo ready; while :; do sleep 0.05; done"])
print(task.pid, flush=True)
task.wait()
"""


@pytest.mark.parametrize(("wanted", "is_told"), [("USR1", True), ("SIGUSR1", True), ("KILL", False), ("", False)])
def test_a_task_gets_the_signal_that_its_environment_names(tmp_path: Path, wanted: str, is_told: bool) -> None:
    environment = {**os.environ, SIGNAL_VARIABLE: wanted}
    if not wanted:
        del environment[SIGNAL_VARIABLE]
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", STEPD], env=environment, stdout=subprocess.PIPE, text=True
    ) as stepd:
        assert stepd.stdout is not None
        lines = [stepd.stdout.readline().strip(), stepd.stdout.readline().strip()]
        task = int(next(line for line in lines if line != "ready"))
        put(tmp_path, stepd.pid, 1, "slurmstepd", "slurmstepd: [12.batch]")
        (tmp_path / str(task)).symlink_to(f"/proc/{task}")
        said: list[str] = []
        assert NodeProcesses(proc=tmp_path).tell_jobs(said.append) == int(is_told)
        if is_told:
            assert stepd.stdout.readline() == "told\n"
            assert said == [f"job 12, step batch: SIGUSR1 to process {task}"]
        else:
            assert ("is none of" in "".join(said)) is bool(wanted)
            os.kill(task, 9)


def test_a_process_that_is_not_a_child_of_the_step_any_more_gets_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "600"], env={SIGNAL_VARIABLE: "TERM"}) as stranger:
        put(tmp_path, 200, 1, "slurmstepd", "slurmstepd: [12.0]")
        (tmp_path / str(stranger.pid)).symlink_to(f"/proc/{stranger.pid}")
        said: list[str] = []
        assert NodeProcesses(proc=tmp_path).tell_jobs(said.append) == 0
        assert stranger.poll() is None
        stranger.kill()
