"""The `Scheduler` port: what is asked of Slurm, in which order and in how many pieces, whoever carries the calls."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from clustermgtd.adapters.slurm import reservations
from clustermgtd.adapters.slurm.calls import NodeUpdate, SlurmCalls
from clustermgtd.adapters.slurm.complaints import INVALID_NODE, INVALID_STATE
from clustermgtd.adapters.slurm.parsing import ParsedNodes
from clustermgtd.errors import ClustermgtdError, NotFoundError, PermanentError
from clustermgtd.model import hostlist
from clustermgtd.model.ids import JobId, NodeName, QueueName
from clustermgtd.model.job import Job
from clustermgtd.model.node import PARKED_ADDRESS, REASON_PREFIX, Node, NodeBase
from clustermgtd.model.partition import PartitionState
from clustermgtd.model.reservation import Reservation
from clustermgtd.ports.scheduler import SchedulerView

UPDATE_NODES_MAX = 5_000
"""Slurm's own limit for one update."""
_ARGUMENT_MAX = 100_000
"""The kernel takes 128 KiB in one argument of a program."""
_REASON_MAX = 400
_ADDRESS_LENGTH = 15
_JOBS_MAX = 1_000


def _ignore(_: Sequence[NodeName]) -> None:
    return None


class SlurmScheduler:
    """slurmctld through `calls`.

    `report_unreadable` is told which nodes a read reported as UNKNOWN because what Slurm said of them could not be
    understood. Set `names_resolve` where DNS knows every node's name, with or without an instance: then no address is
    ever written by `set_down`.
    """

    def __init__(
        self,
        calls: SlurmCalls,
        *,
        report_unreadable: Callable[[Sequence[NodeName]], None] = _ignore,
        names_resolve: bool = False,
    ) -> None:
        self._calls = calls
        self._report_unreadable = report_unreadable
        self._names_resolve = names_resolve

    async def view(self) -> SchedulerView:
        """All nodes, then all unfinished jobs."""
        nodes = await self._read_nodes()
        return SchedulerView(nodes.nodes, await self._calls.jobs())

    async def some_nodes(self, names: Sequence[NodeName]) -> Mapping[NodeName, Node]:
        """Those that Slurm knows."""
        found: dict[NodeName, Node] = {}
        for batch in _batches(names):
            found |= (await self._read_nodes(batch)).nodes
        return found

    async def some_jobs(self, ids: Sequence[JobId]) -> Mapping[JobId, Job]:
        """Those that Slurm still knows, finished ones too. An array task that has not started is in its array's
        record."""
        wanted = sorted(set(ids))
        found: dict[JobId, Job] = {}
        for start in range(0, len(wanted), _JOBS_MAX):
            batch = wanted[start : start + _JOBS_MAX]
            jobs = await self._calls.jobs(batch)
            found |= {job: jobs[job] for job in batch if job in jobs}
        return found

    async def reservations(self) -> Mapping[str, Reservation]:
        """All of them."""
        return await self._calls.reservations()

    async def reserve(self, reservation: Reservation) -> None:
        """Create, or update if there is one of that name."""
        await reservations.reserve(reservation, time.time(), self._calls)

    async def delete_reservation(self, name: str) -> None:
        """One that is gone is deleted."""
        await reservations.delete(name, self._calls)

    async def set_down(self, nodes: Iterable[NodeName], reason: str) -> None:
        """DOWN with `reason`.

        slurmctld then calls every node of the jobs that it requeues, and stands still for ten seconds for each whose
        address does not resolve. So first every such node that is not up gets an address that does.
        """
        names = sorted(set(nodes))
        if not names:
            return
        if not self._names_resolve:
            await self._park_unresolved(names)
        await self._update_nodes(names, "DOWN", reason)

    async def power_down(self, nodes: Iterable[NodeName]) -> None:
        """Power down once idle; at once if DOWN. On a node that is powering up it waits for slurmd or ResumeTimeout,
        unless the node is DOWN."""
        await self._update_nodes(nodes, "POWER_DOWN")

    async def power_up(self, nodes: Iterable[NodeName]) -> None:
        """Power up. Slurm runs ResumeProgram again for nodes that are powering up already, so those are left out."""
        names = sorted(set(nodes))
        known = await self.some_nodes(names)
        await self._update_nodes([name for name, node in known.items() if not node.is_powering_up], "POWER_UP")
        _raise_unknown(set(names) - set(known))

    async def return_to_service(self, nodes: Iterable[NodeName]) -> None:
        """Clear DOWN and the reason. Nodes that are not DOWN are left as they are."""
        # Slurm resumes those that can be and says this about the others: there was nothing to clear
        await self._update_nodes(nodes, "RESUME", tolerated=INVALID_STATE)

    async def hold(self, nodes: Iterable[NodeName], reason: str) -> None:
        """DRAIN with `reason`.

        Looks once more, because slurmctld requeues the job of a node that is drained between its allocation and its
        power-up. Should a job slip in all the same, the nodes have an address that resolves: see `set_down`.
        """
        known = await self.some_nodes(sorted(set(nodes)))
        free = [
            name
            for name, node in known.items()
            if node.base is NodeBase.IDLE and (node.is_powered_down or node.is_powering_down)
        ]
        if not free:
            return
        if not self._names_resolve:
            unresolved = [name for name in free if not _is_ip_address(known[name].address)]
            await self._write_addresses(dict.fromkeys(unresolved, PARKED_ADDRESS))
        await self._update_nodes(free, "DRAIN", reason)

    async def drain(self, nodes: Iterable[NodeName], reason: str) -> None:
        """DRAIN with `reason`, where slurmd has registered."""
        known = await self.some_nodes(sorted(set(nodes)))
        await self._update_nodes([n for n, node in known.items() if node.is_up], "DRAIN", reason)

    async def release(self, nodes: Iterable[NodeName]) -> None:
        """UNDRAIN, which also clears the reason."""
        await self._update_nodes(nodes, "UNDRAIN", tolerated=INVALID_STATE)

    async def assign_addresses(self, addresses: Iterable[tuple[NodeName, str]]) -> None:
        """Set NodeAddr.

        Raises:
            PermanentError: one is not an IP address; then nothing was written.
        """
        by_name = dict(addresses)
        for name, address in by_name.items():
            if not _is_ip_address(address):
                raise PermanentError(f"{address!r} is not an IP address (for {name})")
        await self._write_addresses(by_name)

    async def lift_requeue_hold(self, job: JobId) -> None:
        """StartTime=now.

        Raises:
            ConflictError: the job is not pending any more.
            NotFoundError: Slurm does not know it any more.
        """
        await self._calls.start_now(job)

    async def explain_job(self, job: JobId, text: str) -> None:
        """AdminComment, if it is empty or ours."""
        before = await self._calls.admin_comment(job)
        if before is not None and before != text and (not before or before.startswith(REASON_PREFIX)):
            await self._calls.set_admin_comment(job, text)

    async def cancel_jobs(self, jobs: Iterable[JobId]) -> None:
        """Nothing is said about jobs that are gone."""
        wanted = sorted(set(jobs))
        for start in range(0, len(wanted), _JOBS_MAX):
            await self._calls.cancel_jobs(wanted[start : start + _JOBS_MAX])

    async def partitions(self) -> Mapping[QueueName, PartitionState]:
        """Hidden ones too."""
        return await self._calls.partitions()

    async def set_partition_state(self, partition: QueueName, state: PartitionState) -> None:
        """One partition: Slurm takes no list."""
        await self._calls.set_partition_state(partition, state)

    async def _read_nodes(self, names: Sequence[NodeName] = ()) -> ParsedNodes:
        parsed = await self._calls.nodes(names)
        if parsed.unreadable:
            self._report_unreadable(parsed.unreadable)
        return parsed

    async def _park_unresolved(self, names: Sequence[NodeName]) -> None:
        """Give an address to the nodes that slurmctld will call when `names` go DOWN, and cannot resolve."""
        view = await self.view()
        going = set(names)
        called = set(names)
        for job in view.jobs.values():
            if not going.isdisjoint(job.nodes):
                called.update(job.nodes)
        unresolved = [
            name
            for name in called
            if (node := view.nodes.get(name)) is not None
            and not _is_ip_address(node.address)
            and (name in going or not node.is_up)
        ]
        await self._write_addresses(dict.fromkeys(unresolved, PARKED_ADDRESS))

    async def _write_addresses(self, by_name: Mapping[NodeName, str]) -> None:
        def update(names: Sequence[NodeName]) -> NodeUpdate:
            return NodeUpdate(tuple(names), addresses=_addresses_of(names, by_name))

        await self._update_in_batches(by_name, update)

    async def _update_nodes(
        self, nodes: Iterable[NodeName], state: str, reason: str = "", *, tolerated: str = ""
    ) -> None:
        text = " ".join(reason.split())[:_REASON_MAX]
        await self._update_in_batches(nodes, lambda names: NodeUpdate(tuple(names), state, text), tolerated)

    async def _update_in_batches(
        self, nodes: Iterable[NodeName], update: Callable[[Sequence[NodeName]], NodeUpdate], tolerated: str = ""
    ) -> None:
        unknown: list[NodeName] = []
        for batch in _batches(nodes):
            missing = await self._update(update(batch), tolerated)
            if missing:
                await self._update(update([name for name in batch if name not in missing]), tolerated)
            unknown += missing
        _raise_unknown(unknown)

    async def _update(self, update: NodeUpdate, tolerated: str) -> set[NodeName]:
        """One update; returns the unknown names, if Slurm stopped at one: some of the others were updated then, and
        all of them may be updated again. An error whose code is `tolerated` is none."""
        if not update.names:
            return set()
        try:
            await self._calls.update_nodes(update)
        except ClustermgtdError as error:
            if tolerated and error.code == tolerated:
                return set()
            if error.code != INVALID_NODE:
                raise
            missing = set(update.names) - set(await self.some_nodes(update.names))
            if not missing:
                raise PermanentError(f"Slurm refuses the update though it knows every node: {error}") from error
            return missing
        return set()


def _batches(names: Iterable[NodeName]) -> Iterator[list[NodeName]]:
    """As many nodes as one update may name."""
    batch: list[NodeName] = []
    size = 0
    for name in sorted(set(names)):
        if len(batch) == UPDATE_NODES_MAX or size + max(len(name), _ADDRESS_LENGTH) + 1 > _ARGUMENT_MAX:
            yield batch
            batch, size = [], 0
        batch.append(name)
        size += max(len(name), _ADDRESS_LENGTH) + 1
    if batch:
        yield batch


def _addresses_of(names: Sequence[NodeName], by_name: Mapping[NodeName, str]) -> tuple[str, ...]:
    """One address per node, in the order in which Slurm reads the folded names."""
    return tuple(by_name[NodeName(name)] for name in hostlist.expand(hostlist.fold(names))) if names else ()


def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _raise_unknown(names: Iterable[NodeName]) -> None:
    unknown = sorted(names)
    if unknown:
        raise NotFoundError(f"Slurm does not know {hostlist.fold(unknown)}; the others were updated")
