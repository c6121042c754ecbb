"""A running lab from outside: its supervisor's door, and its Slurm by Slurm's own commands."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from clustermgtd.errors import NotFoundError, PermanentError, TransientError
from clustermgtd.lab.environment import user_variables
from clustermgtd.lab.folder import LabFolder, LabPhase, LabState

_DOOR_TIMEOUT_S = 90.0
_COMMAND_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Job:
    """One job, or one task of an array, as `scontrol show job` shows it."""

    id: int
    array: int
    """The array's id; `id` for a job that is none."""
    name: str
    state: str
    reason: str = ""
    nodes: str = ""


@dataclass(frozen=True, slots=True)
class LabStatus:
    """One look at everything. Slurm's part is empty while slurmctld does not answer."""

    site: Mapping[str, Any]
    """The supervisor's view: pids, ports, instances by state, launched, terminated, open claims, events."""
    nodes: Mapping[str, int] = field(default_factory=dict)
    """Slurm's state -> number of nodes."""
    jobs: tuple[Job, ...] = ()

    @property
    def live_instances(self) -> int:
        """Neither terminated nor on the way there."""
        counts: Mapping[str, int] = self.site["instances"]
        return sum(count for state, count in counts.items() if state not in ("shutting-down", "terminated"))


class LabClient:
    """Talks to the lab in a folder."""

    def __init__(self, folder: LabFolder) -> None:
        self.folder = folder

    def state(self) -> LabState:
        """The state of a lab that is up.

        Raises:
            NotFoundError: no lab is up in this folder.
        """
        state = self.folder.read_state()
        if state is None or not state.is_running or state.phase is not LabPhase.READY:
            raise NotFoundError(f"no lab is up in {self.folder.path} (clustermgtd lab up)")
        return state

    def environment(self) -> dict[str, str]:
        """The caller's environment, pointed at the lab and nowhere else.

        Raises:
            NotFoundError: no lab is up.
        """
        foreign = ("SLURM_", "SBATCH_", "SALLOC_", "SRUN_", "SQUEUE_", "SINFO_", "AWS_")
        proxies = ("http_proxy", "https_proxy", "all_proxy")
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(foreign) and name.lower() not in proxies
        }
        return {**kept, **self.variables()}

    def variables(self) -> dict[str, str]:
        """What `environment` adds.

        Raises:
            NotFoundError: no lab is up.
        """
        state = self.state()
        return user_variables(self.folder.slurm_conf, state.endpoint_url, state.region, os.environ.get("PATH", ""))

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout_s: float = _COMMAND_TIMEOUT_S) -> str:
        """Standard output of a command in the lab's environment.

        Raises:
            TransientError: it took longer than `timeout_s`.
            PermanentError: it failed; the message holds what it said.
        """
        try:
            done = subprocess.run(
                argv,
                env=self.environment(),
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TransientError(f"{' '.join(argv)}: no answer within {timeout_s:g} s") from error
        if done.returncode:
            raise PermanentError(
                f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}"
            )
        return done.stdout

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON answer of the lab's door: GET, or POST with a body.

        Raises:
            TransientError: it does not answer.
            PermanentError: it refuses; the message says why.
        """
        url = urlsplit(self.state().endpoint_url)
        connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=_DOOR_TIMEOUT_S)
        try:
            headers = {"Content-Type": "application/json"}
            if body is None:
                connection.request("GET", path)
            else:
                connection.request("POST", path, json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise TransientError(f"the lab's door does not answer {path}: {error}") from error
        finally:
            connection.close()
        if response.status >= 300:
            raise PermanentError(f"{path}: {text.strip()}", code=str(response.status))
        return json.loads(text) if text.strip() else None

    def status(self) -> LabStatus:
        """One look at everything.

        Raises:
            NotFoundError: no lab is up.
            TransientError, PermanentError: the supervisor does not answer.
        """
        site = self.ask("/lab/site")
        try:
            return LabStatus(site, self.nodes(), self.jobs())
        except (TransientError, PermanentError):
            return LabStatus(site)

    def nodes(self) -> dict[str, int]:
        """Number of nodes by Slurm's state; powered-down ones are `idle~`.

        Raises:
            TransientError, PermanentError: slurmctld does not answer.
        """
        lines = self.run(["sinfo", "--noheader", "--all", "--Node", "--format=%N %T"]).splitlines()
        return dict(sorted(Counter(dict(line.split() for line in lines).values()).items()))

    def jobs(self) -> tuple[Job, ...]:
        """Every job that Slurm still remembers (MinJobAge), array tasks one by one.

        Raises:
            TransientError, PermanentError: slurmctld does not answer.
        """
        return tuple(parse_jobs(self.run(["scontrol", "-o", "show", "jobs"])))


def parse_jobs(text: str) -> list[Job]:
    """`scontrol -o show jobs`, sorted by id."""
    found = []
    for line in text.splitlines():
        fields = dict(word.partition("=")[::2] for word in line.split() if "=" in word)
        if "JobId" not in fields:
            continue
        job = int(fields["JobId"])
        found.append(
            Job(
                id=job,
                array=int(fields.get("ArrayJobId", job)),
                name=fields.get("JobName", ""),
                state=fields.get("JobState", ""),
                reason=fields.get("Reason", ""),
                nodes=fields.get("NodeList", "").replace("(null)", ""),
            )
        )
    return sorted(found, key=lambda found_job: found_job.id)
