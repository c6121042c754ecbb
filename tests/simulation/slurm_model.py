"""slurmctld's power saving as plain data: nodes, jobs, timers. No loop, no clock of its own.

Modelled after what release 22.05.8 was seen to do (docs/reference/slurm-facts.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from clustermgtd.model.ids import JobId, NodeName, QueueName
from clustermgtd.model.job import Job
from clustermgtd.model.node import Node, NodeBase, NodeFlag
from clustermgtd.model.partition import PartitionState
from clustermgtd.model.reservation import Reservation

F = NodeFlag
REQUEUE_HOLD_S = 121.0


@dataclass
class SimNode:
    name: NodeName
    queue: QueueName
    is_static: bool
    is_down: bool = False
    is_draining: bool = False
    is_power_down_asked: bool = False
    power: str = "down"
    """down, up (slurmd registered), powering-up, powering-down"""
    reason: str = ""
    job: JobId | None = None
    resume_deadline: float = 0.0
    suspend_deadline: float = 0.0
    idle_since: float = 0.0
    responds: bool = True
    silent_since: float | None = None
    address: str = ""
    backing: str = ""
    """Instance whose slurmd registered last."""
    is_silent: bool = False
    """RESUME and UNDRAIN leave a powered-down node as not responding."""
    suspend_time: float | None = None
    """Its partition's; None is the cluster's."""
    completes_at: float = 0.0
    """Until then its last job is being cleaned up."""
    is_completing: bool = False
    is_unavailable: bool = False
    """And such a node gets no job any more after slurmctld's next reconfiguration or restart."""

    def flags(self) -> frozenset[NodeFlag]:
        flags = {F.CLOUD}
        flags |= {
            "down": {F.POWERED_DOWN},
            "up": set(),
            "powering-up": {F.POWERING_UP, F.NOT_RESPONDING},
            "powering-down": {F.POWERING_DOWN},
        }[self.power]
        if self.is_draining:
            flags.add(F.DRAIN)
        if self.is_completing and self.power == "up":
            flags.add(F.COMPLETING)
        if self.is_power_down_asked and self.power in ("up", "powering-up"):
            flags.add(F.POWER_DOWN)
        if (not self.responds and self.power == "up") or (self.is_silent and self.power == "down"):
            flags.add(F.NOT_RESPONDING)
        return frozenset(flags)

    def view(self) -> Node:
        base = NodeBase.DOWN if self.is_down else NodeBase.ALLOCATED if self.job is not None else NodeBase.IDLE
        address = self.address or self.name
        idle_since = float(int(self.idle_since)) if self.power == "up" else 0.0
        return Node(
            self.name, base, self.flags(), (self.queue,), address=address, reason=self.reason, last_busy_at=idle_since
        )


@dataclass
class SimJob:
    id: JobId
    queue: QueueName
    size: int
    duration: float
    state: str = "PENDING"
    nodes: list[NodeName] = field(default_factory=list)
    begin_at: float = 0.0
    ends_at: float = 0.0
    restarts: int = 0
    limit: float = float("inf")
    started_at: float = 0.0
    admin_comment: str = ""

    def view(self, now: float) -> Job:
        held = self.state == "PENDING" and self.begin_at > now
        reason = "BeginTime" if held else "Resources" if self.state == "PENDING" else "None"
        return Job(
            self.id,
            self.state,
            reason,
            self.queue,
            "alice",
            tuple(sorted(self.nodes)),
            self.restarts,
            priority=self.id,
            account="physics" if self.id % 3 else "",
            started_at=self.started_at if self.nodes else 0.0,
        )


