"""Says that a launch goes over a vCPU quota before EC2 says it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Protocol

import structlog

from clustermgtd.decide.vcpus import VCpusOf, at_most, in_use, needed, over, quota_key
from clustermgtd.model.claim import Launch, LaunchResult, TerminateResult
from clustermgtd.model.ids import InstanceId, LaunchToken
from clustermgtd.model.instance import Instance
from clustermgtd.model.policy import Policy
from clustermgtd.model.quota import QuotaKey, Quotas, VCpus
from clustermgtd.ports.clock import Clock
from clustermgtd.ports.fleet import Fleet
from clustermgtd.ports.quotas import QuotaSource

log = structlog.get_logger(__name__)

UNSHOWN_S = 120.0
"""An instance that EC2 gave counts for so long without being shown; above EC2's read lag."""


class QuotaReport(Protocol):
    """Who counts."""

    def v_cpu_quotas(self, quotas: Quotas) -> None: ...
    def v_cpus_in_use(self, used: VCpus) -> None: ...
    def launch_over_quota(self, key: QuotaKey) -> None: ...


class QuotaWatch:
    """A `Fleet` that compares what is asked for with what the account may run. It stops no launch: the numbers are a
    lower bound, and EC2 has the last word."""

    def __init__(
        self,
        fleet: Fleet,
        source: QuotaSource,
        v_cpus_of: VCpusOf,
        clock: Clock,
        report: QuotaReport,
    ) -> None:
        self._fleet = fleet
        self._source = source
        self._v_cpus_of = v_cpus_of
        self._clock = clock
        self._report = report
        self._quotas: Quotas = {}
        self._seen: VCpus = {}
        self._asked: dict[LaunchToken, VCpus] = {}
        """Calls that are being made."""
        self._given: dict[InstanceId, tuple[float, QuotaKey, int]] = {}
        """Instances that EC2 gave and has not shown yet, with the time."""

    async def read(self, policy: Policy) -> None:
        """Take over the quotas that the policy's offerings count in.

        Raises:
            ClustermgtdError: they could not be read; what was known before stays.
        """
        self._quotas = await self._source.quotas(needed(policy, self._v_cpus_of).keys())
        self._report.v_cpu_quotas(self._quotas)

    async def launch(self, launch: Launch) -> LaunchResult:
        wanted = at_most(launch.request.offerings, launch.request.count, self._v_cpus_of)
        if launch.token not in self._asked and launch.attempts <= 1:
            self._warn(launch, wanted)
        self._asked[launch.token] = wanted
        try:
            result = await self._fleet.launch(launch)
        finally:
            self._asked.pop(launch.token, None)
        now = self._clock.monotonic()
        for instance in result.instances:
            key = quota_key(instance.offering.instance_type, instance.offering.market)
            if key is not None:
                self._given[instance.id] = (now, key, self._v_cpus_of(instance.offering.instance_type))
        return result

    async def instances(self) -> Mapping[InstanceId, Instance]:
        shown = await self._fleet.instances()
        oldest = self._clock.monotonic() - UNSHOWN_S
        self._given = {id: given for id, given in self._given.items() if id not in shown and given[0] > oldest}
        self._seen = in_use(shown.values(), self._v_cpus_of)
        self._report.v_cpus_in_use(self._in_use())
        return shown

    async def terminate(self, instances: Iterable[InstanceId]) -> TerminateResult:
        return await self._fleet.terminate(instances)

    async def console_output(self, instance: InstanceId) -> str:
        return await self._fleet.console_output(instance)

    def _in_use(self) -> Counter[QuotaKey]:
        used = Counter(self._seen)
        for _, key, v_cpus in self._given.values():
            used[key] += v_cpus
        return used

    def _warn(self, launch: Launch, wanted: VCpus) -> None:
        used = self._in_use()
        for asked in self._asked.values():
            used.update(asked)
        for key, total in over(wanted, used, self._quotas).items():
            self._report.launch_over_quota(key)
            log.warning(
                "launch_over_quota",
                claim=launch.token,
                queue=launch.request.queue,
                compute_resource=launch.request.compute_resource,
                quota_class=key.quota_class,
                market=key.market,
                quota=self._quotas[key],
                in_use=used[key],
                wanted=wanted[key],
                total=total,
            )
