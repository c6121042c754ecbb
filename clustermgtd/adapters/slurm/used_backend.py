"""How slurmctld is asked and why so, in words for people; and how that is found out."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from clustermgtd.adapters.slurm.broker_client import BrokerClient
from clustermgtd.adapters.slurm.broker_process import BrokerError, Hello, Launch
from clustermgtd.adapters.slurm.command_line import slurm_environment
from clustermgtd.model.slurm_backend import SlurmBackend
from clustermgtd.ports.clock import Clock
from clustermgtd.settings.slurm_access import BackendChoice, SlurmAccess


@dataclass(frozen=True, slots=True)
class UsedBackend:
    """One way, and a sentence about the choice."""

    backend: SlurmBackend
    why: str

    @classmethod
    def served(cls, hello: Hello, slurm: str) -> UsedBackend:
        """A broker serves; `slurm` is slurmctld's release."""
        return cls(SlurmBackend.PYSLURM, f"pyslurm {hello.release} fits Slurm {slurm}")

    @classmethod
    def ended(cls, error: BrokerError) -> UsedBackend:
        """None does."""
        return cls(SlurmBackend.COMMAND_LINE, f"{error.why}: {error}")


AS_WANTED = UsedBackend(SlurmBackend.COMMAND_LINE, "Clustermgtd.Slurm.Backend: command-line")
NOT_TRIED = UsedBackend(SlurmBackend.COMMAND_LINE, "pyslurm is still being tried")


def broker_launch(slurm: SlurmAccess, conf_file: Path) -> Launch:
    """How the broker of `slurm` is started."""
    environment = slurm_environment(os.environ, conf_file)
    return Launch(environment, slurm.command_deadline_seconds, slurm.pyslurm_python or sys.executable, conf_file)


async def try_backend(slurm: SlurmAccess, conf_file: Path, clock: Clock) -> UsedBackend:
    """What a daemon that starts now would use: a broker is started, asked for slurmctld's release, and ended."""
    if slurm.backend is BackendChoice.COMMAND_LINE:
        return AS_WANTED
    found = _FirstWord()
    client = BrokerClient(broker_launch(slurm, conf_file), clock, found)
    keeping = asyncio.create_task(client.run())
    try:
        await client.tried.wait()
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    return found.used


class _FirstWord:
    """A `BrokerObserver` that keeps how the first broker fared."""

    used = NOT_TRIED

    def broker_serves(self, hello: Hello, slurm: str) -> None:
        self.used = UsedBackend.served(hello, slurm)

    def broker_ended(self, error: BrokerError, pause_s: float) -> None:
        del pause_s
        self.used = UsedBackend.ended(error)

    def broker_lacks(self, operation: str, detail: str) -> None:
        """Nothing is asked of it."""
