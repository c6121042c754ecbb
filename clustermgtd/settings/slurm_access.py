"""`Clustermgtd.Slurm`: how the daemon reaches Slurm."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from clustermgtd.settings.section import AbsolutePath, Seconds, Section


class BackendChoice(StrEnum):
    """Values of `Backend`."""

    AUTO = "auto"
    PYSLURM = "pyslurm"
    COMMAND_LINE = "command-line"


class StartGate(Section):
    """The PrologSlurmctld program that starts a job as soon as its nodes are ready."""

    enabled: bool = True
    """If false, jobs wait for Slurm's own check."""
    max_waiting: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Jobs that may wait at a time; further ones fall back to Slurm's own check every 30 seconds."""
    deadline_seconds: Seconds = 1800.0
    """Longest wait, seconds."""
    prolog: AbsolutePath | None = None
    """The site's own PrologSlurmctld program, run when the gate lets the job go; its exit status is the job's."""


class SlurmAccess(Section):
    """How the daemon reaches Slurm."""

    backend: Annotated[BackendChoice, Field(strict=False)] = BackendChoice.AUTO
    """How slurmctld is asked: `auto` by pyslurm where it can be imported and is of slurmctld's release, else by
    `command-line`, scontrol and squeue; `pyslurm` does not start the daemon without it. Whenever pyslurm's process does
    not serve, the command line does."""
    pyslurm_python: Annotated[str, Field(pattern=r"^(/.*)?$")] = ""
    """The Python that has pyslurm; empty: the daemon's own."""
    command_deadline_seconds: Seconds = 30.0
    """Longest time for one Slurm command or one answer of pyslurm, seconds."""
    bin_dir: Annotated[str, Field(pattern=r"^(/.*)?$")] = ""
    """Folder of scontrol and squeue; empty: PATH."""
    conf_file: Annotated[str, Field(pattern=r"^(/.*)?$")] = ""
    """slurm.conf; empty: Slurm's own default."""
    cloud_reg_addrs: bool = True
    """Slurm takes node addresses from slurmd's registration; if false the daemon sets them."""
    names_resolve: bool = False
    """True where DNS knows every node's name even while it has no instance; otherwise nodes that power up get the
    address 127.0.0.1 until slurmd registers, because slurmctld blocks on names that do not resolve."""
    start_gate: StartGate = StartGate()


LicenseName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")]
Licenses = Mapping[LicenseName, Annotated[int, Field(ge=0, le=2**31 - 1)]]
"""How many of each license jobs may hold at a time (`sbatch --licenses`)."""


class Accounting(Section):
    """Accounting without a database server of one's own."""

    local_database: bool = False
    """Run slurmdbd with a MariaDB on the head node, reached over its unix socket. It lives and dies with the head
    node's disk. Not together with SlurmSettings.Database or ExternalSlurmdbd."""
