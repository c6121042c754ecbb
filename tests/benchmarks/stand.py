"""A test stand: the production daemon against AWS on the wire and a Slurm that shows what a benchmark says.

`scontrol` and `squeue` are scripts that print files, so that what is measured is the daemon and not slurmctld; the
daemon starts and parses them as it does the real ones. The hook is the real program.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Self
from urllib.request import Request, urlopen

from clustermgtd.model.hostlist import expand, fold

UP = "ALLOCATED+CLOUD"
POWERING_UP = "ALLOCATED+CLOUD+NOT_RESPONDING+POWERING_UP"
POWERING_DOWN = "IDLE+CLOUD+POWERING_DOWN"
WAIT_S = 60.0

_CLUSTER = """\
Region: us-east-1
Image: {{Os: ubuntu2204, CustomAmi: ami-0123456789abcdef0}}
HeadNode: {{InstanceType: c5.large, Networking: {{SubnetId: subnet-0000000000000000a}}}}
Scheduling:
  Scheduler: slurm
  SlurmQueues:
    - Name: q1
      Networking: {{SubnetIds: [subnet-0000000000000000a]}}
      ComputeResources:
        - {{Name: c5, InstanceType: c5.large, MinCount: 0, MaxCount: {nodes}}}
Clustermgtd:
  ClusterName: bench
  Slurm: {{BinDir: {folder}, ConfFile: {folder}/slurm.conf}}
  Hooks: {{SocketPath: {folder}/hooks.sock, SpoolDir: {folder}/spool}}
  Metrics: {{Enabled: false}}
  Governor: {{Enabled: false}}
  Events: {{QueueUrl: "{url}/123456789012/bench"}}
