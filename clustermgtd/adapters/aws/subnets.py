"""Zones and free addresses of subnets, from EC2."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.model.ids import SubnetId
from clustermgtd.model.offering import Subnet
from clustermgtd.ports.clock import Clock

CALL_DEADLINE_S = 20.0
BATCH_MAX = 200
"""Values that EC2 takes in one filter."""


class AwsSubnets:
    """The port `SubnetSource`."""

    def __init__(self, session: AwsSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def subnets(self, ids: Iterable[SubnetId]) -> Mapping[SubnetId, Subnet]:
        """One DescribeSubnets call per 200. A filter, because one unknown id would spoil a list of ids."""
        wanted = sorted(set(ids))
        found: dict[SubnetId, Subnet] = {}
        for start in range(0, len(wanted), BATCH_MAX):
            filters = [{"Name": "subnet-id", "Values": wanted[start : start + BATCH_MAX]}]
            read_at = self._clock.now()
            reply = await self._session.call("ec2", "describe_subnets", {"Filters": filters}, CALL_DEADLINE_S)
            for entry in reply.get("Subnets", ()):
                id = SubnetId(str(entry["SubnetId"]))
                found[id] = Subnet(id, str(entry["AvailabilityZone"]), int(entry["AvailableIpAddressCount"]), read_at)
        return found
