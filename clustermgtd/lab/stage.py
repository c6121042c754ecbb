"""A lab that is up, and what one does with it: submit jobs, pull the Region's levers, wait for what follows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from clustermgtd.errors import PermanentError
from clustermgtd.lab.client import Job, LabClient, LabStatus
from clustermgtd.lab.folder import LabFolder

T = TypeVar("T")
CLEAN_DEADLINE_S = 90.0


class DeadlineError(PermanentError):
    """Something that was waited for did not come; the message holds the lab's state."""


@dataclass
class Stage:
    """Every wait has a deadline in seconds, and says what it waited for."""

    folder: LabFolder
    client: LabClient

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

    def job_fact(self, job: int, name: str) -> str:
        """One field of `scontrol show job`, for example `Restarts`; empty if it has none."""
        words = self.run("scontrol", "-o", "show", "job", str(job)).split()
        return next((word.partition("=")[2] for word in words if word.startswith(f"{name}=")), "")

    def nodes_of(self, job: int) -> list[str]:
        """Names of the nodes that a job has, sorted."""
        (found,) = self.jobs(job)
        return sorted(self.run("scontrol", "show", "hostnames", found.nodes).split()) if found.nodes else []

    def status(self) -> LabStatus:
        return self.client.status()

    def control(self, verb: str, **body: Any) -> Any:
        """A lever of the imagined Region: `POST /lab/ec2/<verb>`."""
        return self.client.ask(f"/lab/ec2/{verb}", body)

    def ec2(self) -> dict[str, Any]:
        """The imagined Region's truth: instances, calls, pools."""
        state: dict[str, Any] = self.client.ask("/lab/ec2/state")
        return state

    def backing(self) -> dict[str, str]:
        """Node -> the instance that is its by the table of claims."""
        found: dict[str, str] = self.status().site["backing"]
        return found

    def events(self, *names: str, since: int = 0) -> list[dict[str, Any]]:
        """What the daemon logged under these names, from byte `since` of its log on."""
        return [event for event in self._logged(since) if event.get("event") in names]

    def log_size(self) -> int:
        """Bytes of the daemon's log now: a `since` for `events`."""
        return self.folder.daemon_log.stat().st_size

    def _logged(self, since: int) -> Iterator[dict[str, Any]]:
        with self.folder.daemon_log.open("rb") as file:
            file.seek(since)
            whole, _, _ = file.read().decode(errors="replace").rpartition("\n")  # the last line may be half written
            for line in whole.splitlines():
                if line.startswith("{"):
                    yield json.loads(line)

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

    def restart_slurmctld(self) -> None:
        """On its saved state and the slurm.conf of now; returns when it answers."""
        self.client.ask("/lab/site/slurmctld/restart", {})

    def wait_until(self, fact: Callable[[], T], deadline_s: float = 60.0, period_s: float = 0.25) -> T:
        """The first true value of `fact`.

        Raises:
            DeadlineError: it stayed false.
        """
        give_up_at = time.monotonic() + deadline_s
        while not (value := fact()):
            if time.monotonic() > give_up_at:
                raise DeadlineError(f"not within {deadline_s:g} s; {self.describe()}")
            time.sleep(period_s)
        return value

    def wait_for_job(self, job: int, state: str = "COMPLETED", deadline_s: float = 90.0) -> list[Job]:
        """Until the job, or every task of the array, is in `state`."""

        def is_there() -> list[Job]:
            tasks = self.jobs(job)
            return tasks if tasks and all(task.state == state for task in tasks) else []

        return self.wait_until(is_there, deadline_s)

    def wait_until_clean(self, deadline_s: float = CLEAN_DEADLINE_S) -> LabStatus:
        """Until no instance, process tree or open claim is left and every node is powered down and usable."""

        def is_clean() -> LabStatus | None:
            status = self.status()
            site = status.site
            gone = not status.live_instances and not site["instance_pids"] and not site["open_claims"]
            return status if gone and set(status.nodes) == {"idle~"} else None

        status = self.wait_until(is_clean, deadline_s, period_s=0.5)
        assert status is not None
        return status

    def describe(self) -> str:
        """For failure messages."""
        try:
            status = self.status()
        except Exception as error:
            return f"and the lab does not answer: {error}"
        site = {key: status.site[key] for key in ("pids", "instances", "launched", "terminated", "open_claims")}
        return f"nodes {dict(status.nodes)}, jobs {status.jobs}, {site}, logs in {self.folder.path}"
