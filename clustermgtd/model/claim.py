"""A node claim: "Slurm node X shall be backed by an instance", and the launch that a group of claims shares.

One launch is one CreateFleet call and one stored record, so that N nodes cost a constant number of writes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from clustermgtd.errors import IllegalTransitionError
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import ComputeResourceName, InstanceId, JobId, LaunchToken, NodeName, QueueName
from clustermgtd.model.job import JobTags
from clustermgtd.model.offering import Market, Offering


class ClaimState(StrEnum):
    """Each state is something that can be observed; the docstring of `TRANSITIONS` says where."""

    REQUESTED = "REQUESTED"
    LAUNCHED = "LAUNCHED"
    ASSIGNED = "ASSIGNED"
    READY = "READY"
    DRAINING = "DRAINING"
    TERMINATING = "TERMINATING"
    TERMINATED = "TERMINATED"
    LAUNCH_FAILED = "LAUNCH_FAILED"
    LOST = "LOST"

    __hash__ = str.__hash__  # Enum's own is Python code, and is run for every claim several times a tick


_S = ClaimState

TRANSITIONS: dict[ClaimState, frozenset[ClaimState]] = {
    # record only: the intent is stored, nothing else is known
    _S.REQUESTED: frozenset(
        {
            _S.LAUNCHED,  # the fleet reply, or EC2 showing the token, names an instance
            # the fleet answered without an instance for this node, or refused for good and shows none of a lost call
            _S.LAUNCH_FAILED,
        }
    ),
    # EC2 shows the token
    _S.LAUNCHED: frozenset(
        {
            _S.ASSIGNED,  # Slurm shows the instance's address (only where slurmd's registration does not set it)
            _S.READY,  # slurmd registered
            _S.TERMINATING,  # Slurm gave the node up before it was ready, or the reply left the node's gang incomplete
            _S.LOST,  # EC2 shows the instance ending, or has not shown it for longer than reads may lag
        }
    ),
    # Slurm has NodeAddr
    _S.ASSIGNED: frozenset(
        {
            _S.READY,  # slurmd registered
            _S.TERMINATING,  # as above
            _S.LOST,  # as above
        }
    ),
    # slurmd registered
    _S.READY: frozenset(
        {
            _S.DRAINING,  # a drain or a pending power-down was seen
            _S.TERMINATING,  # Slurm powers the node down, or wants it powered up anew
            _S.LOST,  # as above
        }
    ),
    # a drain or a pending power-down was seen
    _S.DRAINING: frozenset(
        {
            _S.READY,  # the drain was lifted
            _S.TERMINATING,  # Slurm powers the node down
            _S.LOST,  # as above
        }
    ),
    # termination is requested, and will be again until it is seen
    _S.TERMINATING: frozenset(
        {
            _S.TERMINATED,  # EC2 shows the instance shutting down, terminated or no more
        }
    ),
    # the fleet gave no instance; Slurm still waits for one
    _S.LAUNCH_FAILED: frozenset(
        {
            _S.TERMINATED,  # Slurm let go of the node, or the failure is one after which it is asked for again
        }
    ),
    # the instance went without us; Slurm may still count on it
    _S.LOST: frozenset(
        {
            _S.TERMINATED,  # Slurm let go of the node, or still powers it up: a new claim replaces this one
        }
    ),
    # closed: nothing is paid for, Slurm waits for nothing
    _S.TERMINATED: frozenset(),
}
"""The state machine: for each state, what it may become, and the observation that causes it."""

BACKED = frozenset({_S.LAUNCHED, _S.ASSIGNED, _S.READY, _S.DRAINING})
"""States in which an instance is expected to live, and its node agent may start slurmd under the node's name."""


@dataclass(frozen=True, slots=True)
class ClaimEvent:
    """One line of a claim's history."""

    state: ClaimState
    at: float
    """Epoch seconds."""
    cause: str


@dataclass(frozen=True, slots=True)
class NodeClaim:
    """One node's part in a launch."""

    node: NodeName
    state: ClaimState
    since: float
    """Epoch seconds at which it entered the state."""
    instance: InstanceId = InstanceId("")
    """Empty until a reply or an observation names it; never changes afterwards."""
    failure: FailureKind | None = None
    """Why the node gets no instance: set in LAUNCH_FAILED, and in TERMINATING if one came for a job that lacks
    others."""
    history: tuple[ClaimEvent, ...] = ()

    @property
    def is_open(self) -> bool:
        return self.state is not ClaimState.TERMINATED

    @property
    def holds_instance(self) -> bool:
        """An instance is, or may be, paid for on this node's behalf."""
        return self.state not in (ClaimState.TERMINATED, ClaimState.LAUNCH_FAILED, ClaimState.LOST)


def advance(claim: NodeClaim, state: ClaimState, now: float, cause: str) -> NodeClaim:
    """The claim in its next state.

    Raises:
        IllegalTransitionError: the table has no such edge; the message holds the claim's history.
    """
    if state not in TRANSITIONS[claim.state]:
        history = "; ".join(f"{event.at:.3f} {event.state} ({event.cause})" for event in claim.history)
        raise IllegalTransitionError(
            f"claim of {claim.node} ({claim.instance or 'no instance'}): {claim.state} -> {state} ({cause}) "
            f"is not an edge; history: {history or 'none'}"
        )
    return replace(claim, state=state, since=now, history=(*claim.history, ClaimEvent(state, now, cause)))


