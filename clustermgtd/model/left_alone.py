"""Why a node is observed and reported, and nothing is done about it."""

from __future__ import annotations

from enum import StrEnum


class LeftAlone(StrEnum):
    """Closed. Each ends with what its sentence names, never by our hand."""

    NOT_SHOWN = "not-shown"
    """Slurm does not show the node: it is FUTURE, hidden, or not in slurm.conf. An operator ends it."""
    UNCLEAR = "unclear"
    """Slurm does not know the node's state, or what it says cannot be read. Slurm's next look at the node ends it."""
    MARKED = "marked"
    """An operator or a program set it DOWN, draining or failing, for a reason that is theirs to lift."""
    REBOOTING = "rebooting"
    """Somebody reboots it; slurmd's registration or ResumeTimeout ends it."""
    HIDDEN = "hidden"
    """EC2 has not shown its instance for longer than its reads may lag, and slurmd answers there. That EC2 shows it
    again ends it, or that slurmd is silent."""
    UNCLAIMED = "unclaimed"
    """slurmd answers on a machine that no claim of ours names. Its power-down, or whoever started it, ends it."""
