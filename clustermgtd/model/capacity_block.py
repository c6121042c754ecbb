"""Capacity blocks: instances that are bought in advance, for a time that begins and ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from clustermgtd.model.ids import CapacityReservationId, QueueName


class BlockState(StrEnum):
    """What EC2 says about a block, reduced to what decisions depend on."""

    SCHEDULED = "scheduled"
    """Not yet: paid or being paid, and not delivered; its times may have passed all the same."""
    ACTIVE = "active"
    ENDED = "ended"
    """Expired, cancelled or failed: nothing will be launched there any more."""


@dataclass(frozen=True, slots=True)
class CapacityBlock:
    """One block as EC2 described it. Times in epoch seconds."""

    id: CapacityReservationId
    state: BlockState
    starts_at: float
    ends_at: float
    """EC2 begins to end instances half an hour before."""
    total: int = 0
    """Instances."""
    available: int = 0


@dataclass(frozen=True, slots=True)
class BlockReading:
    """What EC2 knew about the blocks that cluster.yaml names, at one moment."""

    blocks: Mapping[CapacityReservationId, CapacityBlock] = field(default_factory=dict)
    asked: frozenset[CapacityReservationId] = frozenset()
    """Those that EC2 was asked about; of them it knows no block that is not in `blocks`."""
    read_at: float = 0.0
    """Epoch seconds before the question."""


class BlockPhase(StrEnum):
    """Where a block is in its life, as far as the daemon knows."""

    UNREAD = "unread"
    """EC2 has not been asked: hands off."""
    NONE = "none"
    """EC2 knows no such block."""
    WAITING = "waiting"
    """It has not started."""
    STARTING = "starting"
    """By the clock it has started, and EC2 has not been asked since: wait for the answer."""
    ACTIVE = "active"
    DRAINING = "draining"
    """It ends soon: what runs goes on, nothing new starts."""
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class BlockStatus:
    """One block of the configuration at the moment of a decision. Times in epoch seconds, 0 where EC2 knows none."""

    id: CapacityReservationId
    queue: QueueName
    phase: BlockPhase
    starts_at: float = 0.0
    drains_at: float = 0.0
    ends_at: float = 0.0
