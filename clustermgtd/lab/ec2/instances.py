"""The instances: their records through time, their indexes, and how they are found."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from clustermgtd.lab.ec2.records import STATE_CODES, Ec2Error, InstanceRecord

Filters = Mapping[str, Sequence[str]]
"""Filter name -> accepted values, with EC2's wildcards `*` and `?`."""
_ID = re.compile(r"i-([0-9a-f]{8}|[0-9a-f]{17})")

_ATTRIBUTES: Mapping[str, Callable[[InstanceRecord], str]] = {
    "availability-zone": lambda r: r.zone,
    "client-token": lambda r: r.client_token,
    "image-id": lambda r: r.data.image_id,
    "instance-id": lambda r: r.id,
    "instance-lifecycle": lambda r: "spot" if r.is_spot else "",
    "instance-state-code": lambda r: str(STATE_CODES[r.state]),
    "instance-state-name": lambda r: r.state,
    "instance-type": lambda r: r.instance_type,
    "key-name": lambda r: r.data.key_name,
    "network-interface.addresses.private-ip-address": lambda r: r.private_address,
    "placement-group-name": lambda r: r.data.placement_group,
    "private-dns-name": lambda r: f"ip-{r.private_address.replace('.', '-')}.ec2.internal",
    "private-ip-address": lambda r: r.private_address,
    "reservation-id": lambda r: r.reservation_id,
    "spot-instance-request-id": lambda r: r.spot_request_id,
    "state-reason-code": lambda r: r.state_reason_code,
    "subnet-id": lambda r: r.subnet,
}
_MULTIPLE: Mapping[str, Callable[[InstanceRecord], Iterable[str]]] = {
    "tag-key": lambda r: r.tags.keys(),
    "tag-value": lambda r: r.tags.values(),
    "instance.group-id": lambda r: r.data.security_groups,
    "vpc-id": lambda _: ("*",),
}


def check_id(id: str) -> None:
    """Raises: Ec2Error InvalidInstanceID.Malformed."""
    if not _ID.fullmatch(id):
        raise Ec2Error("InvalidInstanceID.Malformed", f'Invalid id: "{id}"')


def matches(record: InstanceRecord, filters: Filters) -> bool:
    """Whether the record passes every filter.

    Raises:
        Ec2Error: InvalidParameterValue, there is no such filter.
    """
    return all(_matches_one(record, name, values) for name, values in filters.items())


def check_filters(filters: Filters) -> None:
    """Raises: Ec2Error InvalidParameterValue for a filter that does not exist."""
    for name in filters:
        if not (name.startswith("tag:") or name in _ATTRIBUTES or name in _MULTIPLE):
            raise Ec2Error("InvalidParameterValue", f"The filter '{name}' is invalid")


def _matches_one(record: InstanceRecord, name: str, values: Sequence[str]) -> bool:
    if name.startswith("tag:"):
        value = record.tags.get(name[4:])
        return value is not None and accepts(values, value)
    if name in _ATTRIBUTES:
        return accepts(values, _ATTRIBUTES[name](record))
    if name == "vpc-id":
        return True
    return any(accepts(values, value) for value in _MULTIPLE[name](record))


def accepts(values: Sequence[str], value: str) -> bool:
    """Whether one of a filter's values, wildcards included, is `value`."""
    return any(value == v or (_has_wildcard(v) and fnmatchcase(value, v.replace("[", "[[]"))) for v in values)


def _has_wildcard(value: str) -> bool:
    return "*" in value or "?" in value


