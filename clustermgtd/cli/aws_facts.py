"""What subcommands read from AWS about a cluster.yaml, as far as it can be read.

The AWS SDK is imported where AWS is asked, because it takes longer to import than most subcommands run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from clustermgtd.adapters.aws.list_prices import ListPrices
from clustermgtd.adapters.system.loop_clock import LoopClock
from clustermgtd.decide.vcpus import in_use, needed
from clustermgtd.errors import ClustermgtdError
from clustermgtd.model.claim import LaunchTemplate
from clustermgtd.model.ids import InstanceType
from clustermgtd.model.policy import Policy
from clustermgtd.model.price import Prices
from clustermgtd.model.quota import Quotas, VCpus
from clustermgtd.reconcile.price_book import instance_types, known_prices
from clustermgtd.settings import Settings
from clustermgtd.settings.instance_types import v_cpus
from clustermgtd.settings.policy import build_policy, template_keys

if TYPE_CHECKING:
    from clustermgtd.adapters.aws.session import AwsSession

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QuotaFacts:
    """vCPUs by quota."""

    needed: VCpus
    """If every node ran."""
    quotas: Quotas = field(default_factory=dict)
    in_use: VCpus | None = None
    """By this cluster's instances; None if EC2 was not asked or did not answer."""
    unread: tuple[str, ...] = ()
    """Sentences about what could not be read."""


@dataclass(frozen=True, slots=True)
class PriceFacts:
    """Prices of everything that may be launched."""

    prices: Prices
    unread: tuple[str, ...] = ()
    """Sentences about what could not be read."""


def policy_of(settings: Settings) -> Policy:
    """The policy without launch templates, which only the daemon makes."""
    return build_policy(settings, dict.fromkeys(template_keys(settings), LaunchTemplate("", "")))


def quota_facts(settings: Settings, *, online: bool) -> QuotaFacts:
    """What the cluster needs, and if `online` what the account may run and the cluster runs now."""

    def v_cpus_of(name: InstanceType) -> int:
        return v_cpus(name, settings.clustermgtd.instance_types)

    facts = QuotaFacts(needed(policy_of(settings), v_cpus_of))
    if not online:
        return facts

    async def read(session: AwsSession) -> QuotaFacts:
        from clustermgtd.adapters.aws.ec2_fleet import Ec2Fleet
        from clustermgtd.adapters.aws.quotas import AwsQuotas

        reader = _Reader()
        quotas = await reader("quotas", lambda: AwsQuotas(session).quotas(facts.needed.keys()))
        instances = await reader("instances", Ec2Fleet(session, settings.cluster_name).instances)
        used = None if instances is None else in_use(instances.values(), v_cpus_of)
        return replace(facts, quotas=quotas or {}, in_use=used, unread=tuple(reader.unread))

    return asyncio.run(with_session(settings, read))


def price_facts(settings: Settings, *, online: bool) -> PriceFacts:
    """The built-in price list, and if `online` what AWS asks today."""
    policy = policy_of(settings)
    types = instance_types(policy)
    subnets = {o.subnet for r in policy.compute_resources.values() for o in r.offerings}
    built_in = ListPrices(settings.region or "", lambda name: v_cpus(name, settings.clustermgtd.instance_types))
    if not online:
        return PriceFacts(known_prices(types, built_in, {}, {}))

    async def read(session: AwsSession) -> PriceFacts:
        from clustermgtd.adapters.aws.prices import AwsPrices

        reader = _Reader()
        source = AwsPrices(session, LoopClock())
        listed = await reader("on-demand prices", lambda: source.on_demand(types))
        spot = await reader("spot prices", lambda: source.spot(types, subnets))
        return PriceFacts(known_prices(types, built_in, listed or {}, spot or {}), tuple(reader.unread))

    return asyncio.run(with_session(settings, read))


class _Reader:
    """Reads one thing after another, and remembers what could not be read."""

    def __init__(self) -> None:
        self.unread: list[str] = []

    async def __call__(self, what: str, read: Callable[[], Awaitable[T]]) -> T | None:
        try:
            return await read()
        except ClustermgtdError as error:
            self.unread.append(f"{what} cannot be read: {error}")
            return None


async def with_session(settings: Settings, read: Callable[[AwsSession], Awaitable[T]]) -> T:
    """What `read` makes of a session in the cluster's Region."""
    from clustermgtd.adapters.aws.session import AwsSession

    async with AwsSession(settings.region or "") as session:
        return await read(session)
