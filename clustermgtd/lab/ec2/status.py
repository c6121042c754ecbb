"""DescribeInstanceStatus: status checks and scheduled events."""

from __future__ import annotations

from collections.abc import Sequence

from clustermgtd.lab.ec2.instances import InstanceStore
from clustermgtd.lab.ec2.records import InstanceRecord, InstanceStatus, ScheduledEvent


class Statuses:
    """Status checks are `ok` for a running instance until somebody says otherwise."""

    def __init__(self, store: InstanceStore) -> None:
        self._store = store
        self._impaired: dict[str, tuple[str, str, float]] = {}
        self._events: dict[str, tuple[ScheduledEvent, ...]] = {}

    def set(self, id: str, *, system: str = "ok", instance: str = "ok", since: float = 0.0) -> None:
        """Say what the two status checks find: ok, impaired or insufficient-data; 0: since when is not said."""
        self._impaired[id] = (system, instance, since)

    def schedule(self, id: str, event: ScheduledEvent) -> None:
        """Announce a scheduled event for an instance."""
        self._events[id] = (*self._events.get(id, ()), event)

    def scheduled(self, id: str) -> tuple[ScheduledEvent, ...]:
        """The events that were announced for an instance, in that order."""
        return self._events.get(id, ())

    def describe(
        self, now: float, ids: Sequence[str] | None = None, *, all_states: bool = False
    ) -> list[InstanceStatus]:
        """Running instances, or with `all_states` all of them, in launch order.

        Raises:
            Ec2Error: InvalidInstanceID.*.
        """
        shown = self._store.select(now, ids, {})
        return [self._status(record) for record in shown if all_states or record.state == "running"]

    def _status(self, record: InstanceRecord) -> InstanceStatus:
        since = 0.0
        if record.state == "running":
            system, instance, since = self._impaired.get(record.id, ("ok", "ok", 0.0))
        elif record.state == "pending":
            system = instance = "initializing"
        else:
            system = instance = "not-applicable"
        return InstanceStatus(record, system, instance, self.scheduled(record.id), since)
