"""The values that go into and come out of the EC2 model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

NO_TAGS: Mapping[str, str] = MappingProxyType({})
ON_DEMAND = "on-demand"
SPOT = "spot"
CAPACITY_BLOCK = "capacity-block"

STATE_CODES: Mapping[str, int] = MappingProxyType(
    {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
)


class Ec2Error(Exception):
    """An answer of EC2 that is not a success."""

    def __init__(self, code: str, message: str, http_status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.http_status = http_status


class ReplyLost(Ec2Error):
    """The call took effect, but its answer never reached the caller."""

    def __init__(self) -> None:
        super().__init__("ReplyLost", "The connection was closed before a reply was received", 500)


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface that an instance is launched with."""

    device: int = 0
    card: int = 0
    kind: str = "interface"
    """interface, efa or efa-only."""


@dataclass(frozen=True, slots=True)
class LaunchData:
    """What a launch template, or a RunInstances request, says about an instance. Empty means: not said."""

    image_id: str = ""
    instance_type: str = ""
    subnet: str = ""
    zone: str = ""
    market: str = ""
    max_price: float | None = None
    """US dollars per hour; None for the on-demand price."""
    user_data: str = ""
    """Base64, as EC2 keeps it."""
    key_name: str = ""
    security_groups: tuple[str, ...] = ()
    instance_profile: str = ""
    """Name or ARN."""
    private_address: str = ""
    placement_group: str = ""
    protected: bool = False
    """API termination is disabled."""
    monitoring: bool = False
    assign_public_ip: bool | None = None
    interfaces: tuple[Interface, ...] = ()
    """Empty: one, of the usual kind."""
    cores: int = 0
    """0: as the type has them."""
    threads_per_core: int = 0
    capacity_reservation: str = ""
    """The reservation to run in, and in no other."""
    capacity_reservation_group: str = ""
    """ARN of a resource group of reservations to run in, if they have room."""
    metadata_options: Mapping[str, Any] = field(default_factory=dict)
    """In EC2's own spelling: HttpTokens, HttpPutResponseHopLimit, InstanceMetadataTags."""
    instance_tags: Mapping[str, str] = field(default_factory=dict)
    volume_tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TemplateRef:
    """A launch template by id or name; `version` is a number, `$Latest` or `$Default`."""

    id: str = ""
    name: str = ""
    version: str = "$Default"


@dataclass(frozen=True, slots=True)
class FleetOverride:
    """One pool that a fleet may launch in."""

    instance_type: str = ""
    """Empty: the template's."""
    subnet: str = ""
    """Empty: the template's, or the first subnet of `zone`, or the default subnet."""
    zone: str = ""
    image_id: str = ""
    max_price: float | None = None
    """US dollars per hour; None for the on-demand price."""
    priority: float | None = None
    """Lower goes first."""
    weight: float = 1.0
    """Units of target capacity that one instance counts for."""


@dataclass(frozen=True, slots=True)
class FleetConfig:
    """One of a fleet's launch template configurations; without a template, instances get defaults."""

    template: TemplateRef | None = None
    overrides: tuple[FleetOverride, ...] = ()


@dataclass(frozen=True, slots=True)
class MarketOptions:
    """OnDemandOptions or SpotOptions of a fleet."""

    strategy: str = "lowest-price"
    min_target: int = 0
    """0: no minimum."""
    single_instance_type: bool = False
    single_zone: bool = False
    pools_to_use: int = 1
    """InstancePoolsToUseCount, for spot with `lowest-price`."""
    reservations_first: bool = False
    """UsageStrategy use-capacity-reservations-first, on-demand only."""


@dataclass(frozen=True, slots=True)
class FleetRequest:
    """CreateFleet, type instant."""

    total: int
    configs: tuple[FleetConfig, ...]
    default_market: str = ON_DEMAND
    on_demand_total: int = 0
    """Part of `total` that must be on-demand; the rest follows `default_market`."""
    spot_total: int = 0
    on_demand: MarketOptions = MarketOptions()
    spot: MarketOptions = MarketOptions()
    client_token: str = ""
    """At most 64 ASCII characters; empty: not idempotent."""
    instance_tags: Mapping[str, str] = field(default_factory=dict)
    volume_tags: Mapping[str, str] = field(default_factory=dict)
    fleet_tags: Mapping[str, str] = field(default_factory=dict)
    dry_run: bool = False
    fingerprint: str = ""
    """Whatever else the caller said, in canonical form: it is part of what a ClientToken stands for."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A capacity pool, and the override that named it."""

    override: FleetOverride
    instance_type: str
    zone: str
    subnet: str
    template_id: str = ""
    template_version: int = 0


