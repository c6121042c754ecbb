"""What the agent of one instance has to say: how its boot went, what EC2 announced to it, what is wrong with it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from clustermgtd.model.ids import InstanceId, NodeName
from clustermgtd.model.notice import Notice, NoticeKind

ANNOUNCEMENT_SHARDS = 16
"""Items over which agents spread "my report has changed", so that a thousand of them can say it in a second."""
TEXT_MAX = 2000
"""Characters of any text in a report."""


class BootPhase(StrEnum):
    """How far a boot has come; each is the moment at which the step was done, in this order."""

    AGENT_STARTED = "agent-started"
    IDENTITY_KNOWN = "identity-known"
    """The metadata service answered."""
    NODE_KNOWN = "node-known"
    """The launch's record names the node."""
    SLURMD_STARTED = "slurmd-started"
    """The process exists; that slurmd has registered is what Slurm shows."""


class HookState(StrEnum):
    """How far the site's interruption hook has come."""

    NONE = "none"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """It could not be started, or ended with another exit status than 0."""
    KILLED = "killed"
    """At its deadline."""


@dataclass(frozen=True, slots=True)
class SlurmdTrouble:
    """slurmd has ended again and again; the agent goes on starting it."""

    since: float
    """Epoch seconds by the node's clock."""
    failures: int
    """In a row, when this was written."""
    exit_code: int
    """The last one; negative for a signal."""


@dataclass(frozen=True, slots=True)
class HealthTrouble:
    """The site's health check does not succeed."""

    since: float
    """Epoch seconds by the node's clock: end of the first check that failed, of those in a row."""
    exit_code: int | None
    """None: it was killed at its deadline, or could not be started."""
    output: str
    """Its last lines."""


@dataclass(frozen=True, slots=True)
class NodeReport:
    """All that one agent has to say, the newest state of it."""

    instance: InstanceId
    node: NodeName | None = None
    """None until the agent knows it."""
    sequence: int = 0
    """Grows with each report of one agent process."""
    at: float = 0.0
    """Epoch seconds by the node's clock, which may be off."""
    phases: Mapping[str, float] = field(default_factory=dict)
    """Ends of boot phases, epoch seconds by the node's clock."""
    notices: tuple[Notice, ...] = ()
    """About this instance, as its metadata shows them now: spot interruption, rebalance, scheduled events."""
    hook: HookState = HookState.NONE
    slurmd: SlurmdTrouble | None = None
    """None while slurmd runs or is being started as usual."""
    health: HealthTrouble | None = None
    """None while the last check succeeded, or there is none."""
    ended: str = ""
    """Why the instance ends itself; empty while it does not."""

    @property
    def spot_interruption(self) -> Notice | None:
        """The warning that this instance is being taken, if there was one."""
        return next((notice for notice in self.notices if notice.kind is NoticeKind.SPOT_INTERRUPTION), None)

    @property
    def news(self) -> tuple[object, ...]:
        """What a decision may depend on at once; two reports that are equal here differ in statistics alone."""
        return (self.notices, self.hook, self.slurmd, self.health, self.ended)


def announcement_shard(instance: InstanceId) -> int:
    """Which of the `ANNOUNCEMENT_SHARDS` items an instance's announcements are in."""
    return zlib.crc32(instance.encode()) % ANNOUNCEMENT_SHARDS