"""
_SCONTROL = """\
#!/bin/sh
echo "scontrol $1" >>{folder}/programs
case "$*" in
*NodeAddr=*) [ ! -e {folder}/nodes.next ] || mv {folder}/nodes.next {folder}/nodes ;;
*show\\ node*) exec cat {folder}/nodes ;;
esac
"""
_SQUEUE = """\
#!/bin/sh
echo squeue >>{folder}/programs
exec cat {folder}/jobs
"""
_NODE = (
    "NodeName={name} Arch=x86_64 CoresPerSocket=1  CPUAlloc=0 CPUEfctv=2 CPUTot=2 CPULoad=0.01 "
    "AvailableFeatures=dynamic,c5.large,c5 ActiveFeatures=dynamic,c5.large,c5 Gres=(null) NodeAddr={address} "
    "NodeHostName={name} Version=23.11.10 RealMemory=3891 AllocMem=0 FreeMem=3200 Sockets=2 Boards=1 State={state} "
    "ThreadsPerCore=1 TmpDisk=0 Weight=1000 Owner=N/A MCS_label=N/A Partitions=q1  BootTime=1716238000 "
    "SlurmdStartTime=1716238060 LastBusyTime=1716238061 CfgTRES=cpu=2,mem=3891M,billing=2 AllocTRES= CapWatts=n/a "
    "CurrentWatts=0 AveWatts=0 ExtSensorsJoules=n/s ExtSensorsWatts=0 ExtSensorsTemp=n/s\n"
)


def node_names(count: int) -> list[str]:
    return [f"q1-dy-c5-{n}" for n in range(1, count + 1)]


class Stand:
    """Use as a context manager; everything ends with it."""

    def __init__(self, nodes: int) -> None:
        self.names = node_names(nodes)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        for name, text in (("scontrol", _SCONTROL), ("squeue", _SQUEUE)):
            (self._folder / name).write_text(text.format(folder=self._folder))
            (self._folder / name).chmod(0o755)
        config = self._folder / "cluster.yaml"
        self.show(dict.fromkeys(self.names, "IDLE+CLOUD+POWERED_DOWN"))
        try:
            endpoints = self._child("tests.benchmarks.endpoints")
            self._url = self._line(endpoints).strip()
            config.write_text(_CLUSTER.format(folder=self._folder, nodes=len(self.names), url=self._url))
            self._daemon = self._child("tests.benchmarks.watched_daemon", str(config))
            self.wait_for("daemon_ready")
            self.wait_for("tick")
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def show(self, states: dict[str, str], jobs: Sequence[Sequence[str]] = (), *, parked: bool = False) -> None:
        """From now on Slurm shows these nodes, and jobs that wait for theirs.

        Unless `parked`, nodes that power up have their name for an address until somebody writes one.
        """
        lines = [_NODE.format(name=name, state=state, address="127.0.0.1") for name, state in states.items()]
        if not parked and POWERING_UP in states.values():
            self._write("nodes.next", lines)
            lines = [_NODE.format(name=name, state=state, address=name) for name, state in states.items()]
        self._write(
            "jobs",
            [
                f"{n}|CONFIGURING|0|q1|alice|physics|100|1716238000|{fold(nodes)}|None\n"  # type: ignore[type-var]
                for n, nodes in enumerate(jobs, start=1)
            ],
        )
        self._write("nodes", lines)

    def resume(self, jobs: Sequence[Sequence[str]]) -> float:
        """Run the hook as slurmctld does; returns when it had ended, epoch seconds."""
        entries = [
            {"job_id": n, "nodes_alloc": fold(nodes), "nodes_resume": fold(nodes), "partition": "q1"}  # type: ignore[type-var]
            for n, nodes in enumerate(jobs, start=1)
        ]
        every = fold([name for nodes in jobs for name in nodes])  # type: ignore[type-var]
        self._write("resume.json", [json.dumps({"all_nodes_resume": every, "jobs": entries})])
        environment = {
            **os.environ,
            "CLUSTERMGTD_SOCKET": str(self._folder / "hooks.sock"),
            "CLUSTERMGTD_SPOOL": str(self._folder / "spool"),
            "SLURM_RESUME_FILE": str(self._folder / "resume.json"),
        }
        subprocess.run([sys.executable, "-m", "resume_suspend.resume", every], env=environment, check=True)
        return time.time()

    def wake(self) -> None:
        """One tick without news."""
        seen = len(self.events("tick"))
        self.resume([self.names[:1]])
        self.wait_until(lambda: len(self.events("tick")) > seen)

    def mark(self) -> dict[str, float]:
        """The daemon's figures since the last mark."""
        assert self._daemon.stdin is not None
        self._daemon.stdin.write("mark\n")
        self._daemon.stdin.flush()
        figures: dict[str, float] = json.loads(self._line(self._daemon))
        return figures

    def calls(self) -> dict[str, dict[str, float]]:
        """AWS calls so far, by operation."""
        with urlopen(f"{self._url}/bench/calls") as answer:
            found: dict[str, dict[str, float]] = json.load(answer)
        return found

    def send(self, bodies: Sequence[str]) -> None:
        """Put messages into the queue of AWS's announcements."""
        with urlopen(Request(f"{self._url}/bench/messages", json.dumps(list(bodies)).encode())):
            pass

    def when_deleted(self) -> dict[str, float]:
        """Wait until the queue is empty; returns when the last message was received and when deleted, epoch seconds."""
        state: dict[str, float] = {}

        def is_empty() -> bool:
            with urlopen(f"{self._url}/bench/messages") as answer:
                state.update(json.load(answer))
            return not state["left"]

        self.wait_until(is_empty)
        return state

    def programs(self) -> int:
        """Programs that the daemon started so far."""
        return len((self._folder / "programs").read_text().splitlines())

    def events(self, name: str) -> list[dict[str, Any]]:
        """Lines of the daemon's log, with `at` in epoch seconds."""
        found = []
        whole, _, _ = (self._folder / "log").read_text().rpartition("\n")  # the last line may be half written
        for line in whole.splitlines():
            if f'"{name}"' in line and (event := json.loads(line)).get("event") == name:
                found.append(event | {"at": datetime.fromisoformat(event["timestamp"]).timestamp()})
        return found

    def instances(self) -> int:
        """Nodes whose instance is recorded."""
        return sum(len(expand(event["nodes"])) for event in self.events("launch_done"))

    def wait_for(self, event: str) -> None:
        self.wait_until(lambda: bool(self.events(event)))

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Look every tenth of a second.

        Raises:
            TimeoutError: it took longer than any benchmark may.
        """
        deadline = time.monotonic() + WAIT_S
        while not is_so():
            if time.monotonic() > deadline or self._daemon.poll() is not None:
                raise TimeoutError((self._folder / "log").read_text()[-3000:])
            time.sleep(0.1)

    def _write(self, name: str, lines: Sequence[str]) -> None:
        part = self._folder / f"{name}.part"
        part.write_text("".join(lines))
        part.replace(self._folder / name)

    def _child(self, module: str, *argv: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": getattr(self, "_url", ""),
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
        }
        log = self._stack.enter_context((self._folder / "log").open("a"))
        process = subprocess.Popen(
            [sys.executable, "-m", module, *argv],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        self._stack.callback(_end, process)
        return process

    def _line(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError((self._folder / "log").read_text()[-3000:])
        return line


def _end(process: subprocess.Popen[str]) -> None:
    """Its standard input closes, which ends it; a process that hangs is killed."""
    try:
        process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def split(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Jobs of `size` nodes."""
    for start in range(0, len(names), size):
        yield names[start : start + size]
