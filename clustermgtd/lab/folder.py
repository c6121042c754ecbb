"""A lab's folder, and the file in it that says who runs the lab and where it listens."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from clustermgtd.errors import ConfigurationError
from clustermgtd.lab.leftovers import ProcessIdentity, is_alive

_OWNER_FILE = "clustermgtd-lab"
_KEPT_LOG_BYTES = 4096


class LabPhase(StrEnum):
    """How far a lab has come."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class LabState:
    """What the supervisor writes down."""

    phase: LabPhase
    pid: int
    started_ticks: int
    progress: tuple[str, ...] = ()
    """Lines for people, oldest first."""
    endpoint_url: str = ""
    region: str = ""
    metrics_url: str = ""
    error: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    owner_pid: int = 0
    """The process with which the lab ends (a demo, a foreground lab); 0 for none."""
    owner_started_ticks: int = 0

    @property
    def owner(self) -> ProcessIdentity | None:
        return ProcessIdentity(self.owner_pid, self.owner_started_ticks) if self.owner_pid else None

    @property
    def is_orphaned(self) -> bool:
        """It still runs, but the process that it was to end with is gone."""
        return self.is_running and self.owner is not None and not is_alive(self.owner)

    @property
    def supervisor(self) -> ProcessIdentity:
        return ProcessIdentity(self.pid, self.started_ticks)

    @property
    def is_running(self) -> bool:
        """Its supervisor is alive, whatever the phase says."""
        return is_alive(self.supervisor)


@dataclass(frozen=True, slots=True)
class LabFolder:
    """Paths of one lab."""

    path: Path

    @property
    def state_file(self) -> Path:
        return self.path / "lab.json"

    @property
    def cluster_yaml(self) -> Path:
        return self.path / "cluster.yaml"

    @property
    def slurm(self) -> Path:
        """Of `SlurmControl`."""
        return self.path / "slurm"

    @property
    def slurm_conf(self) -> Path:
        return self.slurm / "slurm.conf"

    @property
    def slurmctld_log(self) -> Path:
        return self.slurm / "log" / "slurmctld.log"

    @property
    def daemon_log(self) -> Path:
        return self.path / "daemon.log"

    @property
    def supervisor_log(self) -> Path:
        return self.path / "supervisor.log"

    def make(self) -> None:
        """Create the folder, or take over one that an earlier lab left.

        Raises:
            ConfigurationError: it holds something else, or belongs to somebody else.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            mine = self.path / _OWNER_FILE
            if not mine.exists() and any(self.path.iterdir()):
                raise ConfigurationError(f"{self.path} is not empty and not a lab's folder; name another one")
            mine.write_text("This folder belongs to a clustermgtd lab, which replaces what is in it.\n")
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be a lab's folder: {error}") from error

    def is_lab(self) -> bool:
        """A lab was here."""
        return (self.path / _OWNER_FILE).exists()

    def read_state(self) -> LabState | None:
        """The newest state; None if no lab was ever started here."""
        try:
            raw = json.loads(self.state_file.read_text())
        except FileNotFoundError:
            return None
        return LabState(**{**raw, "phase": LabPhase(raw["phase"]), "progress": tuple(raw["progress"])})

    def write_state(self, state: LabState) -> None:
        """Replace the state, whole."""
        temporary = self.state_file.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(asdict(state), indent=1) + "\n")
        temporary.replace(self.state_file)


def default_folder(environment: Mapping[str, str]) -> Path:
    """Where the lab is unless `--folder` says otherwise: gone at logout where the system has such a place."""
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    if runtime and Path(runtime).is_dir() and os.access(runtime, os.W_OK):
        return Path(runtime) / "clustermgtd" / "lab"
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clustermgtd" / "lab"


def last_lines(log: Path, count: int = 8) -> str:
    """The end of a log, for an error message; empty if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _KEPT_LOG_BYTES))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
    except OSError:
        return ""
