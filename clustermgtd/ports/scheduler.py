"""Slurm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from clustermgtd.model.ids import JobId, NodeName, QueueName
from clustermgtd.model.job import Job
from clustermgtd.model.node import Node
from clustermgtd.model.partition import PartitionState
from clustermgtd.model.reservation import Reservation


@dataclass(frozen=True, slots=True)
class SchedulerView:
    """Nodes and jobs of one moment (two reads, nodes first)."""

    nodes: Mapping[NodeName, Node]
    jobs: Mapping[JobId, Job]


class Scheduler(Protocol):
    """slurmctld.

    Reads are consistent with each other up to the time between two calls. Updates are synchronous: a later read shows
    them. Every update takes any number of nodes, is split at 5,000 and sorted; a node that Slurm does not know makes
    the call raise NotFoundError after the others were updated.
    """

    async def view(self) -> SchedulerView:
        """All nodes and all unfinished jobs.

        Raises:
            IncompleteObservationError: slurmctld did not answer whole and in time.
        """
        ...

    async def some_nodes(self, names: Sequence[NodeName]) -> Mapping[NodeName, Node]:
        """Those nodes only: cheap enough to be asked every half second."""
        ...

    async def some_jobs(self, ids: Sequence[JobId]) -> Mapping[JobId, Job]:
        """Those jobs only; one that Slurm no longer knows is left out."""
        ...

    async def reservations(self) -> Mapping[str, Reservation]:
        """Everybody's reservations, by name. One that has ended may be shown for some seconds.

        Raises:
            IncompleteObservationError: slurmctld did not answer whole and in time.
        """
        ...

    async def reserve(self, reservation: Reservation) -> None:
        """Make a reservation, or change the one of that name, so that it is as given: no job that would touch its time
        starts on its nodes, and those that run there go on. It may overlap with others. A start in the past is now."""
        ...

    async def delete_reservation(self, name: str) -> None:
        """Delete a reservation; one that does not exist is no error."""
        ...

    async def set_down(self, nodes: Iterable[NodeName], reason: str) -> None:
        """DOWN with `reason`; Slurm requeues what runs there. First makes sure that each NodeAddr resolves, because
        slurmctld otherwise blocks for seconds in getaddrinfo."""
        ...

    async def power_down(self, nodes: Iterable[NodeName]) -> None:
        """Queue a power-down; a DOWN node goes through SuspendProgram and comes back as idle and powered down."""
        ...

    async def power_up(self, nodes: Iterable[NodeName]) -> None: ...

    async def return_to_service(self, nodes: Iterable[NodeName]) -> None:
        """Clear DOWN from powered-down nodes."""
        ...

    async def hold(self, nodes: Iterable[NodeName], reason: str) -> None:
        """Drain those that are idle and powered down or powering down, with `reason`; the drain stays until `release`.

        A node that a job took meanwhile is left alone: Slurm would requeue the job.
        """
        ...

    async def drain(self, nodes: Iterable[NodeName], reason: str) -> None:
        """Drain nodes that are up, with `reason`: no further job starts there, what runs goes on. Nodes that are not
        up are left alone: Slurm would requeue the job that waits for them."""
        ...

    async def release(self, nodes: Iterable[NodeName]) -> None:
        """Lift a drain; nodes without one are left as they are."""
        ...

    async def assign_addresses(self, addresses: Iterable[tuple[NodeName, str]]) -> None:
        """Set NodeAddr (an IP address) of nodes; NodeHostName stays the node's name."""
        ...

    async def lift_requeue_hold(self, job: JobId) -> None:
        """Set a pending job's StartTime to now."""
        ...

    async def explain_job(self, job: JobId, text: str) -> None:
        """Show `text`, which begins with `REASON_PREFIX`, as the job's AdminComment; the empty text takes such a one
        away. What somebody else wrote there stays. Jobs that Slurm no longer knows are no error."""
        ...

    async def cancel_jobs(self, jobs: Iterable[JobId]) -> None:
        """End jobs for good; those that Slurm no longer knows are none of its business."""
        ...

    async def partitions(self) -> Mapping[QueueName, PartitionState]:
        """The state of every partition.

        Raises:
            IncompleteObservationError: slurmctld did not answer whole and in time.
        """
        ...

    async def set_partition_state(self, partition: QueueName, state: PartitionState) -> None:
        """UP or INACTIVE. Lasts until somebody changes it or slurmctld reads its configuration anew.

        Raises:
            NotFoundError: Slurm does not know the partition.
        """
        ...
