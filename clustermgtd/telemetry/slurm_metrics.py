"""Metrics of how slurmctld is reached."""

from __future__ import annotations

from clustermgtd.model.slurm_backend import BrokerEnd, SlurmBackend
from clustermgtd.telemetry import labels
from clustermgtd.telemetry.declarations import Declarations


class SlurmMetrics:
    """A part of `Metrics`."""

    def __init__(self, declarations: Declarations) -> None:
        self._backend = declarations.gauge(
            "slurm_backend", "Has 1 for the way in which slurmctld is asked now, 0 for the other.", labels.SLURM_BACKEND
        )
        self._ends = declarations.counter(
            "slurm_broker_ends_total",
            "Processes with pyslurm that could not serve, or did not serve any more, by why.",
            labels.BROKER_END,
        )
        for why in BrokerEnd:
            self._ends.labels(why)
        self.slurm_backend(SlurmBackend.COMMAND_LINE)

    def slurm_backend(self, used: SlurmBackend) -> None:
        for backend in SlurmBackend:
            self._backend.labels(backend).set(backend is used)

    def slurm_broker_ended(self, why: BrokerEnd) -> None:
        self._ends.labels(why).inc()
