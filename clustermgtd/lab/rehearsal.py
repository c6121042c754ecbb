"""`clustermgtd lab rehearse`: what goes wrong in a cluster's life, played on real Slurm against the imagined Region.

Each scenario takes a queue of the given cluster.yaml, does something to it, and checks what users would notice. An
operator's drain and maintenance reservation lie on two nodes all the while, and must be there untouched at the end.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from clustermgtd import settings
from clustermgtd.errors import ClustermgtdError
from clustermgtd.lab import lifecycle
from clustermgtd.lab.client import LabClient
from clustermgtd.lab.cluster_files import Chosen
from clustermgtd.lab.folder import LabFolder
from clustermgtd.lab.rehearsal_report import Result, word
from clustermgtd.lab.stage import DeadlineError, Stage

CLUSTER = Path(__file__).with_name("rehearsal.yaml")
UNREADABLE_S = 120.0
_OPERATORS_REASON = "bad dimm (operator)"
_RESERVATION = "operators-window"


class NotApplicableError(ClustermgtdError):
    """The cluster has nothing that this scenario is about."""


class NotAsExpectedError(ClustermgtdError):
    """What users would notice is wrong; the message says how."""


@dataclass(frozen=True, slots=True)
class Queue:
    """What a scenario needs to know of a queue."""

    name: str
    is_spot: bool
    compute_resources: Mapping[str, tuple[str, ...]]
    """Name -> instance types."""
    dynamic: int
    """Dynamic nodes."""


@dataclass
class Rehearsal:
    """One cluster in one lab."""

    stage: Stage
    queues: Sequence[Queue]
    figures: dict[str, float] = field(default_factory=dict)
    """Of the scenario that is being played: name with unit -> value."""

    def queue(self, what: str, fits: Callable[[Queue], bool]) -> Queue:
        """The first queue that fits.

        Raises:
            NotApplicableError: there is none.
        """
        for queue in self.queues:
            if fits(queue):
                return queue
        raise NotApplicableError(f"no queue with {what}")

    def expect(self, holds: bool, what: str) -> None:
        """Raises NotAsExpectedError with `what` unless it holds."""
        if not holds:
            raise NotAsExpectedError(what)

    def running_job(self, queue: Queue, size: int, script: str = "sleep 600", *options: str) -> tuple[int, list[str]]:
        """A job that runs on `size` nodes of its own, and their names."""
        job = self.stage.submit(script, f"--partition={queue.name}", f"--nodes={size}", "--exclusive", *options)
        self.stage.wait_for_job(job, "RUNNING")
        return job, self.stage.nodes_of(job)

    def launched_since(self, before: set[str]) -> list[str]:
        """Instances that the Region has and did not have."""
        return sorted({record["id"] for record in self.stage.ec2()["instances"]} - before)

    def instances(self) -> set[str]:
        return {record["id"] for record in self.stage.ec2()["instances"]}

    def end(self, job: int) -> None:
        """Cancel a job and wait until its nodes are gone."""
        self.stage.run("scancel", str(job))
        self.wait_until_gone()

    def wait_until_gone(self) -> None:
        """Until no instance, process tree or open claim is left."""

        def is_gone() -> bool:
            status = self.stage.status()
            return not (status.live_instances or status.site["instance_pids"] or status.site["open_claims"])

        self.stage.wait_until(is_gone, 90.0, 0.5)


def _spot_warning(rehearsal: Rehearsal) -> None:
    """Three of a running job's eight spot instances are announced to be taken."""
    stage = rehearsal.stage
    queue = rehearsal.queue("spot instances and 12 nodes", lambda q: q.is_spot and q.dynamic >= 12)
    job, nodes = rehearsal.running_job(queue, 8)
    backing, before = stage.backing(), rehearsal.instances()
    warned = [backing[node] for node in nodes[:3]]
    started = time.monotonic()
    for instance in warned:
        stage.control("spot-reclaim", instance_id=instance)
    stage.wait_until(lambda: rehearsal.launched_since(before), 60, 0.05)
    rehearsal.figures["message to replacement's launch, s"] = _since(started)
    stage.wait_until(lambda: stage.job_fact(job, "Restarts") == "1" and stage.jobs(job)[0].state == "RUNNING", 90, 0.1)
    rehearsal.figures["message to job running again, s"] = _since(started)
    rehearsal.expect(_since(started) < 120, "the job ran again only after the instances were taken")
    stage.wait_until(lambda: not set(warned) & _live(rehearsal), 60)
    rehearsal.expect(stage.jobs(job)[0].state == "RUNNING", "the job did not outlive the warned instances")
    rehearsal.expect(not set(stage.nodes_of(job)) & set(nodes[:3]), "the job was put on a leaving node again")
    rehearsal.end(job)


