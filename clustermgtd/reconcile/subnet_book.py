"""The newest reading of the subnets that launches may use."""

from __future__ import annotations

from collections.abc import Mapping

from clustermgtd.model.ids import SubnetId
from clustermgtd.model.offering import Subnet
from clustermgtd.model.policy import Policy
from clustermgtd.ports.subnets import SubnetSource


class SubnetBook:
    """Empty until the first reading: offerings are then asked for in the order of the configuration."""

    def __init__(self, source: SubnetSource) -> None:
        self._source = source
        self._subnets: Mapping[SubnetId, Subnet] = {}

    def subnets(self) -> Mapping[SubnetId, Subnet]:
        """As read last."""
        return self._subnets

    async def read(self, policy: Policy) -> None:
        """Read them anew.

        Raises:
            ClustermgtdError: they could not be read; what was known before stays.
        """
        ids = {o.subnet for resource in policy.compute_resources.values() for o in resource.offerings}
        self._subnets = await self._source.subnets(ids)
