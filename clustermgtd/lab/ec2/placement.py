"""Placement groups: names, strategies, and what a cluster group binds its instances to."""

from __future__ import annotations

from collections.abc import Mapping

from clustermgtd.lab.ec2.instances import InstanceStore
from clustermgtd.lab.ec2.records import NO_TAGS, Ec2Error, InstanceRecord
from clustermgtd.lab.ec2.scenario import Scenario

_STRATEGIES = ("cluster", "partition", "spread")


class PlacementGroups:
    """A cluster group is in the zone of its live instances, and may hold fewer of them than the zone."""

    def __init__(self, scenario: Scenario, store: InstanceStore) -> None:
        self._store = store
        self._groups: dict[str, str] = dict.fromkeys(scenario.placement_groups, "cluster")
        self._tags: dict[str, Mapping[str, str]] = dict.fromkeys(scenario.placement_groups, NO_TAGS)
        self._limits: dict[str, int | None] = dict(scenario.placement_groups)

    def create(self, name: str, strategy: str, tags: Mapping[str, str] = NO_TAGS) -> None:
        """Raises: Ec2Error InvalidPlacementGroup.Duplicate, or InvalidParameterValue for a strategy."""
        if strategy not in _STRATEGIES:
            raise Ec2Error("InvalidParameterValue", f"Value ({strategy}) for parameter strategy is invalid.")
        if name in self._groups:
            raise Ec2Error("InvalidPlacementGroup.Duplicate", f"The Placement Group '{name}' already exists.")
        self._groups[name] = strategy
        self._tags[name] = tags

    def delete(self, name: str) -> None:
        """Raises: Ec2Error InvalidPlacementGroup.Unknown."""
        if self._groups.pop(name, None) is None:
            raise unknown_group(name)
        del self._tags[name]

    def tags(self, name: str) -> Mapping[str, str]:
        """Of a group that exists."""
        return self._tags[name]

    def all(self) -> Mapping[str, str]:
        """Name -> strategy, sorted."""
        return dict(sorted(self._groups.items()))

    def set_capacity(self, name: str, count: int | None) -> None:
        """*lab*: the group holds `count` instances from now on; None is unlimited. What runs there stays."""
        self._limits[name] = count

    def members(self, name: str) -> list[InstanceRecord]:
        """The group's live instances."""
        return [record for record in self._store.records() if record.is_live and record.data.placement_group == name]

    def room(self, name: str, zone: str) -> tuple[float, Ec2Error]:
        """How many more instances may join in a zone, and the error that says why not more."""
        if name not in self._groups:
            return 0, unknown_group(name)
        members = self.members(name)
        if self._groups[name] == "cluster" and members and members[0].zone != zone:
            return 0, elsewhere(name, members[0].zone)
        limit = self._limits.get(name)
        return float("inf") if limit is None else max(0, limit - len(members)), group_full(name)


def unknown_group(name: str) -> Ec2Error:
    return Ec2Error("InvalidPlacementGroup.Unknown", f"The Placement Group '{name}' is unknown.")


def elsewhere(name: str, zone: str) -> Ec2Error:
    """A cluster placement group is in one zone."""
    message = f"The placement group '{name}' is in use in another availability zone: {zone}"
    return Ec2Error("InvalidPlacementGroup.InUse", message)


def group_full(name: str) -> Ec2Error:
    message = f"There is not enough capacity to fulfill your request for the placement group '{name}'."
    return Ec2Error("InsufficientInstanceCapacity", message)