def _killed_instance(rehearsal: Rehearsal) -> None:
    """An instance dies under a job, without a warning."""
    stage = rehearsal.stage
    queue = rehearsal.queue("4 dynamic nodes", lambda q: q.dynamic >= 4)
    job, nodes = rehearsal.running_job(queue, 2)
    victim, before = stage.backing()[nodes[0]], rehearsal.instances()
    started = time.monotonic()
    stage.control("kill", instance_id=victim)
    stage.wait_until(lambda: rehearsal.launched_since(before), 90, 0.05)
    rehearsal.figures["death to replacement's launch, s"] = _since(started)
    stage.wait_until(lambda: stage.job_fact(job, "Restarts") == "1" and stage.jobs(job)[0].state == "RUNNING", 90, 0.1)
    rehearsal.figures["death to job running again, s"] = _since(started)
    rehearsal.end(job)


def _shortage(rehearsal: Rehearsal) -> None:
    """EC2 has nothing of the type that Slurm chose; another compute resource of the queue has."""
    stage = rehearsal.stage
    queue = rehearsal.queue(
        "two on-demand compute resources of different types",
        lambda q: not q.is_spot and len({types[0] for types in q.compute_resources.values()}) > 1,
    )
    short = next(iter(queue.compute_resources.values()))
    for kind in short:
        _set_capacity(stage, kind, 0)
    try:
        seen = stage.log_size()
        job = stage.submit("sleep 600", f"--partition={queue.name}", "--nodes=2", "--exclusive")
        stage.wait_until(lambda: stage.events("launch_short", since=seen), 60, 0.05)
        started = time.monotonic()
        stage.wait_until(lambda: stage.events("launch_done", since=seen), 60, 0.05)
        rehearsal.figures["refusal to alternative's launch, s"] = _since(started)
        rehearsal.expect(_since(started) < 10, "the alternative was launched late")
        stage.wait_for_job(job, "RUNNING")
    finally:
        for kind in short:
            _set_capacity(stage, kind, None)
    rehearsal.end(job)


def _unreadable(rehearsal: Rehearsal) -> None:
    """EC2 cannot be read for two minutes while a job runs and Slurm powers idle nodes down."""
    stage = rehearsal.stage
    queue = rehearsal.queue("4 dynamic nodes", lambda q: q.dynamic >= 4)
    job, nodes = rehearsal.running_job(queue, 2)
    idle = stage.submit("true", f"--partition={queue.name}", "--nodes=1", "--exclusive")
    stage.wait_for_job(idle)
    seen = stage.log_size()
    stage.control("throttle", kind="request", bucket="non-mutating", size=0)
    try:
        # a call that was made before may still be answered
        stage.wait_until(lambda: stage.events("tick_failed", since=seen), 60)
        seen, live = stage.log_size(), _live(rehearsal)
        time.sleep(UNREADABLE_S)
        rehearsal.figures["seconds without EC2"] = UNREADABLE_S
        rehearsal.figures["ticks that decided nothing"] = float(len(stage.events("tick_failed", since=seen)))
        ended = live - _live(rehearsal)
        rehearsal.expect(not ended, f"instances ended meanwhile: {sorted(ended)}")
        rehearsal.expect(not stage.events("instances_terminating", since=seen), "terminations were asked for")
    finally:
        stage.control("throttle", kind="request", bucket="non-mutating")
    rehearsal.expect(stage.jobs(job)[0].state == "RUNNING", "the job did not go on")
    rehearsal.expect(stage.nodes_of(job) == nodes, "the job moved")
    rehearsal.end(job)


