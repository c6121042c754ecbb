"""The node states that Slurm is known to print, with what each means and what ends it, for people.

Seen on 22.05.8, 24.11.5 or 26.05.5 (docs/reference/slurm-facts.md), or named by users of other releases. What is done
about them is not said here: that is asked of `decide`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from clustermgtd.model.node import HOLD_MARK, REASON_PREFIX


class Author(StrEnum):
    """Who wrote the node's reason."""

    NOBODY = ""
    OURS = "a reason of ours"
    SLURM = "Slurm's own reason"
    OPERATOR = "an operator's reason"


REASONS = {
    Author.NOBODY: "",
    Author.OURS: f"{REASON_PREFIX} launch-failed",
    Author.SLURM: "Not responding",
    Author.OPERATOR: "broken fan",
}


@dataclass(frozen=True, slots=True)
class SeenState:
    """One state."""

    state: str
    """As Slurm prints it; empty if it does not show the node."""
    meaning: str
    ends: str
    """What ends it if we do nothing."""
    author: Author = Author.NOBODY
    reason: str = ""
    """In place of the author's example."""

    @property
    def text(self) -> str:
        """Slurm's reason."""
        return self.reason or REASONS[self.author]


_S = SeenState
_JOB = "a job, or a power-up"
_TIMEOUT = "slurmd's registration, or ResumeTimeout"
_SUSPENDED = "SuspendTimeout"
_OPERATOR = "the operator"
_NOTHING = "nothing"