@dataclass(frozen=True, slots=True)
class FleetInstances:
    """What a fleet launched in one pool."""

    ids: tuple[str, ...]
    market: str
    pool: Pool
    override_index: int
    """Position among all overrides of the request, from 0."""


@dataclass(frozen=True, slots=True)
class FleetError:
    """Why one override gave fewer instances than it was asked for."""

    code: str
    message: str
    market: str
    pool: Pool
    override_index: int


@dataclass(frozen=True, slots=True)
class FleetReply:
    fleet_id: str
    instances: tuple[FleetInstances, ...] = ()
    errors: tuple[FleetError, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """All instance ids, in launch order."""
        return tuple(i for group in self.instances for i in group.ids)


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """An instance at one moment."""

    id: str
    sequence: int
    """Launch order; DescribeInstances pages follow it."""
    state: str
    changed_at: float
    launched_at: float
    instance_type: str
    zone: str
    subnet: str
    market: str
    private_address: str
    data: LaunchData
    tags: Mapping[str, str]
    client_token: str = ""
    fleet_id: str = ""
    reservation_id: str = ""
    volume_id: str = ""
    interface_id: str = ""
    spot_request_id: str = ""
    template_id: str = ""
    template_version: int = 0
    capacity_reservation: str = ""
    """The reservation it runs in; empty: it runs in none."""
    state_reason_code: str = ""
    state_reason: str = ""
    transition_reason: str = ""
    """What DescribeInstances calls `reason`: `User initiated (2026-01-01 00:00:00 GMT)`."""
    protected: bool = False

    @property
    def is_live(self) -> bool:
        """Neither shutting down nor terminated."""
        return self.state not in ("shutting-down", "terminated")

    @property
    def is_spot(self) -> bool:
        return self.market == SPOT

    @property
    def pool(self) -> tuple[str, str, str]:
        """Whose capacity it uses: a reservation's, or that of (type, zone, market)."""
        return (self.instance_type, self.zone, self.capacity_reservation or self.market)


class EventKind(StrEnum):
    """Kinds of event about instances, by EventBridge's detail-type."""

    STATE_CHANGE = "EC2 Instance State-change Notification"
    SPOT_INTERRUPTION = "EC2 Spot Instance Interruption Warning"
    REBALANCE = "EC2 Instance Rebalance Recommendation"
    RESERVATION_INTERRUPTION = "EC2 Capacity Reservation Instance Interruption Warning"
    BLOCK_ENDING = "Capacity Block Reservation Expiration Warning"
    HEALTH = "AWS Health Event"


@dataclass(frozen=True, slots=True)
class Ec2Event:
    """Something that AWS tells EventBridge."""

    at: float
    kind: EventKind
    instance_id: str
    """Empty for the end of a capacity block."""
    state: str = ""
    """The new state, for a state change."""
    action: str = "terminate"
    """What an interruption does."""
    reservation: str = ""
    """The capacity block that ends."""
    ends_at: float | None = None
    """When the instance or the block ends, where the event says it."""
    scheduled: ScheduledEvent | None = None
    """What AWS Health announces."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """What Terminate-, Stop- and StartInstances answer for one instance."""

    id: str
    previous: str
    current: str


@dataclass(frozen=True, slots=True)
class ScheduledEvent:
    """A maintenance event as DescribeInstanceStatus shows it; times in epoch seconds."""

    id: str
    code: str
    description: str
    not_before: float
    not_after: float


@dataclass(frozen=True, slots=True)
class InstanceStatus:
    """One item of DescribeInstanceStatus."""

    record: InstanceRecord
    system: str
    """ok, impaired, initializing, insufficient-data or not-applicable."""
    instance: str
    events: tuple[ScheduledEvent, ...] = ()
    impaired_since: float = 0.0
    """0 if that is not said."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """RunInstances."""

    count_min: int
    count_max: int
    data: LaunchData
    template: TemplateRef | None = None
    client_token: str = ""
    dry_run: bool = False
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a describe call; `next_token` is empty on the last one."""

    records: tuple[InstanceRecord, ...]
    next_token: str = ""


@dataclass(frozen=True, slots=True)
class TemplateVersion:
    """One version of a launch template; `raw` is the caller's data in EC2's spelling."""

    number: int
    created_at: float
    data: LaunchData
    raw: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True, slots=True)
class LaunchTemplate:
    id: str
    name: str
    created_at: float
    default_version: int
    versions: Mapping[int, TemplateVersion]
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def latest_version(self) -> int:
        return max(self.versions)