@dataclass
class SimSlurm:
    resume_timeout: float
    suspend_timeout: float
    suspend_time: float
    slurmd_timeout: float = 180.0
    epilog_s: float = 0.0
    """How long a job that has ended is cleaned up."""
    now: float = 0.0
    nodes: dict[NodeName, SimNode] = field(default_factory=dict)
    jobs: dict[JobId, SimJob] = field(default_factory=dict)
    reservations: dict[str, Reservation] = field(default_factory=dict)
    partitions: dict[QueueName, PartitionState] = field(default_factory=dict)

    def view(self) -> tuple[dict[NodeName, Node], dict[JobId, Job]]:
        nodes = {name: node.view() for name, node in sorted(self.nodes.items())}
        jobs = {i: j.view(self.now) for i, j in sorted(self.jobs.items()) if j.state not in ("COMPLETED", "CANCELLED")}
        return nodes, jobs

    def submit(self, queue: QueueName, size: int, duration: float, limit: float = float("inf")) -> JobId:
        job_id = JobId(len(self.jobs) + 1)
        self.jobs[job_id] = SimJob(job_id, queue, size, duration, limit=limit)
        return job_id

    def cancel(self, job_id: JobId) -> None:
        job = self.jobs[job_id]
        if job.state in ("PENDING", "CONFIGURING", "RUNNING"):
            self._release(job)
            job.state = "CANCELLED"

    # what time does

    def advance(self, now: float) -> None:
        self.now = now
        self.reservations = {name: one for name, one in self.reservations.items() if one.ends_at > now}
        for job in self.jobs.values():
            if job.state == "RUNNING" and job.ends_at <= now:
                self._clean_up(job)
                self._release(job)
                job.state = "COMPLETED"
        for node in self.nodes.values():
            self._advance_node(node, now)
        self._schedule(now)
        for job in self.jobs.values():
            if job.state == "CONFIGURING" and all(self.nodes[n].power == "up" for n in job.nodes):
                job.state, job.ends_at = "RUNNING", now + job.duration

    def _clean_up(self, job: SimJob) -> None:
        """On nodes that answer; its nodes take no other job meanwhile."""
        for name in job.nodes:
            node = self.nodes[name]
            node.is_completing = self.epilog_s > 0 and node.power == "up" and node.responds and not node.is_down
            node.completes_at = self.now + self.epilog_s

    def _advance_node(self, node: SimNode, now: float) -> None:
        if node.is_completing and (now >= node.completes_at or node.power != "up" or node.is_down or not node.responds):
            node.is_completing, node.idle_since = False, now
        if node.power == "powering-up" and now >= node.resume_deadline:
            self._requeue_on(node, now)
            node.power, node.is_down, node.reason = "down", True, "ResumeTimeout reached [slurm@2026]"
        elif node.power == "powering-down" and now >= node.suspend_deadline:
            node.power, node.is_down = "down", False
            node.is_power_down_asked, node.backing, node.address = False, "", ""
        elif node.power == "down" and node.job is not None and not node.is_down:
            self._power_up(node, now)
        elif node.power == "up" and not node.responds and not node.is_down:
            node.silent_since = now if node.silent_since is None else node.silent_since
            if now - node.silent_since >= self.slurmd_timeout:
                self._requeue_on(node, now)
                node.is_down, node.reason = True, "Not responding"
        elif node.is_completing:
            return
        elif node.power == "up" and node.job is None and (node.is_power_down_asked or not node.is_down):
            suspend_time = self.suspend_time if node.suspend_time is None else node.suspend_time
            idle_out = not node.is_static and now - node.idle_since >= suspend_time
            if node.is_power_down_asked or idle_out:
                self._suspend(node, now)

    def _suspend(self, node: SimNode, now: float) -> None:
        """`idle_on_node_suspend`: DOWN and a drain end here, the reason stays; a drain that comes later holds."""
        node.power, node.suspend_deadline = "powering-down", now + self.suspend_timeout
        node.is_down, node.is_draining = False, False
        node.is_silent = node.is_unavailable = False

    def _schedule(self, now: float) -> None:
        for job in self.jobs.values():
            is_open = self.partitions.get(job.queue, PartitionState.UP) is PartitionState.UP
            if job.state != "PENDING" or job.begin_at > now or not is_open:
                continue
            free = [n for n in self.nodes.values() if n.queue == job.queue and self._is_available(n)]
            free = [n for n in free if not self._is_kept(n, job)]
            free.sort(key=lambda n: (n.power != "up", n.power != "powering-up", n.name))
            if len(free) < job.size:
                continue
            job.nodes = [n.name for n in free[: job.size]]
            job.state, job.started_at = "CONFIGURING", float(int(now))
            for node in free[: job.size]:
                node.job = job.id

    @staticmethod
    def _is_available(node: SimNode) -> bool:
        return (
            node.job is None
            and not node.is_completing
            and not node.is_down
            and not node.is_draining
            and not node.is_power_down_asked
            and not node.is_unavailable
            and node.power in ("up", "down", "powering-up")
            and (node.power != "up" or node.responds)
        )

    def _is_kept(self, node: SimNode, job: SimJob) -> bool:
        """A reservation touches the time that the job may take."""
        return any(
            node.name in one.nodes and one.starts_at < self.now + job.limit and one.ends_at > self.now
            for one in self.reservations.values()
        )

    def _power_up(self, node: SimNode, now: float) -> None:
        node.power, node.resume_deadline, node.reason = "powering-up", now + self.resume_timeout, ""
        node.responds, node.silent_since = True, None
        node.is_silent = node.is_unavailable = False

    def _release(self, job: SimJob) -> None:
        for name in job.nodes:
            self.nodes[name].job = None
            self.nodes[name].idle_since = self.now
        job.nodes = []

    def _requeue_on(self, node: SimNode, now: float) -> None:
        if node.job is None:
            return
        job = self.jobs[node.job]
        self._release(job)
        job.state, job.begin_at, job.restarts = "PENDING", now + REQUEUE_HOLD_S, job.restarts + 1

    # what slurmd does

    def register(self, name: NodeName, instance: str) -> None:
        """A freshly booted slurmd reports for duty; slurmctld takes it only where it waits for one, DOWN or not."""
        node = self.nodes[name]
        if node.power == "powering-up":
            node.power, node.backing, node.responds, node.silent_since = "up", instance, True, None
            node.idle_since, node.is_down, node.address = self.now, False, f"address of {instance}"

    def silence(self, instance: str) -> None:
        for node in self.nodes.values():
            if node.backing == instance and node.power == "up":
                node.responds = False

    # what `scontrol update` does

    def set_down(self, name: NodeName, reason: str) -> None:
        node = self.nodes[name]
        self._requeue_on(node, self.now)
        node.is_down, node.reason = True, reason

    def power_down(self, name: NodeName) -> None:
        node = self.nodes[name]
        if node.is_down or node.power == "down":
            self._suspend(node, self.now)
        else:
            node.is_power_down_asked = True

    def power_down_force(self, name: NodeName) -> None:
        node = self.nodes[name]
        self._requeue_on(node, self.now)
        if node.power != "down":
            self._suspend(node, self.now)

    def power_up(self, name: NodeName) -> None:
        node = self.nodes[name]
        if node.power == "down" and not node.is_down:
            self._power_up(node, self.now)

    def return_to_service(self, name: NodeName) -> None:
        node = self.nodes[name]
        if node.power == "down":
            node.is_down, node.reason, node.is_silent = False, "", True

    def hold(self, name: NodeName, reason: str) -> None:
        node = self.nodes[name]
        if node.job is None and not node.is_down and node.power in ("down", "powering-down"):
            node.is_draining, node.reason = True, reason

    def release(self, name: NodeName) -> None:
        node = self.nodes[name]
        if node.is_draining:
            node.is_draining, node.reason = False, ""
            node.is_silent = node.power == "down"

    def reserve(self, wanted: Reservation) -> None:
        known = self.reservations.get(wanted.name)
        starts_at = max(wanted.starts_at, self.now)
        if known is not None and max(known.starts_at, wanted.starts_at) <= self.now:
            starts_at = known.starts_at
        self.reservations[wanted.name] = replace(wanted, starts_at=starts_at)

    def delete_reservation(self, name: str) -> None:
        self.reservations.pop(name, None)

    def explain_job(self, job_id: JobId, text: str) -> None:
        self.jobs[job_id].admin_comment = text

    def lift_requeue_hold(self, job_id: JobId) -> None:
        job = self.jobs[job_id]
        if job.state == "PENDING":
            job.begin_at = self.now

    def assign_address(self, name: NodeName, address: str) -> None:
        self.nodes[name].address = address

    def drain(self, name: NodeName, reason: str) -> None:
        node = self.nodes[name]
        node.is_draining, node.reason = True, reason

    def drain_if_up(self, name: NodeName, reason: str) -> None:
        if self.nodes[name].view().is_up:
            self.drain(name, reason)

    def resume(self, name: NodeName) -> None:
        node = self.nodes[name]
        node.is_silent = node.is_silent or (node.power == "down" and (node.is_draining or node.is_down))
        node.is_draining, node.is_down, node.reason = False, False, ""

    def reconfigure(self) -> None:
        self.partitions = dict.fromkeys(self.partitions, PartitionState.UP)
        for node in self.nodes.values():
            node.is_unavailable = node.is_silent and node.power == "down"
