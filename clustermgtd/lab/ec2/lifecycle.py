"""How instances come, change and go: the state machine of EC2, its timers and its events."""

from __future__ import annotations

import heapq
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from clustermgtd.lab.ec2.instances import InstanceStore
from clustermgtd.lab.ec2.records import SPOT, Ec2Event, EventKind, InstanceRecord, LaunchData
from clustermgtd.lab.ec2.scenario import Scenario
from clustermgtd.lab.ec2.supply import Capacity, Network

_SCATTER = 0x9E3779B97F4A7C15
"""Odd, so that multiplying by it modulo 2^64 maps counters one to one onto ids that look like EC2's."""


class Ids:
    """Ids derived from a counter: the same calls give the same ids."""

    def __init__(self) -> None:
        self._count = 0

    def next(self, prefix: str) -> str:
        """`<prefix>-0` and sixteen hexadecimal digits."""
        self._count += 1
        return f"{prefix}-0{self._count * _SCATTER % 2**64:016x}"

    def fleet(self) -> str:
        digits = self.next("x")[3:] + "0" * 16
        return f"fleet-{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}"


@dataclass(frozen=True, slots=True)
class Birth:
    """What is common to the instances of one reservation."""

    instance_type: str
    zone: str
    subnet: str
    market: str
    data: LaunchData
    tags: Mapping[str, str]
    reservation_id: str
    client_token: str = ""
    fleet_id: str = ""
    template_id: str = ""
    template_version: int = 0
    capacity_reservation: str = ""


