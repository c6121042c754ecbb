"""pyslurm's collections: `Nodes`, `Jobs`, `Partitions`, `Reservations`, and the values that change one thing.

Seen with 22.5.3 and 24.11.0 (docs/reference/slurm-facts.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

FINISHED = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"}
    | {"REVOKED", "TIMEOUT"}
)
"""Job states that squeue leaves out unless it is asked for them."""
_UNREADABLE = "(not UTF-8)"


def operations(pyslurm: ModuleType, user_name: Callable[[int], str]) -> dict[str, Callable[..., Iterable[list[str]]]]:
    """Those that this pyslurm has collections for."""
    found: dict[str, Callable[..., Iterable[list[str]]]] = {}
    calls = Collections(pyslurm, user_name)
    if hasattr(pyslurm, "Nodes"):
        found |= {"nodes": calls.nodes, "update_nodes": calls.update_nodes}
    if hasattr(pyslurm, "Jobs"):
        found |= {"jobs": calls.jobs, "start_now": calls.start_now, "cancel_jobs": calls.cancel_jobs}
    if hasattr(pyslurm, "Partitions"):
        found |= {"partitions": calls.partitions, "set_partition_state": calls.set_partition_state}
    if hasattr(pyslurm, "Reservations"):
        found |= {"reservations": calls.reservations, "delete_reservation": calls.delete_reservation}
    if hasattr(getattr(getattr(pyslurm, "slurmctld", None), "Config", None), "version"):
        found["release"] = calls.release
    return found


class Collections:
    """The operations over one pyslurm."""

    def __init__(self, pyslurm: Any, user_name: Callable[[int], str]) -> None:
        self._pyslurm = pyslurm
        self._user_name = user_name

    def release(self) -> Iterator[list[str]]:
        """slurmctld's own."""
        yield [self._pyslurm.slurmctld.Config.load().version]

    def nodes(self, names: list[str]) -> Iterator[list[str]]:
        """Those, or all: name, state, partitions, address, hostname, reason, instance id, last busy
        time."""
        loaded = self._pyslurm.Nodes.load()
        wanted = set(names)
        for node in loaded.values():
            name = node.name
            if wanted and name not in wanted:
                continue
            yield [
                name,
                node.state,
                ",".join(node.partitions or ()),
                node.address or "",
                node.hostname or "",
                _reason(node),
                getattr(node, "instance_id", None) or "",
                str(node.last_busy_time or ""),
            ]

    def jobs(self, ids: list[int]) -> Iterator[list[str]]:
        """Those in any state, or all unfinished ones, as the fields of `parsing.JOB_FORMAT`."""
        wanted = set(ids)
        for job in self._pyslurm.Jobs.load().values():
            number, state = job.id, job.state
            if number not in wanted if wanted else state in FINISHED:
                continue
            yield [
                str(number),
                state,
                str(job.requeue_count or 0),
                job.partition or "",
                self._user_name(job.user_id),
                job.account or "",
                str(job.priority or 0),
                str(job.start_time or ""),
                job.allocated_nodes or "",
                job.state_reason or "None",
            ]

    def partitions(self) -> Iterator[list[str]]:
        """Name and state."""
        for partition in self._pyslurm.Partitions.load().values():
            yield [partition.name, partition.state]

    def reservations(self) -> Iterator[list[str]]:
        """Name, start, end, nodes."""
        for reservation in self._pyslurm.Reservations.load().values():
            nodes = reservation.nodes
            yield [
                reservation.name,
                str(reservation.start_time),
                str(reservation.end_time),
                nodes if isinstance(nodes, str) else ",".join(nodes or ()),
            ]

    def update_nodes(self, names: str, state: str, reason: str, addresses: str) -> Iterator[list[str]]:
        """`names` is a hostlist, which pyslurm hands on as it is."""
        wanted = {"state": state, "reason": reason, "address": addresses}
        changes = self._pyslurm.Node(**{key: value for key, value in wanted.items() if value})
        self._pyslurm.Node(names).modify(changes)
        yield from ()

    def start_now(self, job: int) -> Iterator[list[str]]:
        """Begin time now."""
        self._pyslurm.Job(job).modify(self._pyslurm.JobSubmitDescription(begin_time=int(time.time())))
        yield from ()

    def cancel_jobs(self, ids: list[int]) -> Iterator[list[str]]:
        """One call each."""
        for job in ids:
            self._pyslurm.Job(job).cancel()
        yield from ()

    def set_partition_state(self, partition: str, state: str) -> Iterator[list[str]]:
        """UP, INACTIVE, ..."""
        self._pyslurm.Partition(partition).modify(self._pyslurm.Partition(state=state))
        yield from ()

    def delete_reservation(self, name: str) -> Iterator[list[str]]:
        """By name."""
        self._pyslurm.Reservation(name).delete()
        yield from ()


def _reason(node: Any) -> str:
    """pyslurm decodes as UTF-8, and slurmctld keeps what people write: a reason that cannot be read is still one."""
    try:
        return node.reason or ""
    except UnicodeDecodeError:
        return _UNREADABLE
