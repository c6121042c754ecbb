"""What an imagined Region is like: capacity, subnets, limits, delays, faults."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from clustermgtd.errors import ConfigurationError
from clustermgtd.lab.ec2.buckets import REQUEST_BUCKETS, RESOURCE_BUCKETS, Bucket
from clustermgtd.lab.ec2.catalog import SPOT_DISCOUNT, type_spec
from clustermgtd.lab.ec2.records import ON_DEMAND, SPOT

PoolKey = tuple[str, str, str]
"""(instance type, zone, market)."""


@dataclass(frozen=True, slots=True)
class SubnetSpec:
    """A subnet; `free_addresses` None means: as many as the block has."""

    zone: str
    cidr: str
    free_addresses: int | None = None
    vpc: str = "vpc-00000000000000001"


@dataclass(frozen=True, slots=True)
class Faults:
    """Rates from 0 to 1, drawn per call or per instance."""

    internal_error_rate: float = 0.0
    """A call fails with InternalError and has no effect."""
    reply_lost_rate: float = 0.0
    """A mutating call takes effect, and its reply is lost."""
    terminate_ignored_rate: float = 0.0
    """TerminateInstances answers well for an instance and does nothing to it."""
    death_while_pending_rate: float = 0.0
    """An instance goes from pending to terminated (Server.InternalError) instead of running."""


@dataclass(frozen=True, slots=True)
class ReservationSpec:
    """A capacity reservation or capacity block."""

    instance_type: str
    zone: str
    count: int
    targeted: bool = False
    """Only for launches that name it or its group; otherwise for all that match."""
    group: str = ""
    """ARN of the resource group that it is in."""
    kind: Literal["default", "capacity-block"] = "default"
    starts_at: float = 0.0
    """Epoch seconds."""
    ends_at: float | None = None
    """Epoch seconds; None is never."""


def _default_subnets() -> Mapping[str, SubnetSpec]:
    return MappingProxyType(
        {
            f"subnet-0000000000000000{z}": SubnetSpec(f"us-east-1{z}", f"10.{n}.0.0/16")
            for n, z in enumerate("abc", start=1)
        }
    )


@dataclass(frozen=True, slots=True)
class Scenario:
    """One imagined Region. All times in seconds, prices in US dollars per hour."""

    region: str = "us-east-1"
    account: str = "123456789012"
    pools: Mapping[PoolKey, int | None] = field(default_factory=dict)
    """Instances that a pool can hold in all; None is unlimited."""
    default_capacity: int | None = None
    """For pools that are not named; None is unlimited."""
    not_offered: frozenset[tuple[str, str]] = frozenset()
    """(instance type, zone) that EC2 does not have at all."""
    subnets: Mapping[str, SubnetSpec] = field(default_factory=_default_subnets)
    request_buckets: Mapping[str, Bucket] = field(default_factory=lambda: REQUEST_BUCKETS)
    resource_buckets: Mapping[str, Bucket] = field(default_factory=lambda: RESOURCE_BUCKETS)
    boot_delay_s: float = 5.0
    """From the launch to `running`."""
    boot_jitter_s: float = 0.0
    """Added to the boot delay, drawn per instance."""
    read_lag_s: float = 0.0
    """DescribeInstances shows the world as it was this long ago."""
    address_lag_s: float = 0.0
    """DescribeInstances shows no private address until an instance is this old."""
    stop_delay_s: float = 5.0
    terminate_delay_s: float = 5.0
    """From shutting-down to terminated."""
    terminated_visible_s: float = 3600.0
    capacity_reservations: Mapping[str, ReservationSpec] = field(default_factory=dict)
    block_reclaim_s: float = 1800.0
    """EC2 ends the instances of a capacity block this long before the block's end, and launches no others."""
    placement_groups: Mapping[str, int | None] = field(default_factory=dict)
    """Cluster placement groups that exist, and how many instances each holds; None is unlimited."""
    prices: Mapping[PoolKey, float] = field(default_factory=dict)
    quotas: Mapping[str, int] = field(default_factory=dict)
    """vCPUs that all instances of a market may have together; a market without a number is unlimited."""
    api_latency_s: float = 0.0
    """Added to each answer of the wire door."""
    unknown_images: frozenset[str] = frozenset()
    """AMI ids that do not exist; every other `ami-...` does."""
    faults: Faults = Faults()

    def zones(self) -> tuple[str, ...]:
        """Every zone that has a subnet, sorted."""
        return tuple(sorted({s.zone for s in self.subnets.values()}))

    def on_demand_price(self, instance_type: str, zone: str) -> float:
        named = self.prices.get((instance_type, zone, ON_DEMAND))
        spec = type_spec(instance_type)
        return named if named is not None else (spec.price if spec else 0.0)

    def spot_price(self, instance_type: str, zone: str) -> float:
        named = self.prices.get((instance_type, zone, SPOT))
        return named if named is not None else round(self.on_demand_price(instance_type, zone) * SPOT_DISCOUNT, 6)


_Rate = Annotated[float, Field(ge=0, le=1)]
_Seconds = Annotated[float, Field(ge=0)]
_Zone = Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d[a-z]$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _BucketFile(_Strict):
    size: Annotated[float, Field(gt=0)]
    refill_per_s: Annotated[float, Field(ge=0)]


