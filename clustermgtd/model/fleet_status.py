"""Whether the cluster, or a queue of it, shall run: what operators ask for and how far the daemon has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from clustermgtd.errors import PermanentError
from clustermgtd.model.ids import QueueName

CLUSTER = QueueName("")
"""Stands for the whole cluster where a queue may be named."""


class FleetStatus(StrEnum):
    """ParallelCluster's words. Operators write the two requests, the daemon everything else."""

    RUNNING = "RUNNING"
    STOP_REQUESTED = "STOP_REQUESTED"
    STOPPING = "STOPPING"
    """Nothing is launched, nodes go."""
    STOPPED = "STOPPED"
    """Nothing is launched and no instance is left, but for nodes that carry somebody's mark."""
    START_REQUESTED = "START_REQUESTED"
    STARTING = "STARTING"
    """Partitions are being opened."""
    PROTECTED = "PROTECTED"
    """It runs, but nothing is launched for some compute resource whose nodes do not come up."""


_S = FleetStatus

REQUESTS: Mapping[FleetStatus, frozenset[FleetStatus]] = {
    _S.RUNNING: frozenset({_S.STOP_REQUESTED}),
    _S.PROTECTED: frozenset(
        {
            _S.STOP_REQUESTED,
            _S.START_REQUESTED,  # the operator mended what kept nodes from coming up
        }
    ),
    # a stop that is under way may be asked for again with other options, or taken back
    _S.STOP_REQUESTED: frozenset({_S.STOP_REQUESTED, _S.START_REQUESTED}),
    _S.STOPPING: frozenset({_S.STOP_REQUESTED, _S.START_REQUESTED}),
    _S.STOPPED: frozenset({_S.START_REQUESTED}),
    _S.START_REQUESTED: frozenset({_S.STOP_REQUESTED}),
    _S.STARTING: frozenset({_S.STOP_REQUESTED}),
}
"""What an operator may ask for, by status. What is not listed is refused."""

PROGRESS: Mapping[FleetStatus, frozenset[FleetStatus]] = {
    _S.RUNNING: frozenset({_S.PROTECTED}),  # nodes of some compute resource fail to come up, again and again
    _S.PROTECTED: frozenset({_S.RUNNING}),  # one came up, or the compute resource is gone from the configuration
    _S.STOP_REQUESTED: frozenset({_S.STOPPING}),  # the daemon has read it
    _S.STOPPING: frozenset({_S.STOPPED}),  # every node is powered down and no claim holds an instance
    _S.STOPPED: frozenset({_S.STOPPING}),  # an instance was found all the same: by hand, or a late reply
    _S.START_REQUESTED: frozenset({_S.STARTING}),  # the daemon has read it
    _S.STARTING: frozenset({_S.RUNNING}),  # Slurm shows the partitions open
}
"""What the daemon makes of a status, and the observation that causes it."""

STOPS = frozenset({_S.STOP_REQUESTED, _S.STOPPING, _S.STOPPED})
"""While it is one of these nothing is launched."""


class FleetRequestError(PermanentError):
    """What an operator asked for makes no sense in the present status; the message says why."""


@dataclass(frozen=True, slots=True)
class StopOptions:
    """How a stop treats jobs."""

    when_idle: bool = False
    """Running jobs may end first; otherwise they are requeued, or lost if they may not be."""
    kills_jobs: bool = False
    """Running jobs are cancelled."""


@dataclass(frozen=True, slots=True)
class ScopeStatus:
    """The status of the cluster or of one queue."""

    queue: QueueName
    """`CLUSTER` for all of it."""
    status: FleetStatus
    since: float
    """Epoch seconds."""
    options: StopOptions = StopOptions()
    """Of the last stop."""
    by: str = ""
    """Who asked last, for people."""


@dataclass(frozen=True, slots=True)
class FleetRecord:
    """All of it, as stored. Operators and the daemon write it, each on condition that the other did not meanwhile."""

    scopes: tuple[ScopeStatus, ...] = ()
    """Sorted by queue, the cluster first; one that is not listed runs."""
    closed: tuple[QueueName, ...] = ()
    """Partitions that we closed or are about to close, sorted: no others are ever opened by us."""
    confirmed_until: float = 0.0
    """Epoch seconds until which involuntary terminations know no limit, because an operator looked at them."""
    version: int = 0
    """The stored version this value was read from; 0 is not stored yet."""

    def scope(self, queue: QueueName = CLUSTER) -> ScopeStatus:
        """What was asked for this scope itself; see `is_stopped` for what is true for a queue."""
        for scope in self.scopes:
            if scope.queue == queue:
                return scope
        return ScopeStatus(queue, FleetStatus.RUNNING, 0.0)

    def is_stopped(self, queue: QueueName) -> bool:
        """Nothing shall run in the queue: it, or the cluster, is stopped or about to be."""
        return bool(self.scopes) and (self.scope().status in STOPS or self.scope(queue).status in STOPS)

    def stop_options(self, queue: QueueName) -> StopOptions:
        """How the queue's jobs are treated; of two stops the harder one counts."""
        options = [s.options for s in (self.scope(), self.scope(queue)) if s.status in STOPS]
        return StopOptions(
            when_idle=all(o.when_idle for o in options),
            kills_jobs=any(o.kills_jobs for o in options if not o.when_idle),
        )

    def with_scope(self, scope: ScopeStatus) -> FleetRecord:
        """The same record with one scope replaced."""
        others = [known for known in self.scopes if known.queue != scope.queue]
        return replace(self, scopes=tuple(sorted([*others, scope], key=lambda s: s.queue)))

    def effective(self, queue: QueueName) -> FleetStatus:
        """What is true for a queue: the cluster's status counts where it is not simply running."""
        cluster = self.scope().status
        return self.scope(queue).status if cluster in (_S.RUNNING, _S.PROTECTED) else cluster

    @property
    def is_settled(self) -> bool:
        """Nothing was stopped, nothing is closed by us: partitions need not be looked at."""
        return not self.closed and all(s.status in (_S.RUNNING, _S.PROTECTED) for s in self.scopes)

    @property
    def is_moving(self) -> bool:
        """Some stop or start is not done."""
        return any(s.status not in (_S.RUNNING, _S.PROTECTED, _S.STOPPED) for s in self.scopes)


def requested(record: FleetRecord, wanted: ScopeStatus) -> FleetRecord:
    """The record after an operator's request.

    Raises:
        FleetRequestError: the status does not allow it.
    """
    present = record.scope(wanted.queue)
    name = f"queue {wanted.queue}" if wanted.queue else "the cluster"
    if wanted.queue and record.scope().status in STOPS:
        raise FleetRequestError(
            f"{name} cannot be {_VERBS[wanted.status]}: the whole cluster is {record.scope().status}; start it first"
        )
    if wanted.status not in REQUESTS[present.status]:
        raise FleetRequestError(f"{name} cannot be {_VERBS[wanted.status]}: it is {present.status} already")
    return record.with_scope(wanted)


_VERBS = {FleetStatus.STOP_REQUESTED: "stopped", FleetStatus.START_REQUESTED: "started"}


def advanced(scope: ScopeStatus, status: FleetStatus, now: float) -> ScopeStatus:
    """The scope after one step of the daemon. An edge that the table lacks is a bug of ours."""
    assert status in PROGRESS[scope.status], f"fleet status {scope.queue or 'cluster'}: {scope.status} -> {status}"
    return replace(scope, status=status, since=now)
