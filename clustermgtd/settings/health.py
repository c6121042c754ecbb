"""`Clustermgtd.Health`: how long which illness of an instance is waited for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from clustermgtd.model.node_report import BootPhase
from clustermgtd.model.policy import HealthPolicy
from clustermgtd.settings.section import AbsolutePath, Section

Wait = Annotated[float, Field(ge=0, le=86_400)]


class Health(Section):
    """How long an illness of an instance is waited for before its node leaves it; `null` is for ever. A job that runs
    may end on a draining node; without one the node goes DOWN and comes back on a fresh instance."""

    impaired_seconds: Wait | None = 300.0
    """A status check of EC2 (system, instance, EBS) fails for so long, seconds."""
    health_check_seconds: Wait | None = 0.0
    """The site's `NodeAgent.HealthCheck` has not succeeded since so long after its failure became known, seconds."""
    slurmd_seconds: Wait | None = 300.0
    """slurmd has ended again and again for so long, as its agent reports, seconds."""
    invalid_registration_seconds: Wait | None = 0.0
    """Slurm rejects the registration (INVALID_REG, as with too little memory) for so long, seconds."""
    agent_start_seconds: Wait | None = None
    """From the launch to the agent's first report, seconds; only for images that have the agent."""
    join_seconds: Wait | None = 900.0
    """From the agent's start until it knows its node, seconds."""
    slurmd_start_seconds: Wait | None = 300.0
    """From then until slurmd is started, seconds."""
    registration_seconds: Wait | None = 300.0
    """From then until slurmctld knows it, seconds."""
    keep_failed_node_minutes: Annotated[float, Field(ge=0, le=10_080)] = 0.0
    """An ill node without a job is kept with its instance for so long, draining or DOWN with our reason, for people to
    look at, minutes. Slurm itself powers a draining node down after ScaledownIdletime, unless it is static, and one
    that did not finish its boot after ResumeTimeout."""
    console_dir: AbsolutePath | None = "/var/log/clustermgtd"
    """Folder for the console output of instances that are given up; `null`: it is only logged."""

    @property
    def policy(self) -> HealthPolicy:
        """As decisions see it."""
        return HealthPolicy(
            impaired_s=self.impaired_seconds,
            check_s=self.health_check_seconds,
            slurmd_s=self.slurmd_seconds,
            invalid_registration_s=self.invalid_registration_seconds,
            agent_start_s=self.agent_start_seconds,
            boot_s={
                BootPhase.AGENT_STARTED: self.join_seconds,
                BootPhase.IDENTITY_KNOWN: self.join_seconds,
                BootPhase.NODE_KNOWN: self.slurmd_start_seconds,
                BootPhase.SLURMD_STARTED: self.registration_seconds,
            },
            keep_s=self.keep_failed_node_minutes * 60.0,
        )
