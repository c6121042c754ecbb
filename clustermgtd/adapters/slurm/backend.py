"""slurmctld as cluster.yaml wants it to be reached: by pyslurm while its broker serves, else by the command line."""

from __future__ import annotations

from dataclasses import asdict
from typing import Protocol

import structlog

from clustermgtd.adapters.slurm.broker_client import BrokerClient
from clustermgtd.adapters.slurm.broker_process import BrokerError, Hello
from clustermgtd.adapters.slurm.calls import SlurmCalls
from clustermgtd.adapters.slurm.capabilities import probe
from clustermgtd.adapters.slurm.command_line import CommandLine, located
from clustermgtd.adapters.slurm.preferred_calls import PreferredCalls
from clustermgtd.adapters.slurm.scheduler import SlurmScheduler
from clustermgtd.adapters.slurm.used_backend import AS_WANTED, NOT_TRIED, UsedBackend, broker_launch
from clustermgtd.errors import ClustermgtdError, ConfigurationError
from clustermgtd.model.hostlist import fold
from clustermgtd.model.slurm_backend import BrokerEnd, SlurmBackend
from clustermgtd.ports.clock import Clock
from clustermgtd.settings.slurm_access import BackendChoice, SlurmAccess

log = structlog.get_logger(__name__)

_EXPECTED = frozenset({BrokerEnd.NEW_CONFIGURATION})
_FATAL_WHEN_REQUIRED = frozenset({BrokerEnd.NOT_IMPORTABLE, BrokerEnd.OTHER_RELEASE})


class BackendMetrics(Protocol):
    """What is counted."""

    def slurm_backend(self, used: SlurmBackend) -> None: ...

    def slurm_broker_ended(self, why: BrokerEnd) -> None: ...


class Backend:
    """The scheduler of `slurm`, and the broker behind it.

    Raises:
        ConfigurationError: there is no scontrol; the command line has to serve whenever pyslurm does not.
    """

    def __init__(self, slurm: SlurmAccess, clock: Clock, metrics: BackendMetrics) -> None:
        self._metrics = metrics
        self._choice = slurm.backend
        self._said = ""
        bin_dir, conf_file = located(slurm.bin_dir, slurm.conf_file)
        self._command_line = CommandLine(bin_dir, conf_file, deadline_s=slurm.command_deadline_seconds)
        calls: SlurmCalls = self._command_line
        self._client: BrokerClient | None = None
        self.used = AS_WANTED
        """How slurmctld is asked now."""
        if slurm.backend is not BackendChoice.COMMAND_LINE:
            self.used = NOT_TRIED
            self._client = BrokerClient(broker_launch(slurm, conf_file), clock, self)
            calls = PreferredCalls(self._client, calls)
        self.scheduler = SlurmScheduler(
            calls,
            names_resolve=slurm.names_resolve,
            report_unreadable=lambda names: log.warning("nodes_unreadable", nodes=fold(names)),
        )

    async def run(self) -> None:
        """Keep a broker going, if one is wanted."""
        if self._client is None:
            log.info("slurm_backend", backend=SlurmBackend.COMMAND_LINE)
            return
        await self._client.run()

    async def tell_capabilities(self) -> None:
        """One log line about what this Slurm can do."""
        try:
            found = await probe(self._command_line.ask)
        except ClustermgtdError as error:
            log.warning("slurm_capabilities_unknown", error=str(error))
        else:
            log.info("slurm_capabilities", **asdict(found))

    async def check(self) -> None:
        """Wait until pyslurm was tried, if cluster.yaml demands it.

        Raises:
            ConfigurationError: it cannot be imported, or is for another release of Slurm.
        """
        if self._client is None or self._choice is not BackendChoice.PYSLURM:
            return
        await self._client.tried.wait()
        error = self._client.last_error
        if error is not None and error.why in _FATAL_WHEN_REQUIRED:
            advice = "install the one that fits (docs/how-to/pyslurm.md), or set auto"
            raise ConfigurationError(f"Clustermgtd.Slurm.Backend: pyslurm: {error}; {advice}") from error

    def broker_serves(self, hello: Hello, slurm: str) -> None:
        """One log line whenever the backend changes."""
        self._said = ""
        self.used = UsedBackend.served(hello, slurm)
        self._metrics.slurm_backend(SlurmBackend.PYSLURM)
        log.info("slurm_backend", backend=SlurmBackend.PYSLURM, pyslurm=hello.release, slurm=slurm)

    def broker_ended(self, error: BrokerError, pause_s: float) -> None:
        """One log line for each new reason, however often it is tried."""
        self.used = UsedBackend.ended(error)
        self._metrics.slurm_backend(SlurmBackend.COMMAND_LINE)
        self._metrics.slurm_broker_ended(error.why)
        if self._said == str(error):
            return
        self._said = str(error)
        is_usual = error.why is BrokerEnd.NOT_IMPORTABLE and self._choice is BackendChoice.AUTO
        tell = log.info if is_usual or error.why in _EXPECTED else log.warning
        tell("slurm_backend", backend=SlurmBackend.COMMAND_LINE, why=error.why, error=str(error), next_try_s=pause_s)

    def broker_lacks(self, operation: str, detail: str) -> None:
        """The command line carries it from now on."""
        log.warning("pyslurm_lacks_operation", operation=operation, error=detail)