@dataclass(frozen=True, slots=True)
class LaunchTemplate:
    """A launch template version that exists in EC2."""

    id: str
    version: str


class AllocationStrategy(StrEnum):
    LOWEST_PRICE = "lowest-price"
    CAPACITY_OPTIMIZED = "capacity-optimized"
    PRICE_CAPACITY_OPTIMIZED = "price-capacity-optimized"
    PRIORITIZED = "prioritized"


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """Everything CreateFleet needs, so that a replay under the same token is the same request to the letter."""

    queue: QueueName
    compute_resource: ComputeResourceName
    template: LaunchTemplate
    offerings: tuple[Offering, ...]
    """Overrides, in order of preference; never empty."""
    market: Market
    strategy: AllocationStrategy
    count: int
    minimum: int
    """MinTargetCapacity: 1 takes what can be had, `count` is all or nothing; at most 1,000 if above 1."""
    max_price: float | None = None
    """US dollars an hour for one spot instance; None is the on-demand price."""
    jobs: tuple[JobId, ...] = ()
    """For whom, if known: tags and logs only."""
    job_tags: JobTags = JobTags()
    """What the instances say about the job; stored, so that a replay tags them alike."""
    tier: int = 0
    """Which of the compute resource's capacity tiers it asks in, from 0."""


@dataclass(frozen=True, slots=True)
class Gang:
    """Nodes of one compute resource that one job waits for."""

    job: JobId
    nodes: tuple[NodeName, ...]
    """Sorted."""
    takes_part: bool = False
    """Some of them are better than none; otherwise each gets an instance or none does."""
    is_kept: bool = False
    """What arrives waits for the rest, which other launches ask for; takes parts, and asks in one zone."""
    restarts: int = 0
    """Which of the job's attempts it is for."""
    is_top_up: bool = False
    """Of a job that is short already."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What EC2 said about one offering of a launch that came short."""

    offering: Offering
    kind: FailureKind
    code: str


@dataclass(frozen=True, slots=True)
class LaunchOutcome:
    """What the newest reply to a launch says about its offerings."""

    at: float
    """Epoch seconds."""
    obtained: tuple[tuple[Offering, int], ...] = ()
    """Instances by offering, sorted."""
    refusals: tuple[Refusal, ...] = ()
    """Only of kinds that are remembered."""
    failure: FailureKind | None = None
    """Set if the call was refused for good and an earlier one under the token has no known outcome."""
    cause: str = ""
    """With `failure`: EC2's code and sentence, for people."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One CreateFleet call and the claims that it serves: the unit that is stored."""

    token: LaunchToken
    request: LaunchRequest
    created_at: float
    claims: tuple[NodeClaim, ...]
    """Sorted by node name."""
    version: int = 0
    """The stored version this value was read from; 0 is not stored yet."""
    attempts: int = 0
    """Calls made under the token so far, lost replies included."""
    last_attempt_at: float = 0.0
    """Epoch seconds of the newest call, 0 before the first."""
    gangs: tuple[Gang, ...] = ()
    """In the order in which instances are given to them; nodes in none come last, one by one."""
    outcome: LaunchOutcome | None = None
    """None before the first reply."""

    @property
    def is_open(self) -> bool:
        return any(claim.is_open for claim in self.claims)

    @property
    def is_unresolved(self) -> bool:
        """The fate of the call is not known: no reply was recorded."""
        return any(claim.state is ClaimState.REQUESTED for claim in self.claims)

    @property
    def is_refused(self) -> bool:
        """A replay was refused for good, and the call before it may have launched: no call is made any more, and what
        that one gave may still show up."""
        return self.is_unresolved and self.outcome is not None and self.outcome.failure is not None

    @property
    def has_whole_gangs(self) -> bool:
        """Some job of several nodes takes all or none, so that who gets an instance depends on how many came."""
        return any(len(gang.nodes) > 1 and not gang.takes_part for gang in self.gangs)

    @property
    def instances(self) -> frozenset[InstanceId]:
        return frozenset(claim.instance for claim in self.claims if claim.instance)

    def with_claims(self, changed: dict[NodeName, NodeClaim]) -> Launch:
        """The same launch with some of its claims replaced."""
        return replace(self, claims=tuple(changed.get(claim.node, claim) for claim in self.claims))


@dataclass(frozen=True, slots=True)
class LaunchedInstance:
    """One instance of a fleet reply. EC2 gives no address yet."""

    id: InstanceId
    offering: Offering
    zone: str = ""


@dataclass(frozen=True, slots=True)
class LaunchError:
    """One entry of a fleet reply's `Errors`, attributed to its override."""

    offering: Offering
    code: str
    message: str = ""
    kind: FailureKind = FailureKind.UNKNOWN


@dataclass(frozen=True, slots=True)
class LaunchResult:
    """A fleet reply: instances, errors, both, or (HTTP 200) neither."""

    instances: tuple[LaunchedInstance, ...]
    errors: tuple[LaunchError, ...] = ()
    request_id: str = ""
    is_refusal: bool = False
    """EC2 refused the call as a whole: nothing is said about an earlier call under the same token."""


@dataclass(frozen=True, slots=True)
class TerminateResult:
    """Which instances EC2 agreed to end. An id that EC2 does not know counts as accepted: it is gone."""

    accepted: frozenset[InstanceId]
    refused: tuple[tuple[InstanceId, str], ...] = ()
    """Instance and EC2's code, for example `OperationNotPermitted` under termination protection."""
