"""How the daemon reaches slurmctld, and why it does not do it by pyslurm."""

from __future__ import annotations

from enum import StrEnum


class SlurmBackend(StrEnum):
    """By whom calls to slurmctld are carried."""

    PYSLURM = "pyslurm"
    COMMAND_LINE = "command-line"


class BrokerEnd(StrEnum):
    """Why a broker, the process that imports pyslurm, does not serve or does not serve any more."""

    NOT_IMPORTABLE = "not-importable"
    """There is no pyslurm, or none that fits the installed libslurm; it is not tried again."""
    OTHER_RELEASE = "other-release"
    """pyslurm and slurmctld are not of one release."""
    NO_SLURMCTLD = "no-slurmctld"
    """slurmctld did not tell its release."""
    ENDED = "ended"
    """Its process ended: libslurm's `exit()`, a crash, somebody's signal."""
    NO_ANSWER = "no-answer"
    """Within the deadline of a call."""
    GARBAGE = "garbage"
    """What it wrote is not the protocol."""
    NEW_CONFIGURATION = "new-configuration"
    """slurm.conf changed, which libslurm reads once."""