class _PoolFile(_Strict):
    type: str
    zone: _Zone
    market: Literal["on-demand", "spot"] = "on-demand"
    capacity: Annotated[int, Field(ge=0)] | None = None
    price: Annotated[float, Field(gt=0)] | None = None
    offered: bool = True

    @field_validator("type")
    @classmethod
    def _is_a_type(cls, value: str) -> str:
        if type_spec(value) is None:
            raise ValueError("is not the name of an instance type")
        return value


class _SubnetFile(_Strict):
    zone: _Zone
    cidr: str
    free_addresses: Annotated[int, Field(ge=0)] | None = None
    vpc: str = "vpc-00000000000000001"

    @field_validator("cidr")
    @classmethod
    def _is_a_block(cls, value: str) -> str:
        network = ipaddress.IPv4Network(value)
        if not 16 <= network.prefixlen <= 28:
            raise ValueError("must be a block between /16 and /28")
        return value


class _ReservationFile(_Strict):
    type: str
    zone: _Zone
    count: Annotated[int, Field(ge=1)]
    targeted: bool = False
    group: str = ""
    kind: Literal["default", "capacity-block"] = "default"
    starts_at: _Seconds = 0.0
    ends_at: _Seconds | None = None

    def spec(self) -> ReservationSpec:
        return ReservationSpec(instance_type=self.type, **self.model_dump(exclude={"type"}))


class _PlacementGroupFile(_Strict):
    capacity: Annotated[int, Field(ge=0)] | None = None


class _FaultsFile(_Strict):
    internal_error_rate: _Rate = 0.0
    reply_lost_rate: _Rate = 0.0
    terminate_ignored_rate: _Rate = 0.0
    death_while_pending_rate: _Rate = 0.0


class _ScenarioFile(_Strict):
    region: str = "us-east-1"
    account: str = "123456789012"
    pools: tuple[_PoolFile, ...] = ()
    default_capacity: Annotated[int, Field(ge=0)] | None = None
    subnets: dict[str, _SubnetFile] = {}
    capacity_reservations: dict[Annotated[str, Field(pattern=r"^cr-[0-9a-z]+$")], _ReservationFile] = {}
    block_reclaim_s: _Seconds = 1800.0
    placement_groups: dict[str, _PlacementGroupFile] = {}
    buckets: Literal["default", "unlimited"] = "default"
    request_buckets: dict[str, _BucketFile | None] = {}
    resource_buckets: dict[str, _BucketFile | None] = {}
    boot_delay_s: _Seconds = 5.0
    boot_jitter_s: _Seconds = 0.0
    read_lag_s: _Seconds = 0.0
    address_lag_s: _Seconds = 0.0
    stop_delay_s: _Seconds = 5.0
    terminate_delay_s: _Seconds = 5.0
    terminated_visible_s: _Seconds = 3600.0
    quotas: dict[Literal["on-demand", "spot"], Annotated[int, Field(ge=0)]] = {}
    api_latency_s: _Seconds = 0.0
    unknown_images: frozenset[str] = frozenset()
    faults: _FaultsFile = _FaultsFile()


_PLAIN = frozenset(_ScenarioFile.model_fields) - {
    "pools", "subnets", "buckets", "request_buckets", "resource_buckets", "faults", "capacity_reservations",
    "placement_groups",
}  # fmt: skip


def load_scenario(source: Path | str) -> Scenario:
    """A scenario from a YAML file (a `Path`) or from YAML text (a `str`).

    Raises:
        ConfigurationError: it cannot be read, or something in it is wrong; the message names every wrong key.
    """
    try:
        text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
        parsed = _ScenarioFile.model_validate(yaml.safe_load(text) or {})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigurationError(f"scenario: {problems}") from error
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError(f"scenario: {error}") from error
    subnets = {name: SubnetSpec(**s.model_dump()) for name, s in parsed.subnets.items()}
    return Scenario(
        **{name: getattr(parsed, name) for name in sorted(_PLAIN)},
        pools={(p.type, p.zone, p.market): p.capacity for p in parsed.pools if "capacity" in p.model_fields_set},
        not_offered=frozenset((p.type, p.zone) for p in parsed.pools if not p.offered),
        prices={(p.type, p.zone, p.market): p.price for p in parsed.pools if p.price is not None},
        subnets=subnets or _default_subnets(),
        capacity_reservations={id: one.spec() for id, one in parsed.capacity_reservations.items()},
        placement_groups={name: one.capacity for name, one in parsed.placement_groups.items()},
        request_buckets=_buckets(parsed.buckets, REQUEST_BUCKETS, parsed.request_buckets),
        resource_buckets=_buckets(parsed.buckets, RESOURCE_BUCKETS, parsed.resource_buckets),
        faults=Faults(**parsed.faults.model_dump()),
    )


def _buckets(
    profile: str, defaults: Mapping[str, Bucket], explicit: Mapping[str, _BucketFile | None]
) -> Mapping[str, Bucket]:
    buckets = dict(defaults) if profile == "default" else {}
    for name, bucket in explicit.items():
        if name not in defaults:
            raise ConfigurationError(f"scenario: no bucket is called {name}; there are {', '.join(sorted(defaults))}")
        if bucket is None:
            buckets.pop(name, None)
        else:
            buckets[name] = Bucket(bucket.size, bucket.refill_per_s)
    return buckets
