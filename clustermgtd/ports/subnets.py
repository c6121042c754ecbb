"""Subnets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from clustermgtd.model.ids import SubnetId
from clustermgtd.model.offering import Subnet


class SubnetSource(Protocol):
    """What EC2 knows about subnets. Free addresses lag behind launches."""

    async def subnets(self, ids: Iterable[SubnetId]) -> Mapping[SubnetId, Subnet]:
        """Those that exist.

        Raises:
            TransientError: EC2 did not answer.
            PermanentError: it may not be asked.
        """
        ...
