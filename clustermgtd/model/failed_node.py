"""A node that is given up because its instance is ill."""

from __future__ import annotations

from dataclasses import dataclass

from clustermgtd.model.action import Reason
from clustermgtd.model.ids import InstanceId, NodeName


@dataclass(frozen=True, slots=True)
class FailedNode:
    """Ill for longer than its kind of illness is waited for."""

    node: NodeName
    instance: InstanceId
    reason: Reason
    detail: str
    """For people."""
