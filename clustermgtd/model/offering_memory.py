"""What EC2 refused lately: bans on offerings, each of which ends, shared by all queues and stored with the claims."""

from __future__ import annotations

from dataclasses import dataclass

from clustermgtd.model.failure import FailureKind
from clustermgtd.model.gang import ShortGang
from clustermgtd.model.ids import ComputeResourceName, LaunchToken, NodeName, QueueName


@dataclass(frozen=True, slots=True, order=True)
class BanScope:
    """How far a refusal reaches. An empty field does not narrow it."""

    kind: FailureKind
    market: str = ""
    instance_type: str = ""
    """An instance type; under QUOTA the class of types that share a quota."""
    place: str = ""
    """A zone, or a subnet where the zone is not known or the subnet itself is meant; under CONFIGURATION the compute
    resource as `queue/name`."""
    pool: str = ""
    """Under CAPACITY: the reservation or placement group that was asked; empty is everybody's capacity."""


@dataclass(frozen=True, slots=True)
class Ban:
    """Until `until` nothing is asked for in the scope; after it, one small launch at a time until one succeeds."""

    scope: BanScope
    since: float
    """Epoch seconds of the refusal."""
    until: float
    """Epoch seconds; never changes while the ban is active."""
    level: int = 0
    """How many refusals in a row came after the ban before had ended."""
    count: int = 1
    """The smallest number of instances asked for at once that was refused: fewer may still be had."""
    code: str = ""
    """EC2's own."""
    configuration: str = ""
    """`ComputeResourcePolicy.configuration` of the one that was refused: once it changed, the ban is void."""

    def is_active(self, now: float) -> bool:
        return now < self.until


@dataclass(frozen=True, slots=True)
class Fall:
    """A compute resource that went on to a lower capacity tier because the higher ones had nothing.

    Until `until`, demands of at least `count` instances begin in that tier; afterwards they try the higher ones again.
    """

    queue: QueueName
    compute_resource: ComputeResourceName
    tier: int
    count: int
    since: float
    """Epoch seconds."""
    until: float
    """Epoch seconds; never changes while it holds."""
    level: int = 0
    """How many times in a row it fell again when the time was over."""
    configuration: str = ""
    """`ComputeResourcePolicy.configuration` at that time: another one has other tiers."""
    cause: str = ""
    """Why the higher tiers had nothing, for people."""

    def is_active(self, now: float) -> bool:
        return now < self.until


@dataclass(frozen=True, slots=True)
class OfferingMemory:
    """All of it, as stored."""

    bans: tuple[Ban, ...] = ()
    """Sorted by scope, one for each."""
    learned: tuple[LaunchToken, ...] = ()
    """Open launches whose outcome is in the bans already, sorted."""
    held: tuple[NodeName, ...] = ()
    """Nodes that we keep out of scheduling, sorted: a mark of ours is known even if Slurm drops its reason."""
    short: tuple[ShortGang, ...] = ()
    """Jobs that came short and keep what arrived, sorted."""
    falls: tuple[Fall, ...] = ()
    """Sorted by compute resource and tier, one for each."""
    version: int = 0
    """The stored version this value was read from; 0 is not stored yet."""

    def next_end(self, now: float) -> float:
        """Epoch seconds at which the next active ban ends; infinite if none is active."""
        return min((ban.until for ban in self.bans if ban.is_active(now)), default=float("inf"))