def _bad_boots(rehearsal: Rehearsal) -> None:
    """A broken image: twelve instances start and never become nodes. The operator mends it and starts the queue."""
    stage = rehearsal.stage
    queue = rehearsal.queue(
        "one compute resource of 13 dynamic nodes", lambda q: q.dynamic >= 13 and len(q.compute_resources) == 1
    )
    broken = stage.folder.path / "bad-image"
    broken.touch()
    started, before = time.monotonic(), len(rehearsal.instances())
    try:
        job = stage.submit("true", f"--partition={queue.name}", "--nodes=12", "--exclusive")
        stage.wait_until(lambda: _status(stage, queue) == "PROTECTED", 120, 0.5)
        rehearsal.figures["submission to protected, s"] = _since(started)
        launched = len(rehearsal.instances()) - before
        rehearsal.figures["instances launched until then"] = float(launched)
        time.sleep(10)
        rehearsal.expect(len(rehearsal.instances()) - before == launched, "a protected queue was launched for")
    finally:
        broken.unlink()
    started = time.monotonic()
    _fleet(stage, "start", "--queue", queue.name)
    stage.wait_for_job(job)
    rehearsal.figures["start to job's end, s"] = _since(started)
    rehearsal.expect(_status(stage, queue) == "RUNNING", "the queue stays protected")
    rehearsal.wait_until_gone()


def _fleet_stop(rehearsal: Rehearsal) -> None:
    """The operator stops the cluster under a running job: requeued and run again after a start, or let end first."""
    stage = rehearsal.stage
    queue = rehearsal.queue("2 dynamic nodes", lambda q: q.dynamic >= 2)
    job, _ = rehearsal.running_job(queue, 1, "sleep 15", "--requeue")
    started = time.monotonic()
    _fleet(stage, "stop")
    rehearsal.figures["stop that requeues, s"] = _since(started)
    rehearsal.expect(not _live(rehearsal), "instances are left after a stop")
    rehearsal.expect(stage.jobs(job)[0].state == "PENDING", "the job was not requeued")
    _fleet(stage, "start")
    stage.wait_for_job(job)
    rehearsal.wait_until_gone()
    job, _ = rehearsal.running_job(queue, 1, "sleep 10")
    started = time.monotonic()
    _fleet(stage, "stop", "--when-idle")
    rehearsal.figures["stop that lets a job of 10 s end, s"] = _since(started)
    rehearsal.expect(stage.jobs(job)[0].state == "COMPLETED", "the job did not end before the stop")
    rehearsal.expect(not _live(rehearsal), "instances are left after a stop")
    _fleet(stage, "start")


SCENARIOS: Mapping[str, Callable[[Rehearsal], None]] = {
    "spot-warning": _spot_warning,
    "killed-instance": _killed_instance,
    "shortage": _shortage,
    "ec2-unreadable": _unreadable,
    "bad-boots": _bad_boots,
    "fleet-stop": _fleet_stop,
}


def rehearse(folder: LabFolder, config: Path, names: Sequence[str], tell: Callable[[str], None]) -> list[Result]:
    """Play scenarios one after another in a lab of their own; one more result is the operator's.

    Raises:
        ConfigurationError: the lab does not come up with this cluster.yaml.
    """
    queues = _queues(config)
    lifecycle.up(folder, Chosen(config), tell, is_mine=True)
    try:
        stage = Stage(folder, LabClient(folder))
        with _operator(stage) as operators:
            results = [_play(name, Rehearsal(stage, queues), tell) for name in names]
            results.append(_untouched(stage, operators))
        results.append(_names_resolved(folder))
    finally:
        lifecycle.down(folder)
    return results


