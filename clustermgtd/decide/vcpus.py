"""vCPUs by quota: what runs, what a launch asks for, what a whole cluster would need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from clustermgtd.model.ids import InstanceType
from clustermgtd.model.instance import Instance, InstanceState
from clustermgtd.model.offering import Market, Offering
from clustermgtd.model.policy import Policy
from clustermgtd.model.quota import QuotaKey, VCpus, quota_class

VCpusOf = Callable[[InstanceType], int]
"""vCPUs of a type; 0 if they are not known."""


def quota_key(instance_type: InstanceType, market: Market) -> QuotaKey | None:
    """The quota that an instance counts in; None for capacity blocks and for families that are not known."""
    found = quota_class(instance_type)
    return None if found is None or market is Market.CAPACITY_BLOCK else QuotaKey(found, market)


def in_use(instances: Iterable[Instance], v_cpus_of: VCpusOf) -> VCpus:
    """vCPUs of those that run. A lower bound of what the account uses: others may run instances too."""
    running = (i for i in instances if i.is_live and i.state is not InstanceState.STOPPED)
    counts = Counter((i.instance_type, i.is_spot) for i in running)
    used: Counter[QuotaKey] = Counter()
    for (name, is_spot), count in counts.items():
        key = quota_key(name, Market.SPOT if is_spot else Market.ON_DEMAND)
        if key is not None:
            used[key] += count * v_cpus_of(name)
    return used


def at_most(offerings: Iterable[Offering], count: int, v_cpus_of: VCpusOf) -> VCpus:
    """For each quota that `count` instances may count in: the vCPUs, if all of them came from there."""
    most: dict[QuotaKey, int] = {}
    for offering in offerings:
        key = quota_key(offering.instance_type, offering.market)
        if key is not None:
            most[key] = max(most.get(key, 0), count * v_cpus_of(offering.instance_type))
    return most


def needed(policy: Policy, v_cpus_of: VCpusOf) -> VCpus:
    """vCPUs if every node ran. A compute resource that may use several quotas counts in full in each."""
    nodes = Counter(placed.key for placed in policy.nodes.values())
    total: Counter[QuotaKey] = Counter()
    for key, resource in policy.compute_resources.items():
        total.update(at_most(resource.offerings, nodes[key], v_cpus_of))
    return total


def over(wanted: VCpus, used: VCpus, quotas: Mapping[QuotaKey, float]) -> dict[QuotaKey, int]:
    """Quotas that `wanted` on top of `used` exceeds, with the vCPUs there would be then."""
    totals = {key: used.get(key, 0) + count for key, count in sorted(wanted.items())}
    return {key: total for key, total in totals.items() if key in quotas and total > quotas[key]}