class InstanceStore:
    """Every instance that EC2 still remembers, in launch order.

    Keeps each one's past as long as a lagging read may ask for it.
    """

    def __init__(self, read_lag_s: float) -> None:
        self._lag_s = read_lag_s
        self._history: dict[str, list[InstanceRecord]] = {}
        """id -> records, oldest first; never empty."""
        self._by_tag: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)

    def __len__(self) -> int:
        return len(self._history)

    def put(self, record: InstanceRecord) -> None:
        """Store a new instance, or what has become of a known one. `changed_at` must not be in the past of the last."""
        past = self._history.get(record.id)
        if past is None or self._lag_s <= 0:
            self._history[record.id] = [record]
        else:
            horizon = record.changed_at - self._lag_s
            while len(past) > 1 and past[1].changed_at <= horizon:
                del past[0]
            past.append(record)
        for tag in record.tags.items():
            self._by_tag[tag][record.id] = None

    def change(self, id: str, now: float, **changes: object) -> InstanceRecord:
        """Store and return the record with some fields replaced."""
        record: InstanceRecord = replace(self._history[id][-1], changed_at=now, **changes)  # type: ignore[arg-type]
        self.put(record)
        return record

    def forget(self, id: str) -> None:
        for record in self._history.pop(id):
            for tag in record.tags.items():
                self._by_tag[tag].pop(id, None)
                if not self._by_tag[tag]:
                    del self._by_tag[tag]

    def get(self, id: str) -> InstanceRecord | None:
        """The truth, without lag; None if there is no such instance or EC2 has forgotten it."""
        past = self._history.get(id)
        return past[-1] if past else None

    def require(self, ids: Sequence[str]) -> list[InstanceRecord]:
        """The records of all ids, without lag.

        Raises:
            Ec2Error: InvalidInstanceID.Malformed or .NotFound, naming every id that is wrong.
        """
        for id in ids:
            check_id(id)
        missing = [id for id in ids if id not in self._history]
        if missing:
            raise not_found(missing)
        return [self._history[id][-1] for id in ids]

    def as_read(self, id: str, now: float) -> InstanceRecord | None:
        """What a lagging read shows; None if it does not show the instance yet."""
        for record in reversed(self._history.get(id, ())):
            if record.changed_at <= now - self._lag_s:
                return record
        return None

    def records(self) -> Iterator[InstanceRecord]:
        """All, in launch order, without lag."""
        return (past[-1] for past in self._history.values())

    def select(self, now: float, ids: Sequence[str] | None, filters: Filters) -> list[InstanceRecord]:
        """What a lagging DescribeInstances shows, in launch order.

        Raises:
            Ec2Error: InvalidInstanceID.* (an id that reads do not show yet included) or InvalidParameterValue.
        """
        check_filters(filters)
        if ids:
            found = self._read_ids(ids, now)
        else:
            shown = (self.as_read(id, now) for id in self._candidates(filters))
            found = [record for record in shown if record is not None]
        return sorted((r for r in found if matches(r, filters)), key=lambda r: r.sequence)

    def _read_ids(self, ids: Sequence[str], now: float) -> list[InstanceRecord]:
        for id in ids:
            check_id(id)
        shown = {id: self.as_read(id, now) for id in ids}
        missing = [id for id, record in shown.items() if record is None]
        if missing:
            raise not_found(missing)
        return [record for record in shown.values() if record is not None]

    def _candidates(self, filters: Filters) -> Iterable[str]:
        """A superset of what matches: the smallest set that an exact tag or id filter leaves."""
        best: Iterable[str] = self._history
        size = len(self._history)
        for name, values in filters.items():
            if any(_has_wildcard(v) for v in values):
                continue
            if name.startswith("tag:"):
                sets = [self._by_tag.get((name[4:], v), {}) for v in values]
            elif name == "instance-id":
                sets = [{v: None} for v in values if v in self._history]
            else:
                continue
            if (count := sum(map(len, sets))) <= size:
                best, size = {id: None for ids in sets for id in ids}, count
        return best


def not_found(ids: Sequence[str]) -> Ec2Error:
    """EC2's InvalidInstanceID.NotFound, for one id or several."""
    if len(ids) == 1:
        return Ec2Error("InvalidInstanceID.NotFound", f"The instance ID '{ids[0]}' does not exist")
    return Ec2Error("InvalidInstanceID.NotFound", f"The instance IDs '{', '.join(ids)}' do not exist")
