"""What there is to be had: pool capacity, vCPU quotas, subnet addresses."""

from __future__ import annotations

import heapq
import ipaddress
from collections import defaultdict

from clustermgtd.lab.ec2.catalog import type_spec
from clustermgtd.lab.ec2.records import ON_DEMAND, SPOT, Ec2Error
from clustermgtd.lab.ec2.scenario import PoolKey, Scenario, SubnetSpec

_RESERVED_ADDRESSES = 4
"""At the start of each subnet; the last address is kept too."""


class Capacity:
    """Instances per pool, and vCPUs per market."""

    def __init__(self, scenario: Scenario) -> None:
        self._limits = dict(scenario.pools)
        self._default = scenario.default_capacity
        self._not_offered = scenario.not_offered
        self._quotas = scenario.quotas
        self._used: dict[PoolKey, int] = defaultdict(int)
        self._vcpus: dict[str, int] = defaultdict(int)

    def set_limit(self, pool: PoolKey, count: int | None) -> None:
        """From now on the pool holds `count` instances in all; None is unlimited. What runs there stays."""
        self._limits[pool] = count

    def free(self, pool: PoolKey) -> float:
        """How many more instances the pool can give; may be infinite."""
        limit = self._limits.get(pool, self._default)
        return float("inf") if limit is None else max(0, limit - self._used[pool])

    def offers(self, instance_type: str, zone: str) -> bool:
        """Whether EC2 has the type in the zone at all."""
        return (instance_type, zone) not in self._not_offered

    def quota_free(self, instance_type: str, market: str, vcpus_set_aside: int = 0) -> float:
        """How many more instances of the type the market's vCPU quota allows; may be infinite."""
        quota = self._quotas.get(market)
        spec = type_spec(instance_type)
        if quota is None or spec is None:
            return float("inf")
        return max(0, quota - self._vcpus[market] - vcpus_set_aside) // spec.vcpus

    def take(self, pool: PoolKey) -> None:
        """Count one more instance."""
        self._count(pool, 1)

    def release(self, pool: PoolKey) -> None:
        """Count one instance less."""
        self._count(pool, -1)

    def _count(self, pool: PoolKey, step: int) -> None:
        spec = type_spec(pool[0])
        self._used[pool] += step
        self._vcpus[pool[2]] += step * (spec.vcpus if spec else 0)
        assert self._used[pool] >= 0

    def used(self) -> dict[PoolKey, int]:
        """Instances per pool, for people to read."""
        return {pool: count for pool, count in sorted(self._used.items()) if count}


class Subnet:
    """A block of addresses, given out from the lowest free one."""

    def __init__(self, id: str, spec: SubnetSpec) -> None:
        self.id = id
        self.spec = spec
        network = ipaddress.IPv4Network(spec.cidr)
        self._base = int(network.network_address)
        usable = network.num_addresses - _RESERVED_ADDRESSES - 1
        self.size = usable if spec.free_addresses is None else min(usable, spec.free_addresses)
        self._next = 0
        self._returned: list[int] = []
        self._named: set[int] = set()

    @property
    def free(self) -> int:
        """Addresses left."""
        return self.size - self._next + len(self._returned)

    def take(self) -> str:
        """An address; the caller has seen that there is one."""
        index = heapq.heappop(self._returned) if self._returned else self._next
        if index == self._next:
            self._next += 1
        assert index < self.size
        return str(ipaddress.IPv4Address(self._base + _RESERVED_ADDRESSES + index))

    def give_back(self, address: str) -> None:
        heapq.heappush(self._returned, int(ipaddress.IPv4Address(address)) - self._base - _RESERVED_ADDRESSES)


class Network:
    """The subnets of the Region."""

    def __init__(self, scenario: Scenario) -> None:
        self._subnets = {id: Subnet(id, spec) for id, spec in sorted(scenario.subnets.items())}

    def subnet(self, id: str) -> Subnet:
        """Raises: Ec2Error InvalidSubnetID.NotFound."""
        if id not in self._subnets:
            raise Ec2Error("InvalidSubnetID.NotFound", f"The subnet ID '{id}' does not exist")
        return self._subnets[id]

    def choose(self, subnet: str, zone: str) -> Subnet:
        """The subnet named, else the first one of the zone, else the first one.

        Raises:
            Ec2Error: there is no such subnet, or none in the zone, or the two contradict each other.
        """
        if subnet:
            found = self.subnet(subnet)
            if zone and found.spec.zone != zone:
                raise Ec2Error("InvalidParameterCombination", f"The subnet '{subnet}' is not in '{zone}'")
            return found
        for candidate in self._subnets.values():
            if not zone or candidate.spec.zone == zone:
                return candidate
        raise Ec2Error("InvalidParameterValue", f"Invalid availability zone: [{zone}]")

    def all(self) -> tuple[Subnet, ...]:
        return tuple(self._subnets.values())


def shortage_message(instance_type: str, zone: str, market: str) -> str:
    """EC2's words for InsufficientInstanceCapacity."""
    if market == SPOT:
        return "There is no Spot capacity available that matches your request."
    assert market == ON_DEMAND
    return (
        f"We currently do not have sufficient {instance_type} capacity in the Availability Zone you requested "
        f"({zone}). Our system will be working on provisioning additional capacity."
    )
