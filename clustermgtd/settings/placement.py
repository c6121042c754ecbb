"""Where a compute resource's instances are put: what it says itself, else what its queue says, and what cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from clustermgtd.model import template
from clustermgtd.settings.common import CapacityReservationTarget, PlacementGroup
from clustermgtd.settings.section import Finding


class HasPlacementGroup(Protocol):
    """`Networking` of a queue or of a compute resource."""

    @property
    def placement_group(self) -> PlacementGroup: ...


class Placed(Protocol):
    """A compute resource."""

    @property
    def name(self) -> str: ...
    @property
    def min_count(self) -> int: ...
    @property
    def max_count(self) -> int: ...
    @property
    def networking(self) -> HasPlacementGroup: ...
    @property
    def capacity_reservation_target(self) -> CapacityReservationTarget | None: ...


def placement_group(
    cluster: str, queue: str, of_queue: PlacementGroup, resource: Placed, of_tier: PlacementGroup
) -> template.PlacementGroup | None:
    """The group of one tier of a compute resource: its own words count before the compute resource's, and these before
    the queue's. A group that has no name is named after the compute resource."""
    own = resource.networking.placement_group
    chosen = next((one for one in (of_tier, own) if not one.is_silent), of_queue)
    if not chosen.is_wanted:
        return None
    if chosen.group_name:
        return template.PlacementGroup(chosen.group_name)
    return template.PlacementGroup(f"{cluster}-{queue}-{resource.name}", is_managed=True)


def reservation(target: CapacityReservationTarget | None) -> template.CapacityReservation | None:
    """The section as a value."""
    if target is None:
        return None
    return template.CapacityReservation(
        target.capacity_reservation_id or "", target.capacity_reservation_resource_group_arn or ""
    )


def group_findings(of_queue: PlacementGroup, subnets: int, resource: Placed) -> Iterator[Finding]:
    """A cluster placement group is in one zone, and a queue's subnets are in different ones."""
    own = resource.networking.placement_group
    if subnets > 1 and (of_queue if own.is_silent else own).is_wanted:
        message = f"compute resource {resource.name} has a placement group, which is in one zone; the queue has"
        yield Finding((), f"{message} {subnets} subnets", "name one subnet, or disable the placement group")


def reservation_findings(
    capacity_type: str, of_queue: CapacityReservationTarget | None, resource: Placed
) -> Iterator[Finding]:
    """What goes together with the way instances are paid for."""
    target = resource.capacity_reservation_target or of_queue
    if capacity_type == "SPOT" and target is not None:
        yield Finding((), f"compute resource {resource.name}: spot instances never run in a capacity reservation")
    if capacity_type != "CAPACITY_BLOCK":
        return
    if target is None:
        yield Finding((), "CapacityType CAPACITY_BLOCK needs a CapacityReservationTarget")
        return
    if target.capacity_reservation_id is None:
        yield Finding((), "CapacityType CAPACITY_BLOCK needs a CapacityReservationId, not a resource group")
    if resource.min_count != resource.max_count:
        message = f"CapacityType CAPACITY_BLOCK has static nodes only: MinCount {resource.min_count} must be MaxCount"
        yield Finding(("MinCount",), f"{message} {resource.max_count}")
