"""Placement groups."""

from __future__ import annotations

from collections.abc import Mapping

from clustermgtd.lab.ec2.records import Ec2Error

_STRATEGIES = ("cluster", "partition", "spread")


class PlacementGroups:
    """Names and strategies; they do not bind where instances go."""

    def __init__(self) -> None:
        self._groups: dict[str, str] = {}

    def create(self, name: str, strategy: str) -> None:
        """Raises: Ec2Error InvalidPlacementGroup.Duplicate, or InvalidParameterValue for a strategy."""
        if strategy not in _STRATEGIES:
            raise Ec2Error("InvalidParameterValue", f"Value ({strategy}) for parameter strategy is invalid.")
        if name in self._groups:
            raise Ec2Error("InvalidPlacementGroup.Duplicate", f"The Placement Group '{name}' already exists.")
        self._groups[name] = strategy

    def delete(self, name: str) -> None:
        """Raises: Ec2Error InvalidPlacementGroup.Unknown."""
        if self._groups.pop(name, None) is None:
            raise Ec2Error("InvalidPlacementGroup.Unknown", f"The Placement Group '{name}' is unknown.")

    def all(self) -> Mapping[str, str]:
        """Name -> strategy, sorted."""
        return dict(sorted(self._groups.items()))
