"""EC2's view of an instance."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from clustermgtd.model.ids import ComputeResourceName, InstanceId, InstanceType, LaunchToken, QueueName, SubnetId


class InstanceState(StrEnum):
    """EC2's six instance states, with EC2's spelling."""

    PENDING = "pending"
    RUNNING = "running"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance of ours at the moment of the observation.

    Fields that EC2 has not filled in yet are empty: reads lag behind launches, so an empty field is never ill health.
    """

    id: InstanceId
    state: InstanceState
    token: LaunchToken = LaunchToken("")
    """From our tag; empty if somebody launched it by other means."""
    launched_at: float = 0.0
    """EC2's LaunchTime, epoch seconds."""
    instance_type: InstanceType = InstanceType("")
    zone: str = ""
    subnet: SubnetId = SubnetId("")
    is_spot: bool = False
    private_address: str = ""
    state_reason: str = ""
    """EC2's code for the last state change, for example `Server.SpotInstanceTermination`."""
    queue: QueueName = QueueName("")
    compute_resource: ComputeResourceName = ComputeResourceName("")
    reservation: str = ""
    """The capacity reservation or capacity block that it runs in."""

    @property
    def is_live(self) -> bool:
        """It costs money or will again: everything but shutting-down and terminated."""
        return self.state not in _ENDED

    @property
    def is_stopped(self) -> bool:
        """Somebody stopped it, or EC2 did: it does nothing, and does not come back by itself."""
        return self.state in _STOPPED

    @property
    def is_usable(self) -> bool:
        """It runs or will."""
        return self.state in _USABLE


_USABLE = (InstanceState.PENDING, InstanceState.RUNNING)
_STOPPED = (InstanceState.STOPPING, InstanceState.STOPPED)
_ENDED = (InstanceState.SHUTTING_DOWN, InstanceState.TERMINATED)