def _play(name: str, rehearsal: Rehearsal, tell: Callable[[str], None]) -> Result:
    tell(f"{name}: {(SCENARIOS[name].__doc__ or '').strip()}")
    started = time.monotonic()
    passed: bool | None = True
    note = ""
    try:
        SCENARIOS[name](rehearsal)
    except NotApplicableError as error:
        passed, note = None, str(error)
    except (NotAsExpectedError, DeadlineError) as error:
        passed, note = False, str(error)
        for job in rehearsal.stage.client.jobs():
            if job.state in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING"):
                rehearsal.stage.run("scancel", str(job.id))
    result = Result(name, passed, note, rehearsal.figures, _since(started))
    tell(f"{name}: {word(result)} after {result.seconds:.0f} s {note}".rstrip())
    return result


@contextmanager
def _operator(stage: Stage) -> Iterator[list[str]]:
    """Two nodes, the last of all, that are an operator's: one drained, one in a maintenance reservation."""
    nodes = sorted(line.split()[0] for line in stage.run("sinfo", "-hN", "-o", "%N").splitlines())
    drained, reserved = nodes[-1], nodes[-2]
    stage.run("scontrol", "update", f"NodeName={drained}", "State=DRAIN", f"Reason={_OPERATORS_REASON}")
    stage.run(
        "scontrol", "create", "reservation", f"ReservationName={_RESERVATION}", f"Nodes={reserved}", "StartTime=now",
        "Duration=UNLIMITED", "Users=root", "Flags=MAINT",
    )  # fmt: skip
    try:
        yield [drained, reserved]
    finally:
        stage.run("scontrol", "delete", f"ReservationName={_RESERVATION}")
        stage.run("scontrol", "update", f"NodeName={drained}", "State=RESUME")


def _untouched(stage: Stage, nodes: list[str]) -> Result:
    drained, reserved = nodes
    facts = stage.run("scontrol", "-o", "show", "node", drained)
    window = stage.run("scontrol", "-o", "show", "reservation", _RESERVATION)
    wrong = [
        *([] if "DRAIN" in facts and _OPERATORS_REASON in facts else [f"the drain of {drained}: {facts}"]),
        *([] if f"Nodes={reserved}" in window else [f"the reservation: {window}"]),
    ]
    return Result("operators-marks", not wrong, "; ".join(wrong), {}, 0.0)


def _names_resolved(folder: LabFolder) -> Result:
    count = folder.slurmctld_log.read_text(errors="replace").count("getaddrinfo() failed")
    note = f"slurmctld met {count} names that do not resolve: {folder.slurmctld_log}" if count else ""
    return Result("names-resolve", not count, note, {}, 0.0)


def _queues(config: Path) -> list[Queue]:
    loaded = settings.load(config)
    dynamic: dict[str, int] = {}
    for nodes in loaded.nodes:
        dynamic[nodes.key.queue] = dynamic.get(nodes.key.queue, 0) + len(nodes.dynamic)
    return [
        Queue(
            queue.name,
            queue.capacity_type == "SPOT",
            {resource.name: tuple(resource.instance_types) for resource in queue.compute_resources},
            dynamic.get(queue.name, 0),
        )
        for queue in loaded.scheduling.slurm_queues
    ]


def _live(rehearsal: Rehearsal) -> set[str]:
    records = rehearsal.stage.ec2()["instances"]
    return {record["id"] for record in records if record["state"] not in ("shutting-down", "terminated")}


def _set_capacity(stage: Stage, instance_type: str, capacity: int | None) -> None:
    for zone in stage.ec2()["zones"]:
        stage.control("set-capacity", instance_type=instance_type, zone=zone, market="on-demand", capacity=capacity)


def _fleet(stage: Stage, *argv: str) -> None:
    config = str(stage.folder.path / "cluster.yaml")
    stage.run("clustermgtctl", "fleet", *argv, "--wait", "--timeout", "90", "--config", config, timeout_s=120.0)


def _status(stage: Stage, queue: Queue) -> str:
    config = str(stage.folder.path / "cluster.yaml")
    said = json.loads(stage.run("clustermgtctl", "fleet", "status", "--config", config, "--output", "json"))
    return next(str(known["status"]) for known in said["queues"] if known["queue"] == queue.name)


def _since(started: float) -> float:
    return time.monotonic() - started
