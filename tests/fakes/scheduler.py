"""A slurmctld as plain data behind the `Scheduler` port.

It reacts as release 22.05.8 was seen to (docs/reference/slurm-facts.md) and passes the same contract suite. Time stands
still until `advance`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from clustermgtd.errors import ConflictError, NotFoundError, PermanentError
from clustermgtd.model import hostlist
from clustermgtd.model.ids import JobId, NodeName, QueueName
from clustermgtd.model.job import Job
from clustermgtd.model.node import REASON_PREFIX, Node, NodeBase, NodeFlag
from clustermgtd.model.partition import PartitionState
from clustermgtd.model.reservation import Reservation
from clustermgtd.ports.scheduler import SchedulerView
from tests.fakes.faults import Faults

_FINISHED = frozenset({"COMPLETED", "CANCELLED"})
_F = NodeFlag
_NO_SLURMD = frozenset({_F.POWERED_DOWN, _F.POWERING_DOWN, _F.POWERING_UP, _F.POWER_DOWN})
PARKED = "127.0.0.1"


@dataclass
class FakeNode:
    """One node. The flags are facts of their own, as in Slurm, not derived from one state."""

    name: NodeName
    queue: QueueName
    flags: set[NodeFlag] = field(default_factory=lambda: {_F.CLOUD, _F.POWERED_DOWN})
    is_down: bool = False
    reason: str = ""
    address: str = ""
    hostname: str = ""
    job: JobId | None = None
    timer: float = 0.0
    """When the present POWERING_* ends."""
    idle_since: float = 0.0
    is_silent: bool = False

    def shown(self) -> Node:
        base = NodeBase.DOWN if self.is_down else NodeBase.IDLE if self.job is None else NodeBase.ALLOCATED
        flags = frozenset(self.flags)
        node = Node(self.name, base, flags, (self.queue,), self.address, self.hostname, self.reason)
        return replace(node, last_busy_at=float(int(self.idle_since))) if node.is_up else node


@dataclass
class FakeJob:
    id: JobId
    queue: QueueName
    size: int
    seconds: float
    state: str = "PENDING"
    nodes: tuple[NodeName, ...] = ()
    begin_at: float = 0.0
    ends_at: float = 0.0
    restarts: int = 0
    account: str = ""
    limit_s: float = float("inf")
    """Its time limit."""

    def shown(self, now: float) -> Job:
        reason = "None"
        if self.state == "PENDING":
            reason = "BeginTime" if self.begin_at > now else "Resources"
        return Job(self.id, self.state, reason, self.queue, "alice", self.nodes, self.restarts, 1, self.account)


class FakeScheduler:
    """The port, and what a test may do to Slurm behind it. `faults` plans errors of the port's methods."""

    def __init__(
        self,
        nodes: Iterable[str],
        *,
        queue: str = "q1",
        resume_timeout_s: float = 30.0,
        suspend_timeout_s: float = 1.0,
        suspend_time_s: float = 600.0,
        requeue_hold_s: float = 121.0,
    ) -> None:
        self.faults = Faults()
        self.calls: list[tuple[str, str]] = []
        """`("resume" | "suspend" | "fail", hostlist)` in order."""
        self.now = 0.0
        self.admin_comments: dict[JobId, str] = {}
        self.unresolved: list[NodeName] = []
        """Nodes that slurmctld called under a name that does not resolve: each would have cost ten seconds."""
        self._resume_timeout_s = resume_timeout_s
        self._suspend_timeout_s = suspend_timeout_s
        self._suspend_time_s = suspend_time_s
        self._requeue_hold_s = requeue_hold_s
        self._nodes = {
            NodeName(name): FakeNode(NodeName(name), QueueName(queue), address=name, hostname=name) for name in nodes
        }
        self._jobs: dict[JobId, FakeJob] = {}
        self._reservations: dict[str, Reservation] = {}
        self.partition_states = {QueueName(queue): PartitionState.UP}

    # the port

    async def view(self) -> SchedulerView:
        with self.faults.around("view"):
            nodes = {name: node.shown() for name, node in self._nodes.items()}
            return SchedulerView(
                nodes, {i: job.shown(self.now) for i, job in self._jobs.items() if job.state not in _FINISHED}
            )

    async def some_nodes(self, names: Sequence[NodeName]) -> Mapping[NodeName, Node]:
        with self.faults.around("some_nodes"):
            return {name: self._nodes[name].shown() for name in names if name in self._nodes}

    async def some_jobs(self, ids: Sequence[JobId]) -> Mapping[JobId, Job]:
        with self.faults.around("some_jobs"):
            return {i: self._jobs[i].shown(self.now) for i in ids if i in self._jobs}

    async def reservations(self) -> Mapping[str, Reservation]:
        with self.faults.around("reservations"):
            return dict(self._reservations)

    async def reserve(self, reservation: Reservation) -> None:
        with self.faults.around("reserve"):
            self._raise_unknown(reservation.nodes)
            known = self._reservations.get(reservation.name)
            starts_at = max(reservation.starts_at, self.now)
            if known is not None and max(known.starts_at, reservation.starts_at) <= self.now:
                starts_at = known.starts_at
            self._reservations[reservation.name] = replace(reservation, starts_at=starts_at)

    async def delete_reservation(self, name: str) -> None:
        with self.faults.around("delete_reservation"):
            self._reservations.pop(name, None)

    async def set_down(self, nodes: Iterable[NodeName], reason: str) -> None:
        with self.faults.around("set_down"):
            names = sorted(set(nodes))
            known = list(self._known(names))
            for node in [*known, *self._companions(known)]:
                if node.address == node.name and (node in known or not node.shown().is_up):
                    node.address = PARKED
            for node in known:
                node.is_down, node.reason = True, reason
                self._requeue_from(node)
            self._raise_unknown(names)

    async def power_down(self, nodes: Iterable[NodeName]) -> None:
        with self.faults.around("power_down"):
            names = sorted(set(nodes))
            for node in self._known(names):
                node.flags.add(_F.POWER_DOWN)
                node.flags.discard(_F.POWERED_DOWN)
                if node.is_down:
                    node.flags.discard(_F.POWERING_UP)
            self._raise_unknown(names)

    async def power_up(self, nodes: Iterable[NodeName]) -> None:
        with self.faults.around("power_up"):
            names = sorted(set(nodes))
            for node in self._known(names):
                if _F.POWERED_DOWN in node.flags:
                    node.flags.add(_F.POWER_UP)
            self._raise_unknown(names)

    async def return_to_service(self, nodes: Iterable[NodeName]) -> None:
        with self.faults.around("return_to_service"):
            names = sorted(set(nodes))
            for node in self._known(names):
                if node.is_down:
                    node.is_down, node.reason = False, ""
            self._raise_unknown(names)

    async def hold(self, nodes: Iterable[NodeName], reason: str) -> None:
        with self.faults.around("hold"):
            names = sorted(set(nodes))
            for node in self._known(names):
                if node.job is None and not node.is_down and node.flags & {_F.POWERED_DOWN, _F.POWERING_DOWN}:
                    node.address = PARKED if node.address == node.name else node.address
                    node.flags.add(_F.DRAIN)
                    node.reason = reason

    async def drain(self, nodes: Iterable[NodeName], reason: str) -> None:
        with self.faults.around("drain"):
            names = sorted(set(nodes))
            for node in self._known(names):
                if node.shown().is_up:
                    node.flags.add(_F.DRAIN)
                    node.reason = reason

    async def release(self, nodes: Iterable[NodeName]) -> None:
        with self.faults.around("release"):
            names = sorted(set(nodes))
            for node in self._known(names):
                if _F.DRAIN in node.flags:
                    node.flags.discard(_F.DRAIN)
                    node.reason = ""
            self._raise_unknown(names)

    async def assign_addresses(self, addresses: Iterable[tuple[NodeName, str]]) -> None:
        with self.faults.around("assign_addresses"):
            by_name = dict(addresses)
            if not all(address.replace(".", "").isdigit() for address in by_name.values()):
                raise PermanentError("not an IP address")
            for node in self._known(by_name):
                node.address = by_name[node.name]
            self._raise_unknown(by_name)

    async def explain_job(self, job: JobId, text: str) -> None:
        with self.faults.around("explain_job"):
            before = self.admin_comments.get(job, "")
            if job in self._jobs and (not before or before.startswith(REASON_PREFIX)):
                self.admin_comments[job] = text

    async def lift_requeue_hold(self, job: JobId) -> None:
        with self.faults.around("lift_requeue_hold"):
            if job not in self._jobs or self._jobs[job].state in _FINISHED:
                raise NotFoundError(f"no job {job}")
            if self._jobs[job].state != "PENDING":
                raise ConflictError(f"job {job} is not pending")
            self._jobs[job].begin_at = 0.0

    async def cancel_jobs(self, jobs: Iterable[JobId]) -> None:
        with self.faults.around("cancel_jobs"):
            for job in jobs:
                if job in self._jobs and self._jobs[job].state not in _FINISHED:
                    self.cancel(job)

    async def partitions(self) -> Mapping[QueueName, PartitionState]:
        with self.faults.around("partitions"):
            return dict(self.partition_states)

    async def set_partition_state(self, partition: QueueName, state: PartitionState) -> None:
        with self.faults.around("set_partition_state"):
            if partition not in self.partition_states:
                raise NotFoundError(f"no partition {partition}")
            self.partition_states[partition] = state

    # what users, nodes and time do

    def submit(self, size: int, *, seconds: float = 60.0, account: str = "", limit_s: float = float("inf")) -> JobId:
        queue = next(iter(self._nodes.values())).queue
        job = FakeJob(JobId(len(self._jobs) + 1), queue, size, seconds, account=account, limit_s=limit_s)
        self._jobs[job.id] = job
        return job.id

    def cancel(self, job: JobId) -> None:
        self._release(self._jobs[job])
        self._jobs[job].state = "CANCELLED"

    def boot(self, *names: str) -> None:
        """slurmd registers."""
        for name in names:
            node = self._nodes[NodeName(name)]
            if _F.POWERING_UP in node.flags:
                node.flags -= {_F.POWERING_UP, _F.NOT_RESPONDING}
                node.is_down, node.reason = False, "" if node.is_down else node.reason
                node.address, node.hostname, node.idle_since, node.is_silent = PARKED, "host", self.now, False

    def kill(self, name: str) -> None:
        """slurmd goes without a word."""
        self._nodes[NodeName(name)].is_silent = True

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self._reservations = {n: kept for n, kept in self._reservations.items() if kept.ends_at > self.now}
        self._end_jobs()
        self._run_timers()
        self._schedule()
        self._suspend()
        self._resume()

    def _end_jobs(self) -> None:
        for job in self._jobs.values():
            if job.state == "RUNNING" and job.ends_at <= self.now:
                self._release(job)
                job.state = "COMPLETED"
            elif job.state == "CONFIGURING" and all(self._nodes[name].shown().is_up for name in job.nodes):
                job.state, job.ends_at = "RUNNING", self.now + job.seconds

    def _run_timers(self) -> None:
        failed = []
        for node in self._nodes.values():
            if node.is_down and not node.is_silent and not node.flags & _NO_SLURMD:
                node.is_down, node.reason = False, ""
            if node.timer > self.now:
                continue
            if _F.POWERING_UP in node.flags:
                node.flags -= {_F.POWERING_UP, _F.POWER_DOWN}
                node.flags |= {_F.POWERED_DOWN, _F.NOT_RESPONDING}
                node.is_down, node.reason = True, "ResumeTimeout reached"
                failed.append(node.name)
                self._requeue_from(node)
            elif _F.POWERING_DOWN in node.flags:
                node.flags.discard(_F.POWERING_DOWN)
                node.flags.add(_F.POWERED_DOWN)
                node.address = node.hostname = node.name
        self._call("fail", failed)

    def _schedule(self) -> None:
        for job in self._jobs.values():
            free = [node for node in self._nodes.values() if self._is_available(node) and not self._is_kept(node, job)]
            free.sort(key=lambda node: (_F.POWERED_DOWN in node.flags, _F.POWERING_UP in node.flags))
            is_open = self.partition_states[job.queue] is PartitionState.UP
            if job.state != "PENDING" or job.begin_at > self.now or len(free) < job.size or not is_open:
                continue
            job.state, job.nodes = "CONFIGURING", tuple(sorted(node.name for node in free[: job.size]))
            for node in free[: job.size]:
                node.job = job.id
                if _F.POWERED_DOWN in node.flags:
                    node.flags.add(_F.POWER_UP)

    @staticmethod
    def _is_available(node: FakeNode) -> bool:
        barred = {_F.POWER_DOWN, _F.POWERING_DOWN, _F.DRAIN}
        return node.job is None and not node.is_down and not node.flags & barred

    def _is_kept(self, node: FakeNode, job: FakeJob) -> bool:
        """A reservation touches the time that the job may take."""
        return any(
            node.name in kept.nodes and kept.starts_at < self.now + job.limit_s and kept.ends_at > self.now
            for kept in self._reservations.values()
        )

    def _suspend(self) -> None:
        suspended = []
        for node in self._nodes.values():
            has_instance = not node.flags & {_F.POWERED_DOWN, _F.POWERING_DOWN, _F.POWERING_UP}
            is_due = has_instance and self.now - node.idle_since >= self._suspend_time_s and not node.is_down
            is_asked = _F.POWER_DOWN in node.flags and _F.POWERING_UP not in node.flags
            if node.job is None and (is_due or is_asked):
                node.flags = {_F.CLOUD, _F.POWERING_DOWN}
                node.is_down, node.timer = False, self.now + self._suspend_timeout_s
                suspended.append(node.name)
        self._call("suspend", suspended)

    def _resume(self) -> None:
        resumed = []
        for node in self._nodes.values():
            if _F.POWER_UP in node.flags and not node.is_down:
                node.flags -= {_F.POWER_UP, _F.POWERED_DOWN}
                node.flags |= {_F.POWERING_UP, _F.NOT_RESPONDING}
                node.reason, node.timer = "", self.now + self._resume_timeout_s
                resumed.append(node.name)
        self._call("resume", resumed)

    def _call(self, program: str, names: Sequence[NodeName]) -> None:
        if names:
            self.calls.append((program, hostlist.fold(names)))

    def _requeue_from(self, node: FakeNode) -> None:
        if node.job is None:
            return
        job = self._jobs[node.job]
        self.unresolved += [name for name in job.nodes if self._nodes[name].address == name]
        self._release(job)
        job.state, job.begin_at, job.restarts = "PENDING", self.now + self._requeue_hold_s, job.restarts + 1

    def _release(self, job: FakeJob) -> None:
        for name in job.nodes:
            self._nodes[name].job = None
            self._nodes[name].idle_since = self.now
            self._nodes[name].flags.discard(_F.POWER_UP)
        job.nodes = ()

    def _companions(self, nodes: Sequence[FakeNode]) -> Iterator[FakeNode]:
        """The other nodes of the jobs that run on these."""
        jobs = {node.job for node in nodes if node.job is not None}
        return (node for node in self._nodes.values() if node.job in jobs)

    def _known(self, names: Iterable[NodeName]) -> Iterator[FakeNode]:
        return (self._nodes[name] for name in sorted(names) if name in self._nodes)

    def _raise_unknown(self, names: Iterable[NodeName]) -> None:
        unknown = [name for name in names if name not in self._nodes]
        if unknown:
            raise NotFoundError(f"Slurm does not know {hostlist.fold(unknown)}")
