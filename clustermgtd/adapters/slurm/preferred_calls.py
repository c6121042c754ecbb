"""`SlurmCalls` through the broker while it serves, and through the command line while it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clustermgtd.adapters.slurm.broker_client import BrokerClient
from clustermgtd.adapters.slurm.calls import BrokeredCalls, NodeUpdate, SlurmCalls
from clustermgtd.adapters.slurm.parsing import ParsedNodes
from clustermgtd.adapters.slurm.pyslurm_calls import PyslurmCalls
from clustermgtd.model.ids import JobId, NodeName, QueueName
from clustermgtd.model.job import Job
from clustermgtd.model.partition import PartitionState
from clustermgtd.model.reservation import Reservation


class PreferredCalls:
    """Each call goes one way, chosen when it is made.

    A call that the broker left unanswered fails and is not made again here: it had its deadline, and an update may have
    been done. The next call goes by the command line, because the broker does not serve any more.
    """

    def __init__(self, client: BrokerClient, command_line: SlurmCalls) -> None:
        self._client = client
        self._pyslurm = PyslurmCalls(client)
        self._command_line = command_line

    def _by(self, operation: str) -> BrokeredCalls:
        return self._pyslurm if self._client.can(operation) else self._command_line

    async def nodes(self, names: Sequence[NodeName] = ()) -> ParsedNodes:
        return await self._by("nodes").nodes(names)

    async def jobs(self, ids: Sequence[JobId] = ()) -> Mapping[JobId, Job]:
        return await self._by("jobs").jobs(ids)

    async def partitions(self) -> Mapping[QueueName, PartitionState]:
        return await self._by("partitions").partitions()

    async def reservations(self) -> Mapping[str, Reservation]:
        return await self._by("reservations").reservations()

    async def update_nodes(self, update: NodeUpdate) -> None:
        await self._by("update_nodes").update_nodes(update)

    async def start_now(self, job: JobId) -> None:
        await self._by("start_now").start_now(job)

    async def admin_comment(self, job: JobId) -> str | None:
        return await self._command_line.admin_comment(job)

    async def set_admin_comment(self, job: JobId, text: str) -> None:
        await self._command_line.set_admin_comment(job, text)

    async def cancel_jobs(self, ids: Sequence[JobId]) -> None:
        await self._by("cancel_jobs").cancel_jobs(ids)

    async def set_partition_state(self, partition: QueueName, state: PartitionState) -> None:
        await self._by("set_partition_state").set_partition_state(partition, state)

    async def create_reservation(self, wanted: Reservation) -> None:
        await self._by("create_reservation").create_reservation(wanted)

    async def update_reservation(self, wanted: Reservation, *, start_too: bool) -> None:
        await self._by("update_reservation").update_reservation(wanted, start_too=start_too)

    async def delete_reservation(self, name: str) -> None:
        await self._by("delete_reservation").delete_reservation(name)
