"""Who waits at the start gate, and when each may go: the daemon's side of PrologSlurmctld."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from clustermgtd.errors import ClustermgtdError
from clustermgtd.model.ids import JobId, NodeName
from clustermgtd.model.job import Job
from clustermgtd.model.node import Node
from clustermgtd.ports.clock import Clock
from clustermgtd.ports.scheduler import Scheduler

UNREADABLE_MAX_S = 60.0
"""When Slurm has not answered for so long, nobody is held back any longer."""
BACKOFF_MAX_S = 10.0
LOAD_SHARE = 4
"""The pause after a poll is at least this many times what the poll took, so that many nodes do not become load."""


class GateReason(StrEnum):
    """Why a job is let go."""

    READY = "ready"
    """All its nodes have registered."""
    NOT_CONFIGURING = "not-configuring"
    """It was requeued or cancelled, or has ended: held any longer it would stay PENDING with reason Cleaning."""
    FULL = "full"
    """As many jobs wait as may."""
    DEADLINE = "deadline"
    UNREADABLE = "unreadable"
    """Slurm does not answer."""
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class GateAnswer:
    reason: GateReason


class _Waiter:
    """One job at the gate."""

    def __init__(self, job_id: JobId, nodes: Sequence[NodeName]) -> None:
        self.job_id = job_id
        self.missing = frozenset(nodes)
        """Nodes not seen up so far."""
        self.opened: asyncio.Future[GateReason] = asyncio.get_running_loop().create_future()

    def open(self, reason: GateReason) -> None:
        if not self.opened.done():
            self.opened.set_result(reason)


class StartGate:
    """Holds jobs back until their nodes are ready. One poller serves all; it rests while nobody waits.

    `run` must be running for anybody to be let go before the deadline. `on_ready` is called when nodes have come up
    for a job: the loop, which looks less often, is to see them before a short job and a short idle time are over.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        clock: Clock,
        waiting_max: int,
        deadline_s: float,
        on_ready: Callable[[], None],
        poll_s: float = 0.5,
    ) -> None:
        assert waiting_max > 0
        assert deadline_s > 0
        assert poll_s > 0
        self._scheduler = scheduler
        self._clock = clock
        self._waiting_max = waiting_max
        self._deadline_s = deadline_s
        self._on_ready = on_ready
        self._poll_s = poll_s
        self._waiters: set[_Waiter] = set()
        self._somebody = asyncio.Event()
        self._is_stopped = False

    @property
    def waiting(self) -> int:
        """Jobs at the gate now."""
        return len(self._waiters)

    async def wait(self, job_id: JobId, nodes: Sequence[NodeName]) -> GateAnswer:
        """Returns when the job need not be held back any longer, with the reason. Raises nothing."""
        if self._is_stopped:
            return GateAnswer(GateReason.STOPPING)
        if len(self._waiters) >= self._waiting_max:
            return GateAnswer(GateReason.FULL)
        waiter = _Waiter(job_id, nodes)
        self._waiters.add(waiter)
        self._somebody.set()
        try:
            async with asyncio.timeout(self._deadline_s):
                return GateAnswer(await waiter.opened)
        except TimeoutError:
            return GateAnswer(GateReason.DEADLINE)
        finally:
            self._waiters.discard(waiter)

    async def run(self) -> None:
        """Poll Slurm while anybody waits, until cancelled; then everybody is let go."""
        try:
            while True:
                if not self._waiters:
                    self._somebody.clear()
                    await self._somebody.wait()
                await self._clock.sleep(await self._poll())
        finally:
            self._is_stopped = True
            self._open_all(GateReason.STOPPING)

    async def _poll(self) -> float:
        """Look once, retrying while Slurm does not answer; returns the pause until the next look in seconds."""
        pause = self._poll_s
        unreadable_since = self._clock.monotonic()
        while self._waiters:
            began = self._clock.monotonic()
            try:
                await self._look()
            except ClustermgtdError:
                if self._clock.monotonic() - unreadable_since >= UNREADABLE_MAX_S:
                    self._open_all(GateReason.UNREADABLE)
                    break
                pause = min(2 * pause, BACKOFF_MAX_S)
                await self._clock.sleep(pause)
                continue
            return max(self._poll_s, LOAD_SHARE * (self._clock.monotonic() - began))
        return self._poll_s

    async def _look(self) -> None:
        waiters = tuple(self._waiters)
        names = sorted(frozenset().union(*(waiter.missing for waiter in waiters)))
        nodes = await self._scheduler.some_nodes(names)
        jobs = await self._scheduler.some_jobs(sorted({waiter.job_id for waiter in waiters}))
        for waiter in waiters:
            _judge(waiter, nodes, jobs)
        if any(not waiter.missing for waiter in waiters):
            self._on_ready()

    def _open_all(self, reason: GateReason) -> None:
        for waiter in self._waiters:
            waiter.open(reason)


def _judge(waiter: _Waiter, nodes: Mapping[NodeName, Node], jobs: Mapping[JobId, Job]) -> None:
    """Let a waiter go if there is a reason to. A node once seen up is not asked for again: Slurm looks itself."""
    job = jobs.get(waiter.job_id)
    if job is None or not job.is_configuring:
        waiter.open(GateReason.NOT_CONFIGURING)
        return
    waiter.missing = frozenset(name for name in waiter.missing if name not in nodes or not nodes[name].is_up)
    if not waiter.missing:
        waiter.open(GateReason.READY)
