"""A whole lab for end-to-end tests: real slurmctld, slurmd and munge, the daemon, EC2 over its wire protocol."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from clustermgtd.lab import leftovers, lifecycle
from clustermgtd.lab.client import Job, LabClient, LabStatus
from clustermgtd.lab.cluster_files import Chosen
from clustermgtd.lab.environment import NOBODYS_CREDENTIALS
from clustermgtd.lab.folder import LabFolder

CLEAN_DEADLINE_S = 90.0


def interruptible() -> None:
    """`preexec_fn` of a command that a test interrupts: a test run in the background inherits SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


CLUSTER = Path(__file__).with_name("cluster.yaml")
"""The lab's own cluster with shorter times, so that tests wait less for nodes to go."""


@dataclass
class Lab:
    """One lab that is up, for tests. Every wait has a deadline and says what it waited for."""

    folder: LabFolder
    client: LabClient
    _clients: dict[str, Any] = field(default_factory=dict)

    def run(self, *argv: str, stdin: str = "", timeout_s: float = 30.0) -> str:
        """Standard output of a command in the lab's environment; PermanentError if it fails."""
        return self.client.run(argv, stdin=stdin, timeout_s=timeout_s)

    def submit(self, script: str, *options: str) -> int:
        """`sbatch` of a shell script (a `#!/bin/sh` is added if there is none); the job's id."""
        text = script if script.startswith("#!") else f"#!/bin/sh\n{script}\n"
        output = f"--output={self.folder.path}/job-%j.out"
        return int(self.run("sbatch", "--parsable", output, *options, stdin=text).split(";")[0])

    def output(self, job: int) -> str:
        """What a job wrote."""
        return (self.folder.path / f"job-{job}.out").read_text()

    def jobs(self, job: int) -> list[Job]:
        """The job, or the tasks of the array; empty once Slurm has forgotten it."""
        return [found for found in self.client.jobs() if job in (found.id, found.array)]

    def status(self) -> LabStatus:
        return self.client.status()

    def aws(self, service: str) -> Any:
        """A boto3 client of the lab's endpoints."""
        if service not in self._clients:
            state = self.client.state()
            self._clients[service] = boto3.client(
                service,
                region_name=state.region,
                endpoint_url=state.endpoint_url,
                aws_access_key_id=NOBODYS_CREDENTIALS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=NOBODYS_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
                config=Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 1}, proxies={}),
            )
        return self._clients[service]

    @property
    def daemon_pid(self) -> int | None:
        """None while the daemon does not run."""
        pid: int | None = self.status().site["pids"]["daemon"]
        return pid

    def stop_daemon(self) -> None:
        """SIGTERM, and wait until it has ended."""
        self.client.ask("/lab/site/daemon/stop", {})

    def start_daemon(self) -> None:
        """Start it if it does not run, and wait until it says READY."""
        self.client.ask("/lab/site/daemon/start", {})

    def control(self, verb: str, **body: Any) -> Any:
        """A lever of the imagined Region: `POST /lab/ec2/<verb>`."""
        return self.client.ask(f"/lab/ec2/{verb}", body)

    def wait_until(self, fact: Callable[[], Any], deadline_s: float = 60.0, period_s: float = 0.25) -> Any:
        """The first true value of `fact`; on time-out fails with the lab's state."""
        give_up_at = time.monotonic() + deadline_s
        while not (value := fact()):
            if time.monotonic() > give_up_at:
                pytest.fail(f"not within {deadline_s:g} s; {self.describe()}")
            time.sleep(period_s)
        return value

    def wait_for_job(self, job: int, state: str = "COMPLETED", deadline_s: float = 90.0) -> list[Job]:
        """Until the job, or every task of the array, is in `state`."""

        def is_there() -> list[Job]:
            tasks = self.jobs(job)
            return tasks if tasks and all(task.state == state for task in tasks) else []

        found: list[Job] = self.wait_until(is_there, deadline_s)
        return found

    def wait_until_clean(self, deadline_s: float = CLEAN_DEADLINE_S) -> LabStatus:
        """Until no instance, process tree or open claim is left and every node is powered down and usable."""

        def is_clean() -> LabStatus | None:
            status = self.status()
            site = status.site
            gone = not status.live_instances and not site["instance_pids"] and not site["open_claims"]
            return status if gone and set(status.nodes) == {"idle~"} else None

        found: LabStatus = self.wait_until(is_clean, deadline_s, period_s=0.5)
        return found

    def describe(self) -> str:
        """For failure messages."""
        try:
            status = self.status()
        except Exception as error:
            return f"and the lab does not answer: {error}"
        site = {key: status.site[key] for key in ("pids", "instances", "launched", "terminated", "open_claims")}
        return f"nodes {dict(status.nodes)}, jobs {status.jobs}, {site}, logs in {self.folder.path}"

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


@contextlib.contextmanager
def running_lab(
    config: Path = CLUSTER, scenario: Path | None = None, *, has_failed: Callable[[], bool] = lambda: False
) -> Iterator[Lab]:
    """A lab in a folder of its own, taken down at the end; its slurmctld must never have met an unknown name.

    The folder's name is short because unix sockets are in it. It stays, with its logs, if something failed: if an
    exception comes through here, or `has_failed` says so at the end.
    """
    folder = LabFolder(Path(tempfile.mkdtemp(prefix="clmgtd-e2e-")))
    try:
        lifecycle.up(folder, Chosen(config, scenario), print, is_mine=True)
        lab = Lab(folder, LabClient(folder))
        try:
            yield lab
        finally:
            lab.close()
    finally:
        lifecycle.down(folder)
    assert leftovers.belonging_to(folder.path) == []
    assert "getaddrinfo() failed" not in folder.slurmctld_log.read_text(errors="replace")
    if not has_failed():
        shutil.rmtree(folder.path)
