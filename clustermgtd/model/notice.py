"""What AWS announced about instances and reservations, whichever way the news came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from clustermgtd.model.ids import InstanceId
from clustermgtd.model.instance import InstanceState


class NoticeKind(StrEnum):
    """What it is about."""

    SPOT_INTERRUPTION = "spot-interruption"
    """EC2 takes the spot instance back."""
    REBALANCE = "rebalance"
    """The spot instance is at elevated risk of interruption: advice, nothing happens by itself."""
    STATE_CHANGE = "state-change"
    """The instance left `running`, or is about to: stopping, stopped, shutting-down or terminated."""
    SCHEDULED_EVENT = "scheduled-event"
    """Maintenance or retirement at a known time."""
    RESERVATION_INTERRUPTION = "reservation-interruption"
    """EC2 takes the instance back because its capacity reservation is interruptible."""
    RESERVATION_ENDING = "reservation-ending"
    """A capacity block ends; EC2 ends what runs in it before."""
    FLEET_TERMINATION = "fleet-termination"
    """A fleet that somebody else maintains ends the instance."""
    IMPAIRED = "impaired"
    """A status check of EC2 fails."""


class NoticeAction(StrEnum):
    """What EC2 does to the instance."""

    TERMINATE = "terminate"
    STOP = "stop"
    HIBERNATE = "hibernate"
    """It begins at once, without the two minutes of other interruptions."""
    REBOOT = "reboot"
    MAINTENANCE = "maintenance"
    """Network or power may be lost for a while."""
    NONE = "none"
    """Nothing by itself: advice, or a symptom."""


class NoticeSource(StrEnum):
    """Which way it came."""

    QUEUE = "queue"
    """EventBridge, by way of SQS."""
    STATUS = "status"
    """DescribeInstanceStatus."""
    NODE_AGENT = "node-agent"
    """The instance's own metadata."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One announcement, about one matter. True when it was made; a newer one about the same matter replaces it."""

    id: str
    """The announcement's own, for logs: an event's id, or EC2's id of a scheduled event."""
    kind: NoticeKind
    announced_at: float
    """Epoch seconds, by AWS's clock. Of a failing status check: since when it fails."""
    source: NoticeSource
    instances: tuple[InstanceId, ...] = ()
    reservation: str = ""
    """A capacity reservation's id: it concerns every instance that runs in it."""
    action: NoticeAction = NoticeAction.NONE
    effective_at: float | None = None
    """When EC2 acts, epoch seconds; None if that was not said."""
    state: InstanceState | None = None
    """Of a state change: the new one."""
    matter: str = ""
    """Tells matters of one kind apart, where an instance can have several: an event's id, a status check's name."""
    is_over: bool = False
    """Called off, or done with: the matter is closed."""
    detail: str = ""
    """For people."""

    @property
    def order(self) -> tuple[float, int]:
        """Grows with news about one matter. AWS's times have whole seconds, so states break ties."""
        return (self.announced_at, _PROGRESS.get(self.state, 0) + self.is_over)


_PROGRESS: Mapping[InstanceState | None, int] = {
    InstanceState.STOPPING: 1,
    InstanceState.STOPPED: 2,
    InstanceState.SHUTTING_DOWN: 3,
    InstanceState.TERMINATED: 4,
}

Notices = Mapping[InstanceId, tuple[Notice, ...]]
"""By instance, each sorted by kind and matter; no instance without a notice."""
