"""`CapacityTiers`: several ways to get the instances of one compute resource, in order of preference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from clustermgtd.model import template
from clustermgtd.model.claim import AllocationStrategy
from clustermgtd.model.policy import TIERS_MAX
from clustermgtd.settings.common import CapacityReservationTarget, PlacementGroup
from clustermgtd.settings.document import Location
from clustermgtd.settings.instance_types import GivenFacts, InstanceTypeInfo, lookup
from clustermgtd.settings.placement import placement_group, reservation
from clustermgtd.settings.scheduling import SPOT_ONLY, ComputeResource, SlurmQueue
from clustermgtd.settings.section import Finding, InstanceTypeName, Section, SubnetIdText, repeated


class CapacityTier(Section):
    """One way to get instances. What is not said is as the queue and the compute resource have it."""

    capacity_type: Literal["ONDEMAND", "SPOT", "CAPACITY_BLOCK"] | None = None
    """How instances are paid for. Where it differs from the queue's, the queue's AllocationStrategy, SpotPrice and
    CapacityReservationTarget do not hold for the tier."""
    instance_types: Annotated[tuple[InstanceTypeName, ...], Field(min_length=1)] | None = None
    """Instance types, in order of preference; interchangeable with the compute resource's."""
    subnet_ids: Annotated[tuple[SubnetIdText, ...], Field(min_length=1)] | None = None
    """Subnets that instances may be launched in."""
    spot_price: Annotated[float, Field(ge=0)] | None = None
    """US dollars an hour for one instance, SPOT tiers only."""
    allocation_strategy: Annotated[AllocationStrategy, Field(strict=False)] | None = None
    """How EC2 chooses among several instance types."""
    capacity_reservation_target: CapacityReservationTarget | None = None
    placement_group: PlacementGroup = PlacementGroup()
    max_wait_seconds: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    """How long a job that EC2 refuses in this tier waits for it to be tried again before the next tier is asked,
    seconds, counted from the job's allocation and added to those of the tiers before. A tier is tried again when a ban
    has ended (`Clustermgtd.Offerings.BanSeconds`); one that has nothing to be tried in this time is not waited for."""

    def findings(self) -> Iterator[Finding]:
        for index, first in repeated(list(self.instance_types or ())):
            yield Finding(("InstanceTypes", index), f"is also InstanceTypes[{first}]")
        for index, first in repeated(list(self.subnet_ids or ())):
            yield Finding(("SubnetIds", index), f"is also SubnetIds[{first}]")


CapacityTiers = Annotated[tuple[CapacityTier, ...], Field(max_length=TIERS_MAX)]


@dataclass(frozen=True, slots=True)
class ResolvedTier:
    """A capacity tier of one compute resource, with all that it takes over."""

    capacity_type: str
    instance_types: tuple[str, ...]
    subnet_ids: tuple[str, ...]
    spot_price: float | None
    allocation_strategy: AllocationStrategy | None
    reservation: template.CapacityReservation | None
    placement_group: template.PlacementGroup | None
    max_wait_s: float = 0.0

    @property
    def asked(self) -> ResolvedTier:
        """What EC2 is asked for in it, however long it is waited for."""
        return replace(self, max_wait_s=0.0)


def resolved(
    cluster: str, queue: SlurmQueue, resource: ComputeResource, tiers: Sequence[CapacityTier]
) -> tuple[ResolvedTier, ...]:
    """The tiers of a compute resource, in order; without any, the one that the queue describes.

    One that asks for the same as one before adds nothing and is left out: `CapacityType: ONDEMAND`, given for all
    queues, says nothing new to a queue that is on demand.
    """
    made: dict[ResolvedTier, ResolvedTier] = {}
    for tier in tiers or (CapacityTier(),):
        one = _resolved(cluster, queue, resource, tier)
        made.setdefault(one.asked, one)
    return tuple(made.values())