AT_REST = (
    _S("IDLE+CLOUD+POWERED_DOWN", "no instance, and a job may be put here (`idle~`)", _JOB),
    _S("IDLE+CLOUD+POWERED_DOWN+PLANNED", "the backfill scheduler plans a job here", _JOB),
    _S("IDLE+CLOUD+POWERED_DOWN+RESERVED", "part of a user's reservation", _JOB),
    _S("IDLE+CLOUD+MAINTENANCE+POWERED_DOWN+RESERVED", "part of a maintenance reservation", _JOB),
    _S("IDLE+BLOCKED+CLOUD+POWERED_DOWN", "kept for another job's topology block", _JOB),
    _S("IDLE+CLOUD+DYNAMIC_NORM+POWERED_DOWN", "a node that registered itself once", _JOB),
    _S("IDLE+CLOUD+POWERED_DOWN+UNRECOGNISED", "with a flag that this version does not know", _JOB),
    _S("IDLE+CLOUD+POWERED_DOWN", "a mark of ours that outlived its power-down", _JOB, Author.OURS),
    _S(
        "IDLE+CLOUD+POWERED_DOWN+NOT_RESPONDING",
        "left by RESUME and UNDRAIN; no job gets it after the next reconfiguration or restart of slurmctld",
        _NOTHING,
    ),
    _S("IDLE+CLOUD+POWER_UP+POWERED_DOWN", "a power-up was asked for", "the next power-save pass"),
    _S("IDLE+CLOUD+POWER_DOWN+POWERED_DOWN", "a power-down was asked for once more", "the next power-save pass"),
    _S("ALLOCATED+CLOUD+POWERED_DOWN", "a job was put here a moment ago", "the next power-save pass"),
    _S("MIXED+CLOUD+POWERED_DOWN", "the same", "the next power-save pass"),
    _S("ALLOCATED+CLOUD+POWERED_DOWN+NOT_RESPONDING", "the same, after RESUME", "the next power-save pass"),
    _S("IDLE+CLOUD+DRAIN+POWERED_DOWN", "an operator keeps jobs away", _OPERATOR, Author.OPERATOR),
    _S(
        "IDLE+CLOUD+DRAIN+POWERED_DOWN",
        "we keep jobs away because EC2 refuses; no ban is left here",
        "the end of the ban",
        Author.OURS,
        f"{HOLD_MARK} (Code:InsufficientInstanceCapacity)",
    ),
)
POWERING_UP = (
    _S("IDLE+CLOUD+NOT_RESPONDING+POWERING_UP", "an instance is wanted (`idle#`)", _TIMEOUT),
    _S("ALLOCATED+CLOUD+NOT_RESPONDING+POWERING_UP", "an instance is wanted for a job", _TIMEOUT),
    _S("MIXED+CLOUD+NOT_RESPONDING+POWERING_UP", "the same", _TIMEOUT),
    _S("ALLOCATED+CLOUD+POWER_DOWN+NOT_RESPONDING+POWERING_UP", "wanted for a job, and then no more", _TIMEOUT),
    _S("IDLE+CLOUD+POWER_DOWN+NOT_RESPONDING+POWERING_UP", "a power-down came while it powered up", _TIMEOUT),
    _S("IDLE+CLOUD+DRAIN+NOT_RESPONDING+POWERING_UP", "powered up under a drain", _TIMEOUT, Author.OPERATOR),
    _S("DOWN+CLOUD+NOT_RESPONDING+POWERING_UP", "we set it DOWN while it powered up", "ResumeTimeout", Author.OURS),
    _S("DOWN+CLOUD+NOT_RESPONDING+POWERING_UP", "an operator did", "ResumeTimeout", Author.OPERATOR),
    _S(
        "DOWN+CLOUD+POWER_DOWN+NOT_RESPONDING+POWERING_UP",
        "DOWN came after the power-down: Slurm forgets the latter",
        "ResumeTimeout",
        Author.OURS,
    ),
    _S("DOWN+CLOUD+POWERED_DOWN", "ResumeTimeout is over (`down~`)", _NOTHING, Author.SLURM, "ResumeTimeout reached"),
    _S("DOWN+CLOUD+POWERED_DOWN+NOT_RESPONDING", "the same", _NOTHING, Author.SLURM, "ResumeTimeout reached"),
    _S(
        "DOWN+CLOUD+POWERED_DOWN",
        "the same with a reason of before, from 23.02 on",
        _NOTHING,
        Author.SLURM,
        "broken fan : ResumeTimeout reached",
    ),
    _S("DOWN+CLOUD+POWERED_DOWN", "we set it DOWN before it was resumed", _NOTHING, Author.OURS),
    _S("DOWN+CLOUD+POWERED_DOWN", "an operator set it DOWN", _OPERATOR, Author.OPERATOR),
)
UP = (
    _S("IDLE+CLOUD", "up, free", "a job, or SuspendTime"),
    _S("ALLOCATED+CLOUD", "up, with a job", "the job's end"),
    _S("MIXED+CLOUD", "up, with a job on a part of it", "the job's end"),
    _S("IDLE+CLOUD+PLANNED", "up, planned for a job", "the job"),
    _S("IDLE+CLOUD+RESERVED", "up, reserved", "a job, or SuspendTime"),
    _S("IDLE+CLOUD+MAINTENANCE+RESERVED", "up, in a maintenance reservation", "the end of the reservation"),
    _S("ALLOCATED+CLOUD+MAINTENANCE+RESERVED", "the same, with a job", "the job's end"),
    _S("MIXED+CLOUD+REBOOT_REQUESTED", "to be rebooted after its job", "the job's end", reason="reboot requested"),
    _S("IDLE+CLOUD+EXTERNAL", "up, managed by somebody else as well", "a job, or SuspendTime"),
    _S("IDLE+CLOUD+UNRECOGNISED", "up, with a flag that this version does not know", "a job, or SuspendTime"),
    _S("IDLE+CLOUD+NOT_RESPONDING", "slurmd does not answer", "its answer, or SlurmdTimeout"),
    _S("ALLOCATED+CLOUD+NOT_RESPONDING", "slurmd does not answer, with a job", "its answer, or SlurmdTimeout"),
    _S("IDLE+CLOUD+COMPLETING", "a job is being cleaned up", "the end of that, or SlurmdTimeout"),
    _S("MIXED+CLOUD+COMPLETING", "the same next to another job", "the end of that, or SlurmdTimeout"),
    _S("IDLE+CLOUD+COMPLETING+NOT_RESPONDING", "being cleaned up, slurmd does not answer", "SlurmdTimeout"),
    _S("IDLE+CLOUD+COMPLETING+POWER_DOWN", "cleaned up, then powered down", "the end of that, or SlurmdTimeout"),
    _S(
        "IDLE+CLOUD+COMPLETING+POWER_DOWN+NOT_RESPONDING",
        "to be powered down when a dead machine has cleaned up",
        "SlurmdTimeout on 22.05; users of other releases saw it stay",
    ),
    _S("IDLE+CLOUD+POWER_DOWN", "a power-down was asked for (`idle!`)", "the next power-save pass"),
    _S("IDLE+CLOUD+POWER_DOWN+NOT_RESPONDING", "the same, slurmd does not answer", "the next power-save pass"),
    _S("ALLOCATED+CLOUD+POWER_DOWN", "to be powered down after its job", "the job's end"),
    _S("IDLE+CLOUD+DRAIN+POWER_DOWN", "drained by POWER_DOWN_ASAP", "the next power-save pass"),
    _S("ALLOCATED+CLOUD+POWER_DRAIN", "to be powered down after its job", "the job's end"),
)
KEPT_FROM_JOBS = (
    _S("IDLE+CLOUD+DRAIN", "drained by an operator or their health check", _OPERATOR, Author.OPERATOR),
    _S("IDLE+CLOUD+DRAIN", "drained, and nobody said why", "SuspendTime"),
    _S("ALLOCATED+CLOUD+DRAIN", "drained, its job goes on", "the job's end", Author.OPERATOR),
    _S("IDLE+CLOUD+FAIL", "an operator says that it fails", _OPERATOR, Author.OPERATOR),
    _S("ALLOCATED+CLOUD+FAIL", "the same, its job goes on", _OPERATOR, Author.OPERATOR),
    _S("IDLE+CLOUD+DRAIN", "drained by Slurm after a fault", "SuspendTime", Author.SLURM, "Kill task failed"),
    _S("MIXED+CLOUD+DRAIN", "the same, its job goes on", "the job's end", Author.SLURM, "Kill task failed"),
    _S("IDLE+CLOUD+DRAIN", "drained by us, and free by now", "SuspendTime", Author.OURS),
    _S("IDLE+CLOUD+DRAIN+INVALID_REG", "has less than slurm.conf says", "SuspendTime", Author.SLURM, "Low RealMemory"),
    _S("IDLE+CLOUD+INVALID_REG", "the same", "SuspendTime", Author.SLURM, "Low RealMemory"),
    _S(
        "MIXED+CLOUD+DRAIN+REBOOT_REQUESTED",
        "to be rebooted, with `ASAP`",
        "the job's end",
        Author.OPERATOR,
        "Reboot ASAP",
    ),
)
DOWN = (
    _S("DOWN+CLOUD+NOT_RESPONDING", "slurmd did not answer for SlurmdTimeout", _NOTHING, Author.SLURM),
    _S("DOWN+CLOUD", "we set it DOWN", _NOTHING, Author.OURS),
    _S("DOWN+CLOUD", "an operator set it DOWN", _OPERATOR, Author.OPERATOR),
    _S("DOWN+CLOUD+DRAIN", "DOWN and drained by Slurm", _NOTHING, Author.SLURM),
    _S("DOWN+CLOUD+DRAIN", "DOWN and drained by an operator", _OPERATOR, Author.OPERATOR),
    _S("DOWN+CLOUD+COMPLETING", "DOWN with a job to clean up", _NOTHING, Author.SLURM),
    _S("DOWN+CLOUD+POWER_DOWN", "DOWN and about to be powered down", "the next power-save pass", Author.OURS),
    _S("DOWN+CLOUD+POWER_DOWN+NOT_RESPONDING", "the same, from powering up", "the next power-save pass", Author.OURS),
    _S("DOWN+CLOUD+POWER_DOWN+POWERED_DOWN", "the same, without an instance", "the next power-save pass", Author.OURS),
    _S("DOWN+CLOUD+POWERING_DOWN", "DOWN and being powered down", _SUSPENDED, Author.OURS),
    _S("DOWN+CLOUD+MAINTENANCE+RESERVED", "DOWN in a maintenance reservation", _OPERATOR, Author.OPERATOR),
    _S("ERROR+CLOUD", "base state ERROR, of old releases", _NOTHING),
    _S(
        "DOWN+CLOUD+REBOOT_ISSUED",
        "being rebooted",
        _TIMEOUT,
        Author.OPERATOR,
        "reboot requested : reboot issued",
    ),
    _S(
        "DOWN+CLOUD+NOT_RESPONDING",
        "did not come back from a reboot",
        _NOTHING,
        Author.SLURM,
        "reboot requested : reboot issued : reboot timed out",
    ),
)
POWERING_DOWN = (
    _S("IDLE+CLOUD+POWERING_DOWN", "SuspendProgram was called (`idle%`)", _SUSPENDED),
    _S("IDLE+CLOUD+NOT_RESPONDING+POWERING_DOWN", "the same", _SUSPENDED),
    _S("IDLE+CLOUD+INVALID_REG+POWERING_DOWN", "the same", _SUSPENDED, Author.SLURM, "Low RealMemory"),
    _S("IDLE+CLOUD+MAINTENANCE+RESERVED+POWERING_DOWN", "the same, reserved", _SUSPENDED),
    _S("IDLE+CLOUD+POWERING_DOWN", "the same after we set it DOWN", _SUSPENDED, Author.OURS),
    _S("IDLE+CLOUD+DRAIN+POWERING_DOWN", "drained on its way", _OPERATOR, Author.OPERATOR),
)
NOT_CLEAR = (
    _S("", "FUTURE, hidden or not in slurm.conf: Slurm does not show it", _OPERATOR),
    _S("FUTURE+CLOUD", "FUTURE, where a release shows it", _OPERATOR),
    _S("UNKNOWN", "Slurm does not know, or its line could not be read", "Slurm's next look at it"),
    _S("UNKNOWN+CLOUD+POWERED_DOWN", "the same", "Slurm's next look at it"),
    _S("UNKNOWN+CLOUD+NOT_RESPONDING", "the same", "Slurm's next look at it"),
)
SECTIONS = {
    "At rest": AT_REST,
    "Powering up": POWERING_UP,
    "Up": UP,
    "Up, but kept from jobs": KEPT_FROM_JOBS,
    "Down": DOWN,
    "Powering down": POWERING_DOWN,
    "Not clear": NOT_CLEAR,
}
SEEN_STATES = tuple(state for states in SECTIONS.values() for state in states)
