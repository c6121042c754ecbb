"""Slurm's reservations: nodes that are kept for somebody for a time."""

from __future__ import annotations

from dataclasses import dataclass

from clustermgtd.model.ids import NodeName

OWN_PREFIX = "clustermgtd-"
"""How the name of every reservation of ours begins; all others belong to somebody else and are read-only."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """One reservation. Times in epoch seconds, which Slurm keeps as whole ones."""

    name: str
    nodes: tuple[NodeName, ...]
    """Sorted."""
    starts_at: float
    ends_at: float

    @property
    def is_ours(self) -> bool:
        return self.name.startswith(OWN_PREFIX)
