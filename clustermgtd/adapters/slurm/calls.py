"""What the `Scheduler` port needs of Slurm, one call each: by the command-line programs or by pyslurm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from clustermgtd.adapters.slurm.parsing import ParsedNodes
from clustermgtd.model.ids import JobId, NodeName, QueueName
from clustermgtd.model.job import Job
from clustermgtd.model.partition import PartitionState
from clustermgtd.model.reservation import Reservation


@dataclass(frozen=True, slots=True)
class NodeUpdate:
    """One update of at most `UPDATE_NODES_MAX` nodes; what is empty stays as it is."""

    names: tuple[NodeName, ...]
    state: str = ""
    reason: str = ""
    addresses: tuple[str, ...] = ()
    """One per node, in the order in which Slurm reads the folded names."""


class BrokeredCalls(Protocol):
    """slurmctld, one request each.

    Reads raise IncompleteObservationError unless they are whole and in time; updates raise what slurmctld complains of
    (`complaints`, with its text as `code`), or TransientError when it is not known whether they were done. Both raise
    ConfigurationError for what a human has to mend.
    """

    async def nodes(self, names: Sequence[NodeName] = ()) -> ParsedNodes:
        """Those nodes, or all; ones that Slurm does not know are left out, or are in `missing`."""
        ...

    async def jobs(self, ids: Sequence[JobId] = ()) -> Mapping[JobId, Job]:
        """Those jobs in any state, as far as Slurm knows them, or all unfinished ones."""
        ...

    async def partitions(self) -> Mapping[QueueName, PartitionState]: ...

    async def reservations(self) -> Mapping[str, Reservation]: ...

    async def update_nodes(self, update: NodeUpdate) -> None: ...

    async def start_now(self, job: JobId) -> None:
        """Set the job's StartTime to now."""
        ...

    async def cancel_jobs(self, ids: Sequence[JobId]) -> None:
        """Jobs that are over or unknown are no error."""
        ...

    async def set_partition_state(self, partition: QueueName, state: PartitionState) -> None: ...

    async def create_reservation(self, wanted: Reservation) -> None:
        """A start in the past is now."""
        ...

    async def update_reservation(self, wanted: Reservation, *, start_too: bool) -> None:
        """Set end and nodes, and with `start_too` the start."""
        ...

    async def delete_reservation(self, name: str) -> None: ...


class SlurmCalls(BrokeredCalls, Protocol):
    """All of them: these are too rare for the broker."""

    async def admin_comment(self, job: JobId) -> str | None:
        """None: Slurm does not know the job."""
        ...

    async def set_admin_comment(self, job: JobId, text: str) -> None: ...
