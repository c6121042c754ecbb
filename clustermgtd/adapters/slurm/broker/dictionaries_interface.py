"""pyslurm's older classes, `pyslurm.job().get()`: dictionaries by id.

They are not asked for nodes: a node's state is put together there from some of Slurm's flags and the one symbol of
`sinfo`, so that flags are lost beside another one (docs/reference/slurm-facts.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

from clustermgtd.adapters.slurm.broker.collections_interface import FINISHED

_MAINT_AND_IGNORE_JOBS = 1 << 0 | 1 << 6
"""RESERVE_FLAG_MAINT and RESERVE_FLAG_IGN_JOBS of slurm.h, the same in 22.05 and 24.11."""


def operations(pyslurm: ModuleType, user_name: Callable[[int], str]) -> dict[str, Callable[..., Iterable[list[str]]]]:
    """Those that this pyslurm has such classes for."""
    found: dict[str, Callable[..., Iterable[list[str]]]] = {}
    calls = Dictionaries(pyslurm, user_name)
    if hasattr(pyslurm, "config"):
        found["release"] = calls.release
    if hasattr(pyslurm, "job"):
        found["jobs"] = calls.jobs
    if hasattr(pyslurm, "partition"):
        found["partitions"] = calls.partitions
    if hasattr(pyslurm, "reservation"):
        found |= {
            "reservations": calls.reservations,
            "create_reservation": calls.create_reservation,
            "update_reservation": calls.update_reservation,
            "delete_reservation": calls.delete_reservation,
        }
    return found


class Dictionaries:
    """The operations over one pyslurm."""

    def __init__(self, pyslurm: Any, user_name: Callable[[int], str]) -> None:
        self._pyslurm = pyslurm
        self._user_name = user_name

    def release(self) -> Iterator[list[str]]:
        """slurmctld's own."""
        yield [self._pyslurm.config().get()["version"]]

    def jobs(self, ids: list[int]) -> Iterator[list[str]]:
        """Those in any state, or all unfinished ones, as the fields of `parsing.JOB_FORMAT`."""
        wanted = set(ids)
        for number, job in self._pyslurm.job().get().items():
            state = job["job_state"]
            if number not in wanted if wanted else state in FINISHED:
                continue
            yield [
                str(number),
                state,
                str(job["restart_cnt"] or 0),
                job["partition"] or "",
                self._user_name(job["user_id"]),
                job["account"] or "",
                str(job["priority"] or 0),
                str(job["start_time"] or ""),
                job["nodes"] or "",
                job["state_reason"] or "None",
            ]

    def partitions(self) -> Iterator[list[str]]:
        """Name and state."""
        for name, partition in self._pyslurm.partition().get().items():
            yield [name, partition["state"]]

    def reservations(self) -> Iterator[list[str]]:
        """Name, start, end, nodes."""
        for name, reservation in self._pyslurm.reservation().get().items():
            yield [
                name,
                str(reservation["start_time"]),
                str(reservation["end_time"]),
                reservation["node_list"] or "",
            ]

    def create_reservation(self, name: str, starts_at: int, ends_at: int, nodes: str) -> Iterator[list[str]]:
        """One of ours: MAINT, IGNORE_JOBS, and root as its user."""
        wanted = {"name": name, "start_time": starts_at, "end_time": ends_at, "node_list": nodes}
        self._pyslurm.reservation().create({**wanted, "users": "root", "flags": _MAINT_AND_IGNORE_JOBS})
        yield from ()

    def update_reservation(self, name: str, starts_at: int, ends_at: int, nodes: str) -> Iterator[list[str]]:
        """`starts_at` 0 leaves the start."""
        wanted = {"name": name, "end_time": ends_at, "node_list": nodes.encode()}
        self._pyslurm.reservation().update(wanted | ({"start_time": starts_at} if starts_at else {}))
        yield from ()

    def delete_reservation(self, name: str) -> Iterator[list[str]]:
        """By name."""
        self._pyslurm.reservation().delete(name)
        yield from ()
