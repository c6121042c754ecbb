"""`Clustermgtd.NodeAgent`: the agent on compute nodes, and what the daemon does for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from clustermgtd.settings.section import AbsolutePath, Finding, Seconds, Section

_BEATS_MIN = 4
"""Heartbeats that a node must miss at least before it may end itself."""


class HealthCheck(Section):
    """The site's health check, run as root on each node; exit status 0 says that the node is well."""

    program: AbsolutePath | None = None
    """Absolute path on the node; without one nothing is checked."""
    interval_seconds: Annotated[float, Field(ge=1)] = 300.0
    """From the end of one check to the next, seconds."""
    deadline_seconds: Annotated[float, Field(ge=0.1)] = 60.0
    """A check that takes longer is killed, and counts as failed, seconds."""


class DeadManSwitch(Section):
    """Nodes that nobody manages any more end themselves: times count from when they last saw the heartbeat change."""

    enabled: bool = True
    """If false, nodes live until somebody ends them."""
    heartbeat_seconds: Annotated[float, Field(ge=1, le=600)] = 30.0
    """Between two heartbeats of the daemon, seconds."""
    idle_seconds: Seconds = 1800.0
    """A node without a job ends itself when the daemon has been silent for so long, seconds."""
    job_seconds: Seconds = 86_400.0
    """A node with a job ends itself after so long, seconds; the job is lost."""
    unreadable_seconds: Seconds = 21_600.0
    """A node that cannot read the heartbeat waits at least so long, seconds: it cannot know that the daemon is gone."""

    def findings(self) -> Iterator[Finding]:
        if self.idle_seconds < _BEATS_MIN * self.heartbeat_seconds:
            message = f"must be at least {_BEATS_MIN} times HeartbeatSeconds ({self.heartbeat_seconds:g})"
            yield Finding(("IdleSeconds",), message)
        if self.job_seconds < self.idle_seconds:
            yield Finding(("JobSeconds",), f"must be at least IdleSeconds ({self.idle_seconds:g})")
        if self.unreadable_seconds < self.idle_seconds:
            yield Finding(("UnreadableSeconds",), f"must be at least IdleSeconds ({self.idle_seconds:g})")


class NodeAgent(Section):
    """The agent on compute nodes."""

    give_up_seconds: Seconds = 600.0
    """A node that cannot join ends itself after this time, seconds."""
    conf_server: str | None = None
    """`host[:port]` of slurmctld that a compute node's slurmd gets its configuration from, several separated by commas;
    default: the name of the machine that the daemon runs on."""
    configure_at_boot: bool = False
    """If true, a new instance applies the cookbooks' roles to itself before slurmd starts: any image with the roles'
    packages will do. If false, the image was configured with this cluster's variables, and boots faster. A stack of
    `render cloudformation` sets it to true if nothing is said."""
    report_seconds: Annotated[float, Field(ge=0.5, le=300)] = 5.0
    """Between two looks of the daemon at what agents reported, seconds."""
    interruption_hook: AbsolutePath | None = None
    """Program on the node, run once as root when EC2 is about to take a spot instance: save, unmount."""
    interruption_hook_seconds: Annotated[float, Field(ge=1, le=115)] = 100.0
    """Longest time for it, seconds; it is killed earlier if the instance is taken earlier, and has five seconds where
    the instance is hibernated."""
    health_check: HealthCheck = HealthCheck()
    dead_man_switch: DeadManSwitch = DeadManSwitch()

    @property
    def controllers(self) -> tuple[str, ...]:
        """Hosts of ConfServer, without their ports."""
        servers = [one.strip() for one in (self.conf_server or "").split(",")]
        return tuple(re.sub(r":[0-9]+$", "", one) for one in servers if one)
