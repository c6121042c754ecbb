"""`SlurmCalls` through the broker."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clustermgtd.adapters.slurm.broker_client import BrokerClient
from clustermgtd.adapters.slurm.broker_process import BrokerError, Rows, SaidError, UnsupportedError
from clustermgtd.adapters.slurm.calls import NodeUpdate
from clustermgtd.adapters.slurm.complaints import complaint
from clustermgtd.adapters.slurm.parsing import JobReader, NodeFields, NodeReader, ParsedNodes, partition_state
from clustermgtd.adapters.slurm.reservations import reservation_of
from clustermgtd.errors import ConfigurationError, IncompleteObservationError, TransientError
from clustermgtd.model import hostlist
from clustermgtd.model.ids import JobId, NodeName, QueueName
from clustermgtd.model.job import Job
from clustermgtd.model.partition import PartitionState
from clustermgtd.model.reservation import Reservation


class PyslurmCalls:
    """What the broker of `client` offers; ask `client.can` first."""

    def __init__(self, client: BrokerClient) -> None:
        self._client = client

    async def nodes(self, names: Sequence[NodeName] = ()) -> ParsedNodes:
        """slurmctld sends them all, whatever is asked for."""
        reader = NodeReader()

        def take(rows: Rows) -> None:
            for row in rows:
                reader.add(NodeFields(*row))

        await self._read("nodes", take, names=list(names))
        if not reader.nodes and not names:
            raise IncompleteObservationError("pyslurm named no node")
        return reader.parsed(name for name in names if name not in reader.nodes)

    async def jobs(self, ids: Sequence[JobId] = ()) -> Mapping[JobId, Job]:
        """slurmctld sends them all, whatever is asked for."""
        reader = JobReader(time.time())

        def take(rows: Rows) -> None:
            for row in rows:
                reader.add(row)

        await self._read("jobs", take, ids=list(ids))
        return reader.jobs

    async def partitions(self) -> Mapping[QueueName, PartitionState]:
        """Hidden ones too."""
        found: dict[QueueName, PartitionState] = {}

        def take(rows: Rows) -> None:
            found.update((QueueName(name), partition_state(word)) for name, word in rows)

        await self._read("partitions", take)
        return found

    async def reservations(self) -> Mapping[str, Reservation]:
        """All of them; one of somebody else that cannot be read is left out."""
        rows: list[Sequence[str]] = []
        await self._read("reservations", rows.extend)
        try:
            read = [reservation_of(*row) for row in rows]
        except TypeError as error:
            raise IncompleteObservationError(f"pyslurm's reservations: {error}") from error
        return {reservation.name: reservation for reservation in read if reservation is not None}

    async def update_nodes(self, update: NodeUpdate) -> None:
        """One request to slurmctld."""
        addresses = ",".join(update.addresses)
        names = hostlist.fold(update.names)
        await self._do("update_nodes", names=names, state=update.state, reason=update.reason, addresses=addresses)

    async def start_now(self, job: JobId) -> None:
        """Begin time now."""
        await self._do("start_now", job=job)

    async def cancel_jobs(self, ids: Sequence[JobId]) -> None:
        """One request to slurmctld each."""
        await self._do("cancel_jobs", ids=list(ids))

    async def set_partition_state(self, partition: QueueName, state: PartitionState) -> None:
        """One request to slurmctld."""
        await self._do("set_partition_state", partition=partition, state=state)

    async def create_reservation(self, wanted: Reservation) -> None:
        """A start in the past is now."""
        await self._do("create_reservation", **_times(wanted), name=wanted.name, nodes=hostlist.fold(wanted.nodes))

    async def update_reservation(self, wanted: Reservation, *, start_too: bool) -> None:
        """Start 0 leaves the start."""
        times = _times(wanted) if start_too else {**_times(wanted), "starts_at": 0}
        await self._do("update_reservation", **times, name=wanted.name, nodes=hostlist.fold(wanted.nodes))

    async def delete_reservation(self, name: str) -> None:
        """One request to slurmctld."""
        await self._do("delete_reservation", name=name)

    async def _read(self, operation: str, take: Callable[[Rows], None], **arguments: Any) -> None:
        """Raises IncompleteObservationError unless the answer is whole; a configuration error stays one."""
        try:
            await self._client.ask(operation, arguments, take)
        except SaidError as said:
            error = complaint(f"pyslurm's {operation}", said.errno, said.text)
            if isinstance(error, ConfigurationError):
                raise error from said
            raise IncompleteObservationError(str(error), code=error.code) from said
        except (BrokerError, UnsupportedError) as error:
            raise IncompleteObservationError(f"pyslurm's {operation}: {error}") from error

    async def _do(self, operation: str, **arguments: Any) -> None:
        """Raises what slurmctld complains of, or TransientError if it is not known whether it was done."""
        try:
            await self._client.ask(operation, arguments, _nothing)
        except SaidError as said:
            raise complaint(f"pyslurm's {operation}", said.errno, said.text) from said
        except (BrokerError, UnsupportedError) as error:
            raise TransientError(f"pyslurm's {operation}: {error}") from error


def _times(wanted: Reservation) -> dict[str, int]:
    """Whole epoch seconds."""
    return {"starts_at": max(round(wanted.starts_at), int(time.time())), "ends_at": round(wanted.ends_at)}


def _nothing(rows: Rows) -> None:
    if rows:
        raise ValueError("an update that answers with rows")
