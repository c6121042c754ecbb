"""Identifier types, so that a node name cannot be passed where an instance id is meant."""

from __future__ import annotations

from typing import NewType

NodeName = NewType("NodeName", str)
"""Slurm's name of a node: `<queue>-<st|dy>-<compute resource>-<n>`."""
InstanceId = NewType("InstanceId", str)
"""EC2's id of an instance: `i-0123456789abcdef0`."""
LaunchToken = NewType("LaunchToken", str)
"""Idempotency token of one launch: EC2 `ClientToken`, tag of its instances, key of its record; at most 64 ASCII."""
JobId = NewType("JobId", int)
"""Slurm's numeric job id (an array task has its own)."""
QueueName = NewType("QueueName", str)
ComputeResourceName = NewType("ComputeResourceName", str)
SubnetId = NewType("SubnetId", str)
CapacityReservationId = NewType("CapacityReservationId", str)
"""EC2's id of a capacity reservation, which a capacity block is one kind of: `cr-0123456789abcdef0`."""
InstanceType = NewType("InstanceType", str)