def _resolved(cluster: str, queue: SlurmQueue, resource: ComputeResource, tier: CapacityTier) -> ResolvedTier:
    is_like_queue = tier.capacity_type in (None, queue.capacity_type)
    inherited = resource.capacity_reservation_target or queue.capacity_reservation_target
    target = tier.capacity_reservation_target or (inherited if is_like_queue else None)
    price = tier.spot_price if tier.spot_price is not None else resource.spot_price if is_like_queue else None
    group = placement_group(cluster, queue.name, queue.networking.placement_group, resource, tier.placement_group)
    return ResolvedTier(
        capacity_type=tier.capacity_type or queue.capacity_type,
        instance_types=tier.instance_types or resource.instance_types,
        subnet_ids=tier.subnet_ids or queue.networking.subnet_ids,
        spot_price=price,
        allocation_strategy=tier.allocation_strategy or (queue.allocation_strategy if is_like_queue else None),
        reservation=reservation(target),
        placement_group=group,
        max_wait_s=tier.max_wait_seconds,
    )


def tier_findings(
    cluster: str,
    queue: SlurmQueue,
    resource: ComputeResource,
    tiers: Sequence[CapacityTier],
    known: Mapping[str, GivenFacts],
) -> Iterator[Finding]:
    """What cannot be in the tiers of one compute resource, each finding with the tier's number in front."""
    made = [_resolved(cluster, queue, resource, tier) for tier in tiers]
    whose = f"compute resource {resource.name} of queue {queue.name}"
    for number, (given, tier) in enumerate(zip(tiers, made, strict=True)):
        for found in (
            *_type_findings(given, resource, whose, known),
            *_market_findings(given, tier, whose),
            *_group_findings(made, number, whose),
        ):
            yield Finding((number, *found.location), found.message, found.suggestion)


def _type_findings(
    given: CapacityTier, resource: ComputeResource, whose: str, known: Mapping[str, GivenFacts]
) -> Iterator[Finding]:
    own = lookup(resource.instance_types[0], known) if resource.instance_types else ""
    for index, name in enumerate(given.instance_types or ()):
        info = lookup(name, known)
        at: Location = ("InstanceTypes", index)
        if isinstance(info, str):
            yield Finding(at, info, f"give its facts in Clustermgtd.InstanceTypes.{name}")
        elif isinstance(own, InstanceTypeInfo) and not own.is_interchangeable_with(info):
            message = f"{name} and {own.name} of {whose} differ in CPUs, GPUs or architecture"
            yield Finding(at, message, "Slurm sees one kind of node: give that compute resource tiers of its own")
        elif resource.schedulable_memory and resource.schedulable_memory > info.memory_mib:
            message = f"{name} has {info.memory_mib} MiB, less than SchedulableMemory of {whose}"
            yield Finding(at, message, "use a type with more memory")


def _market_findings(given: CapacityTier, tier: ResolvedTier, whose: str) -> Iterator[Finding]:
    kind = tier.capacity_type
    if given.spot_price is not None and kind != "SPOT":
        yield Finding(("SpotPrice",), f"needs CapacityType: SPOT, the tier's is {kind} for {whose}")
    if given.allocation_strategy in SPOT_ONLY and kind != "SPOT":
        message = f"{given.allocation_strategy} is for CapacityType: SPOT, the tier's is {kind} for {whose}"
        yield Finding(("AllocationStrategy",), message, "lowest-price or prioritized")
    if kind == "SPOT" and tier.reservation is not None:
        at: Location = ("CapacityReservationTarget",) if given.capacity_reservation_target else ()
        yield Finding(at, f"spot instances never run in a capacity reservation ({whose})")
    if kind == "CAPACITY_BLOCK":
        if tier.reservation is None or not tier.reservation.id:
            message = f"CapacityType CAPACITY_BLOCK needs a CapacityReservationId ({whose})"
            yield Finding(("CapacityReservationTarget",), message, "give the capacity block's id")
        if len(tier.instance_types) > 1:
            yield Finding(("InstanceTypes",), f"a capacity block is of one type ({whose})", "name that type alone")


def _group_findings(made: Sequence[ResolvedTier], number: int, whose: str) -> Iterator[Finding]:
    """A cluster placement group is in one zone, whichever tiers use it."""
    group = made[number].placement_group
    if group is None:
        return
    first = next(tier for tier in made if tier.placement_group == group)
    if len(made[number].subnet_ids) > 1 or made[number].subnet_ids != first.subnet_ids:
        message = f"{whose} has placement group {group.name}, which is in one zone; its tiers have several subnets"
        yield Finding(("SubnetIds",), message, "name one subnet, or PlacementGroup: {Enabled: false} in this tier")
