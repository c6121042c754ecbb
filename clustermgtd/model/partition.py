"""Slurm's view of a partition."""

from __future__ import annotations

from enum import StrEnum


class PartitionState(StrEnum):
    """As `scontrol show partition` prints it."""

    UP = "UP"
    DOWN = "DOWN"
    """Jobs may be submitted, none starts."""
    DRAIN = "DRAIN"
    """No job may be submitted, those that wait start."""
    INACTIVE = "INACTIVE"
    """No job may be submitted, none starts; what runs or configures goes on."""
    UNKNOWN = "UNKNOWN"
    """A word that this release of the daemon does not know."""
