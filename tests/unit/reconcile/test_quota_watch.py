"""A launch that goes over a quota is told before EC2 tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from clustermgtd.errors import TransientError
from clustermgtd.model.claim import Launch, LaunchResult
from clustermgtd.model.ids import InstanceType
from clustermgtd.model.offering import Market
from clustermgtd.model.quota import QuotaClass, QuotaKey
from clustermgtd.reconcile.quota_watch import UNSHOWN_S, QuotaWatch
from clustermgtd.telemetry.metrics import Metrics
from tests.builders import a_policy
from tests.contract.aws.builders import a_launch, a_request
from tests.fakes.clock import FakeClock
from tests.fakes.facts import FakeQuotaSource
from tests.fakes.fleet import FakeFleet

STANDARD = QuotaKey(QuotaClass.STANDARD, Market.ON_DEMAND)
LABELS = {"market": "on-demand", "class": "standard"}


class SlowFleet(FakeFleet):
    """Launches are answered when the test says so."""

    is_answering: asyncio.Event | None = None

    async def launch(self, launch: Launch) -> LaunchResult:
        if self.is_answering is not None:
            await self.is_answering.wait()
        return await super().launch(launch)


class Account:
    """A watched fleet in an account that may run twenty vCPUs; a c5.large has two."""

    def __init__(self, quota: float | None = 20.0) -> None:
        self.clock = FakeClock()
        self.fleet = SlowFleet(self.clock.now)
        self.source = FakeQuotaSource({} if quota is None else {STANDARD: quota})
        self.metrics = Metrics(CollectorRegistry())
        self.watch = QuotaWatch(self.fleet, self.source, self._v_cpus_of, self.clock, self.metrics)

    def _v_cpus_of(self, name: InstanceType) -> int:
        return 2 if name == "c5.large" else 0

    def value(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"clustermgtd_{name}", LABELS)

    def warnings(self, launches: Iterable[Launch]) -> list[tuple[object, ...]]:
        """The numbers of each warning while the launches are made one after the other."""

        async def run() -> None:
            await self.watch.read(a_policy())
            for launch in launches:
                await self.watch.launch(launch)

        with capture_logs() as said:
            asyncio.run(run())
        return [tuple(entry[name] for name in ("quota", "in_use", "wanted", "total")) for entry in said]


def launch_of(count: int, number: int = 1) -> Launch:
    return a_launch(f"token-{number}", a_request(count=count))


def test_a_launch_within_the_quota_is_made_in_silence() -> None:
    account = Account()
    assert account.warnings([launch_of(10)]) == []
    assert account.value("vcpu_quota") == 20


def test_a_launch_over_the_quota_is_told_with_numbers_and_made_all_the_same() -> None:
    account = Account()
    assert account.warnings([launch_of(8, 1), launch_of(3, 2)]) == [(20, 16, 6, 22)]
    assert account.fleet.calls["launch"] == 2
    assert account.value("launches_over_quota_total") == 1


def test_calls_that_are_being_made_count() -> None:
    account = Account()
    account.fleet.is_answering = asyncio.Event()

    async def two_at_once() -> None:
        await account.watch.read(a_policy())
        async with asyncio.TaskGroup() as calls:
            for number in (1, 2):
                calls.create_task(account.watch.launch(launch_of(8, number)))
            await asyncio.sleep(0)
            account.fleet.is_answering.set()

    with capture_logs() as said:
        asyncio.run(two_at_once())
    assert [(entry["in_use"], entry["total"]) for entry in said] == [(16, 32)]


def test_a_call_without_an_answer_is_told_of_once_and_counts_no_more() -> None:
    account = Account(quota=10.0)
    account.fleet.faults.fail("launch", TransientError("no answer"), times=2)

    async def again_and_again() -> None:
        await account.watch.read(a_policy())
        for attempts in (1, 2, 3):
            with suppress(TransientError):
                await account.watch.launch(replace(launch_of(8), attempts=attempts))

    with capture_logs() as said:
        asyncio.run(again_and_again())
    assert [(entry["in_use"], entry["total"]) for entry in said] == [(0, 16)]


def test_an_unknown_quota_is_exceeded_by_nothing() -> None:
    account = Account(quota=None)
    assert account.warnings([launch_of(10_000)]) == []
    assert account.value("vcpu_quota") is None


def test_what_ec2_gave_counts_until_it_is_shown_or_long_gone() -> None:
    account = Account()
    account.fleet.read_lag_s = 1e9
    account.warnings([launch_of(4)])
    asyncio.run(account.watch.instances())
    assert account.value("vcpu_in_use") == 8
    account.clock.move(UNSHOWN_S + 1)
    asyncio.run(account.watch.instances())
    assert account.value("vcpu_in_use") is None


def test_an_instance_that_is_shown_counts_once() -> None:
    account = Account()
    account.warnings([launch_of(4)])
    asyncio.run(account.watch.instances())
    assert account.value("vcpu_in_use") == 8
