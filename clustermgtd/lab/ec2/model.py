"""EC2 as one object: calls in, answers and events out; time and randomness come from the caller."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from clustermgtd.lab.ec2 import fleet as fleets
from clustermgtd.lab.ec2.buckets import Bucket, TokenBuckets, request_bucket
from clustermgtd.lab.ec2.console import Consoles
from clustermgtd.lab.ec2.instances import Filters, InstanceStore, check_id, not_found
from clustermgtd.lab.ec2.launcher import Launcher
from clustermgtd.lab.ec2.lifecycle import Lifecycle
from clustermgtd.lab.ec2.pages import cut_page
from clustermgtd.lab.ec2.placement import PlacementGroups
from clustermgtd.lab.ec2.records import (
    NO_TAGS,
    Ec2Error,
    Ec2Event,
    EventKind,
    FleetReply,
    FleetRequest,
    InstanceRecord,
    Page,
    ReplyLost,
    RunRequest,
    ScheduledEvent,
    StateChange,
)
from clustermgtd.lab.ec2.reservations import Reservations
from clustermgtd.lab.ec2.scenario import Scenario
from clustermgtd.lab.ec2.status import Statuses
from clustermgtd.lab.ec2.supply import Capacity, Network, shortage_message
from clustermgtd.lab.ec2.templates import LaunchTemplates


class Ec2Model:
    """One Region of one account.

    Every call takes `now`, epoch seconds; a `now` that is older than one seen before counts as that one. A call draws
    on the request bucket of its action first and raises RequestLimitExceeded (503) when that is empty. Calls marked
    *lab* are not EC2's: they cost no token and never fail for a fault.
    """

    def __init__(self, scenario: Scenario, rng: random.Random) -> None:
        self.scenario = scenario
        self._rng = rng
        self._now = 0.0
        self.capacity = Capacity(scenario)
        self.network = Network(scenario)
        self._store = InstanceStore(scenario.read_lag_s)
        self._life = Lifecycle(scenario, rng, self._store, self.capacity, self.network)
        self.templates = LaunchTemplates(self._life.ids.next)
        self.consoles = Consoles()
        self.placement_groups = PlacementGroups(scenario, self._store)
        self.reservations = Reservations(scenario, self._store)
        self.statuses = Statuses(self._store)
        self._requests = TokenBuckets(scenario.request_buckets)
        self._resources = TokenBuckets(scenario.resource_buckets)
        self._launcher = Launcher(
            scenario,
            self.capacity,
            self.network,
            self.templates,
            self.placement_groups,
            self.reservations,
            self._resources,
            self._life,
        )
        self._fleets: dict[str, tuple[FleetRequest, FleetReply]] = {}
        """ClientToken -> what was asked and answered."""
        self._runs: dict[str, tuple[RunRequest, tuple[str, ...]]] = {}
        self.calls: dict[str, int] = {}
        """Action -> calls so far, refused ones included."""

    # --- calls of EC2 ------------------------------------------------------------------------------------------------

    def enter(self, action: str, now: float, *, bare: bool = False) -> float:
        """Count a call of `action` and return the time it happens at.

        Raises:
            Ec2Error: RequestLimitExceeded, or InternalError if the scenario says so.
        """
        now = self._settle(now)
        self.calls[action] = self.calls.get(action, 0) + 1
        if not self._requests.take(request_bucket(action, bare=bare), 1, now):
            raise _throttled()
        if self._happens(self.scenario.faults.internal_error_rate):
            raise Ec2Error("InternalError", "An internal error has occurred", 500)
        return now

    def create_fleet(self, request: FleetRequest, now: float) -> FleetReply:
        """CreateFleet, type instant. A shortage is data in the reply, not an error.

        Raises:
            Ec2Error: the request is refused as a whole; nothing was launched.
            ReplyLost: it took effect, and the caller does not learn how.
        """
        now = self.enter("CreateFleet", now)
        fleets.check_request(request)
        known = self._fleets.get(request.client_token) if request.client_token else None
        if known is not None:
            if known[0] != request:
                raise _mismatch()
            return known[1]
        if request.dry_run:
            raise _dry_run()
        reply = self._launcher.fleet(request, now)
        if request.client_token:
            self._fleets[request.client_token] = (request, reply)
        self._lose_reply()
        return reply

    def run_instances(self, request: RunRequest, now: float) -> tuple[InstanceRecord, ...]:
        """RunInstances: between `count_min` and `count_max` instances, all in one subnet.

        Raises:
            Ec2Error: fewer than `count_min` can be had, or the request is refused; nothing was launched.
            ReplyLost: it took effect, and the caller does not learn how.
        """
        now = self.enter("RunInstances", now)
        known = self._runs.get(request.client_token) if request.client_token else None
        if known is not None:
            if known[0] != request:
                raise _mismatch()
            return tuple(r for id in known[1] if (r := self._store.get(id)) is not None)
        if request.dry_run:
            raise _dry_run()
        ids = self._launcher.run(request, now)
        if request.client_token:
            self._runs[request.client_token] = (request, ids)
        self._lose_reply()
        return tuple(self._store.require(ids))

    def describe_instances(
        self, now: float, *, ids: Sequence[str] | None = None, filters: Filters = NO_TAGS
    ) -> list[InstanceRecord]:
        """Every instance that a (lagging) read shows, in launch order.

        Raises:
            Ec2Error: InvalidInstanceID.NotFound if one of `ids` is not shown (yet), InvalidParameterValue for a filter.
        """
        now = self.enter("DescribeInstances", now, bare=not ids and not filters)
        return [self._as_shown(r, now) for r in self._store.select(now, ids, filters)]

    def describe_instances_page(self, now: float, filters: Filters, page_size: int, next_token: str = "") -> Page:
        """One page of DescribeInstances. A token stays good while instances come and go: each instance that exists
        all the time is on exactly one page."""
        now = self.enter("DescribeInstances", now)
        page = cut_page(self._store.select(now, None, filters), filters, page_size, next_token)
        return replace(page, records=tuple(self._as_shown(r, now) for r in page.records))

    def terminate_instances(self, ids: Sequence[str], now: float) -> list[StateChange]:
        """TerminateInstances; idempotent.

        Raises:
            Ec2Error: one id is wrong (nothing happens to any), or one is protected (then instances in other zones
                end all the same), or the resource bucket holds fewer tokens than there are ids.
        """
        now = self.enter("TerminateInstances", now)
        records = self._store.require(list(dict.fromkeys(ids)))
        if not self._resources.take("TerminateInstances", len(records), now):
            raise _throttled()
        protected = [r for r in records if r.protected and r.is_live]
        closed_zones = {r.zone for r in protected}
        changes = [self._terminate(r, now) for r in records if r.zone not in closed_zones]
        if protected:
            raise Ec2Error(
                "OperationNotPermitted",
                f"The instance '{protected[0].id}' may not be terminated. Modify its 'disableApiTermination' instance "
                "attribute and try again.",
            )
        self._lose_reply()
        return changes

    def stop_instances(self, ids: Sequence[str], now: float) -> list[StateChange]:
        """StopInstances.

        Raises:
            Ec2Error: a wrong id, or an instance that is not running (IncorrectInstanceState) or spot
                (UnsupportedOperation); nothing happens to any.
        """
        now = self.enter("StopInstances", now)
        records = self._store.require(list(dict.fromkeys(ids)))
        for record in records:
            if record.is_spot:
                raise Ec2Error(
                    "UnsupportedOperation",
                    f"You can't stop the Spot Instance '{record.id}' because it is associated with a one-time Spot "
                    "Instance request.",
                )
            if record.state not in ("running", "stopping", "stopped"):
                raise _wrong_state(record, "stopped")
        if not self._resources.take("StopInstances", len(records), now):
            raise _throttled()
        for record in records:
            if record.state == "running":
                self._life.stop(record, now)
        return [self._change(record) for record in records]

    def start_instances(self, ids: Sequence[str], now: float) -> list[StateChange]:
        """StartInstances.

        Raises:
            Ec2Error: a wrong id, an instance that is not stopped, or no capacity; nothing happens to any.
        """
        now = self.enter("StartInstances", now)
        records = self._store.require(list(dict.fromkeys(ids)))
        wanted: dict[tuple[str, str, str], int] = {}
        for record in records:
            if record.state not in ("stopped", "pending", "running"):
                raise _wrong_state(record, "started")
            pool = (record.instance_type, record.zone, record.market)
            wanted[pool] = wanted.get(pool, 0) + (record.state == "stopped")
        for pool, count in wanted.items():
            if self.capacity.free(pool) < count:
                raise Ec2Error("InsufficientInstanceCapacity", shortage_message(*pool), 500)
        if not self._resources.take("StartInstances", sum(wanted.values()), now):
            raise _throttled()
        for record in records:
            if record.state == "stopped":
                self._life.start(record, now)
        return [self._change(record) for record in records]

    def create_tags(self, resources: Sequence[str], tags: Mapping[str, str], now: float) -> None:
        """CreateTags on instances and launch templates; other resources are accepted and forgotten."""
        self._retag("CreateTags", resources, tags, (), now)

    def delete_tags(self, resources: Sequence[str], keys: Sequence[str], now: float) -> None:
        self._retag("DeleteTags", resources, NO_TAGS, keys, now)

    def set_protected(self, id: str, protected: bool, now: float) -> None:
        """ModifyInstanceAttribute disableApiTermination."""
        now = self.enter("ModifyInstanceAttribute", now)
        self._store.require([id])
        self._store.change(id, now, protected=protected)

    # --- lab: time, and what the world does --------------------------------------------------------------------------

    def advance(self, now: float) -> list[Ec2Event]:
        """*lab*: make everything true that is due by `now`; the events since the last call, in order of time."""
        self._settle(now)
        return sorted(self._life.drain(), key=lambda event: event.at)

    def next_event_at(self) -> float | None:
        """*lab*: when `advance` will have something to do; None if nothing is under way."""
        reclaims = (max(at, self._now) for at, _ in self.reservations.reclaims())
        return min((at for at in (self._life.next_event_at(), *reclaims) if at is not None), default=None)

    def instance(self, id: str) -> InstanceRecord:
        """*lab*: the truth about an instance, without lag.

        Raises:
            Ec2Error: InvalidInstanceID.NotFound or .Malformed.
        """
        check_id(id)
        record = self._store.get(id)
        if record is None:
            raise not_found([id])
        return record

    def instances(self) -> list[InstanceRecord]:
        """*lab*: the truth about every instance that EC2 remembers, in launch order."""
        return list(self._store.records())

    def live_instances(self) -> list[InstanceRecord]:
        """*lab*: the truth about those that are neither shutting down nor terminated."""
        return [r for r in self._store.records() if r.is_live]

    def spot_reclaim(self, id: str, now: float, notice_s: float = 120.0, action: str = "terminate") -> None:
        """*lab*: EC2 takes a spot instance back, after a warning or (`notice_s` 0) without one.

        With `action` `hibernate` it stops as soon as it was warned.
        """
        now = self._settle(now)
        record = self.instance(id)
        if not record.is_live:
            return
        if notice_s > 0:
            self._life.warn(Ec2Event(now, EventKind.SPOT_INTERRUPTION, id, action=action), notice_s)
        else:
            self._life.end(record, now, "Server.SpotInstanceTermination", "Spot instance termination")

    def reclaim_at(self, id: str) -> float | None:
        """*lab*: when a warned spot instance will be taken; None if it was not warned."""
        return self._life.reclaim_at(id)

    def rebalance_at(self, id: str) -> float | None:
        """*lab*: when EC2 first recommended to replace the instance; None if it did not."""
        return self._life.rebalance_at(id)

    def recommend_rebalance(self, id: str, now: float) -> None:
        """*lab*: EC2 says that the instance is at elevated risk."""
        now = self._settle(now)
        self._life.announce(Ec2Event(now, EventKind.REBALANCE, self.instance(id).id))

    def interrupt_reserved(self, id: str, now: float, notice_s: float = 120.0) -> None:
        """*lab*: EC2 takes back an instance of an interruptible capacity reservation, after a warning."""
        now = self._settle(now)
        if self.instance(id).is_live:
            event = Ec2Event(now, EventKind.RESERVATION_INTERRUPTION, id, ends_at=now + notice_s)
            self._life.warn(event, notice_s)

    def announce_block_end(self, reservation: str, ends_at: float, now: float) -> None:
        """*lab*: EC2 warns that a capacity block ends; nothing is ended."""
        event = Ec2Event(self._settle(now), EventKind.BLOCK_ENDING, "", reservation=reservation, ends_at=ends_at)
        self._life.announce(event)

    def schedule_event(self, id: str, event: ScheduledEvent, now: float) -> None:
        """*lab*: a scheduled event, which DescribeInstanceStatus shows and AWS Health tells; EC2 does not act on it."""
        now = self._settle(now)
        self.statuses.schedule(self.instance(id).id, event)
        self._life.announce(Ec2Event(now, EventKind.HEALTH, id, scheduled=event))

    def kill_instance(self, id: str, now: float) -> None:
        """*lab*: the instance dies without notice: terminated at once."""
        now = self._settle(now)
        record = self.instance(id)
        if record.state != "terminated":
            self._life.kill(record, now)

    def set_capacity(self, instance_type: str, zone: str, market: str, count: int | None) -> None:
        """*lab*: the pool holds `count` instances in all from now on; None is unlimited. What runs there stays."""
        self.capacity.set_limit((instance_type, zone, market), count)

    def set_bucket(self, kind: str, name: str, bucket: Bucket | None, now: float) -> None:
        """*lab*: replace a token bucket; `kind` is `request` or `resource`, None lifts the limit."""
        buckets = {"request": self._requests, "resource": self._resources}[kind]
        buckets.set(name, bucket, self._settle(now))

    # --- helpers -----------------------------------------------------------------------------------------------------

    def _terminate(self, record: InstanceRecord, now: float) -> StateChange:
        if record.is_live and not self._happens(self.scenario.faults.terminate_ignored_rate):
            self._life.end(record, now, "Client.UserInitiatedShutdown", "User initiated shutdown")
            return self._change(record)
        return StateChange(record.id, record.state, "shutting-down" if record.is_live else record.state)

    def _change(self, before: InstanceRecord) -> StateChange:
        after = self._store.get(before.id)
        return StateChange(before.id, before.state, after.state if after else "terminated")

    def _retag(
        self, action: str, resources: Sequence[str], tags: Mapping[str, str], without: Sequence[str], now: float
    ) -> None:
        now = self.enter(action, now)
        instances = [id for id in resources if id.startswith("i-")]
        for record in self._store.require(instances):
            kept = {k: v for k, v in record.tags.items() if k not in without}
            self._store.change(record.id, now, tags={**kept, **tags})
        for id in resources:
            template = self.templates.find(id)
            if template is not None:
                kept = {k: v for k, v in template.tags.items() if k not in without}
                self.templates.set_tags(id, {**kept, **tags})

    def _as_shown(self, record: InstanceRecord, now: float) -> InstanceRecord:
        if self.scenario.address_lag_s > 0 and now - record.launched_at < self.scenario.address_lag_s:
            return replace(record, private_address="")
        return record

    def _settle(self, now: float) -> float:
        self._now = max(self._now, now)
        self._life.settle(self._now)
        due = [(at, record.id) for at, record in self.reservations.reclaims() if at <= self._now]
        for _, id in sorted(due):
            self._life.end(self.instance(id), self._now, "Server.CapacityBlockEnded", "The capacity block ends")
        return self._now

    def _happens(self, rate: float) -> bool:
        return rate > 0 and self._rng.random() < rate

    def _lose_reply(self) -> None:
        if self._happens(self.scenario.faults.reply_lost_rate):
            raise ReplyLost


def _mismatch() -> Ec2Error:
    return Ec2Error(
        "IdempotentParameterMismatch",
        "The client token you have provided is associated with a resource that has already been created with "
        "different parameters.",
    )


def _throttled() -> Ec2Error:
    return Ec2Error("RequestLimitExceeded", "Request limit exceeded.", 503)


def _dry_run() -> Ec2Error:
    return Ec2Error("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)


def _wrong_state(record: InstanceRecord, aim: str) -> Ec2Error:
    return Ec2Error(
        "IncorrectInstanceState",
        f"The instance '{record.id}' is not in a state from which it can be {aim}.",
    )