class Lifecycle:
    """Moves instances along EC2's states. Callers pass a `now` that never goes back."""

    def __init__(
        self, scenario: Scenario, rng: random.Random, store: InstanceStore, capacity: Capacity, network: Network
    ) -> None:
        self._scenario = scenario
        self._rng = rng
        self._store = store
        self._capacity = capacity
        self._network = network
        self._timers: list[tuple[float, int, str, str]] = []
        """(at, serial, what, instance id)."""
        self._valid: dict[tuple[str, str], int] = {}
        """(what, instance id) -> serial of the only timer that counts."""
        self._serial = 0
        self._sequence = 0
        self._rebalance_at: dict[str, float] = {}
        self._outbox: list[Ec2Event] = []
        self.ids = Ids()

    def launch(self, birth: Birth, count: int, now: float) -> tuple[str, ...]:
        """Create instances in `pending`; the caller has seen that capacity and addresses are there."""
        subnet = self._network.subnet(birth.subnet)
        return tuple(self._launch_one(birth, subnet.take(), now) for _ in range(count))

    def _launch_one(self, birth: Birth, address: str, now: float) -> str:
        self._sequence += 1
        id = self.ids.next("i")
        record = InstanceRecord(
            id=id,
            sequence=self._sequence,
            state="pending",
            changed_at=now,
            launched_at=now,
            instance_type=birth.instance_type,
            zone=birth.zone,
            subnet=birth.subnet,
            market=birth.market,
            private_address=address,
            data=birth.data,
            tags=birth.tags,
            client_token=birth.client_token,
            fleet_id=birth.fleet_id,
            reservation_id=birth.reservation_id,
            volume_id=f"vol-{id[2:]}",
            interface_id=f"eni-{id[2:]}",
            spot_request_id=f"sir-{id[-8:]}" if birth.market == SPOT else "",
            template_id=birth.template_id,
            template_version=birth.template_version,
            capacity_reservation=birth.capacity_reservation,
            protected=birth.data.protected,
        )
        self._capacity.take(record.pool)
        self._store.put(record)
        self._emit_state(record, now)
        self._boot(id, now)
        return id

    def start(self, record: InstanceRecord, now: float) -> None:
        """stopped -> pending; the caller has seen that there is capacity."""
        self._capacity.take(record.pool)
        changed = self._store.change(
            record.id,
            now,
            state="pending",
            launched_at=now,
            state_reason_code="",
            state_reason="",
            transition_reason="",
        )
        self._emit_state(changed, now)
        self._boot(record.id, now)

    def stop(self, record: InstanceRecord, now: float) -> None:
        """running or pending -> stopping."""
        self._leave(record, "stopping", now, "Client.UserInitiatedShutdown", "User initiated shutdown")
        self._set_timer("stopped", record.id, now + self._scenario.stop_delay_s)

    def end(self, record: InstanceRecord, now: float, code: str, reason: str) -> None:
        """Any state but the last two -> shutting-down."""
        self._leave(record, "shutting-down", now, code, reason)
        self._set_timer("terminated", record.id, now + self._scenario.terminate_delay_s)

    def kill(self, record: InstanceRecord, now: float) -> None:
        """Any state but terminated -> terminated at once, as when the hardware dies."""
        self._end_now(record, now)

    def warn(self, event: Ec2Event, notice_s: float) -> None:
        """Announce an interruption and end the instance `notice_s` later; one that hibernates goes at once."""
        self.announce(event)
        if event.action == "hibernate":
            record = self._store.get(event.instance_id)
            assert record is not None
            self.stop(record, event.at)
        else:
            self._set_timer("reclaim", event.instance_id, event.at + notice_s)

    def announce(self, event: Ec2Event) -> None:
        """Tell it, and do nothing."""
        self._outbox.append(event)
        if event.kind is EventKind.REBALANCE:
            self._rebalance_at.setdefault(event.instance_id, event.at)

    def rebalance_at(self, id: str) -> float | None:
        """When the recommendation was first given; None if it was not."""
        return self._rebalance_at.get(id)

    def settle(self, now: float) -> None:
        """Make everything true that is due by `now`."""
        while self._timers and self._timers[0][0] <= now:
            at, serial, what, id = heapq.heappop(self._timers)
            if self._valid.get((what, id)) == serial:
                del self._valid[what, id]
                self._fire(what, id, at)

    def drain(self) -> list[Ec2Event]:
        """The events since the last call, in order."""
        events, self._outbox = self._outbox, []
        return events

    def next_event_at(self) -> float | None:
        """When there is something to settle or to drain; None if nothing is under way."""
        while self._timers and self._valid.get((self._timers[0][2], self._timers[0][3])) != self._timers[0][1]:
            heapq.heappop(self._timers)
        times = [self._timers[0][0]] if self._timers else []
        if self._outbox:
            times.append(self._outbox[0].at)
        return min(times, default=None)

    def reclaim_at(self, id: str) -> float | None:
        """When a warned spot instance will be taken; None if it was not warned."""
        serial = self._valid.get(("reclaim", id))
        return next((at for at, s, _, _ in self._timers if s == serial), None) if serial is not None else None

    def _fire(self, what: str, id: str, at: float) -> None:
        record = self._store.get(id)
        assert record is not None
        match what:
            case "running":
                self._emit_state(self._store.change(id, at, state="running"), at)
            case "stopped":
                self._capacity.release(record.pool)
                self._emit_state(self._store.change(id, at, state="stopped"), at)
            case "reclaim":
                self.end(record, at, "Server.SpotInstanceTermination", "Spot instance termination")
            case "terminated" | "dead":
                self._end_now(record, at)
            case "forgotten":
                self._store.forget(id)
            case _:
                raise AssertionError(what)

    def _end_now(self, record: InstanceRecord, at: float) -> None:
        for what in ("running", "dead", "stopped", "reclaim", "terminated"):
            self._valid.pop((what, record.id), None)
        if record.state != "stopped":
            self._capacity.release(record.pool)
        self._network.subnet(record.subnet).give_back(record.private_address)
        changes: dict[str, object] = {"state": "terminated", "private_address": ""}
        if not record.state_reason_code:
            changes |= {"state_reason_code": "Server.InternalError", "state_reason": "Internal error on launch"}
        self._emit_state(self._store.change(record.id, at, **changes), at)
        self._set_timer("forgotten", record.id, at + self._scenario.terminated_visible_s)

    def _boot(self, id: str, now: float) -> None:
        delay = self._scenario.boot_delay_s
        if self._scenario.boot_jitter_s > 0:
            delay += self._rng.uniform(0.0, self._scenario.boot_jitter_s)
        rate = self._scenario.faults.death_while_pending_rate
        dies = rate > 0 and self._rng.random() < rate
        self._set_timer("dead" if dies else "running", id, now + delay)

    def _leave(self, record: InstanceRecord, state: str, now: float, code: str, reason: str) -> None:
        for what in ("running", "dead", "stopped", "reclaim"):
            self._valid.pop((what, record.id), None)
        if record.state == "stopped":
            self._capacity.take(record.pool)
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S GMT")
        initiator = "User initiated" if code.startswith("Client") else "Service initiated"
        changed = self._store.change(
            record.id,
            now,
            state=state,
            state_reason_code=code,
            state_reason=f"{code}: {reason}",
            transition_reason=f"{initiator} ({stamp})",
        )
        self._emit_state(changed, now)

    def _emit_state(self, record: InstanceRecord, at: float) -> None:
        self._outbox.append(Ec2Event(at, EventKind.STATE_CHANGE, record.id, record.state))

    def _set_timer(self, what: str, id: str, at: float) -> None:
        self._serial += 1
        self._valid[what, id] = self._serial
        heapq.heappush(self._timers, (at, self._serial, what, id))
