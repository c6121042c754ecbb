"""DescribeInstanceTypes, as far as launch templates depend on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import ConfigurationError
from clustermgtd.model.ids import InstanceType

CALL_DEADLINE_S = 20.0
_TYPES_PER_CALL = 100


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """What EC2 says about one instance type."""

    name: InstanceType
    network_cards: int
    """Each takes an interface of its own."""
    efa_interfaces: int
    """0 where the type has no EFA."""
    cores: int
    threads_per_core: int
    """By default."""
    can_run_one_thread: bool
    """CpuOptions may say one thread per core; bare metal and types without hyper-threading cannot be told."""


async def instance_facts(session: AwsSession, names: Iterable[InstanceType]) -> Mapping[InstanceType, InstanceFacts]:
    """Facts about every one of `names`; one call per hundred of them.

    Raises:
        ConfigurationError: EC2 does not know one of them in this Region.
        TransientError: EC2 did not answer.
    """
    wanted = sorted(set(names))
    found: dict[InstanceType, InstanceFacts] = {}
    for start in range(0, len(wanted), _TYPES_PER_CALL):
        parameters = {"InstanceTypes": wanted[start : start + _TYPES_PER_CALL]}
        reply = await session.call("ec2", "describe_instance_types", parameters, CALL_DEADLINE_S)
        for item in reply.get("InstanceTypes", ()):
            facts = parse_facts(item)
            found[facts.name] = facts
    unknown = [name for name in wanted if name not in found]
    if unknown:
        raise ConfigurationError(f"EC2 says nothing about instance type {', '.join(unknown)} in {session.region}")
    return found


def parse_facts(item: Mapping[str, Any]) -> InstanceFacts:
    """One item of DescribeInstanceTypes' reply."""
    network, processor = item.get("NetworkInfo", {}), item["VCpuInfo"]
    v_cpus = int(processor["DefaultVCpus"])
    threads = int(processor.get("DefaultThreadsPerCore") or 1)
    efa = int(network.get("EfaInfo", {}).get("MaximumEfaInterfaces") or 1) if network.get("EfaSupported") else 0
    return InstanceFacts(
        name=InstanceType(item["InstanceType"]),
        network_cards=int(network.get("MaximumNetworkCards") or 1),
        efa_interfaces=efa,
        cores=int(processor.get("DefaultCores") or v_cpus // threads),
        threads_per_core=threads,
        can_run_one_thread=threads > 1 and 1 in processor.get("ValidThreadsPerCore", ()),
    )
