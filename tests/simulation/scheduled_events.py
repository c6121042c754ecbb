"""Scheduled events of the simulated EC2: told late, told anew after a restart, called off, or acted upon."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from clustermgtd.decide.maintenance import PREFIX
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.notice import Notice, NoticeAction, NoticeKind, Notices, NoticeSource
from clustermgtd.model.policy import Policy
from clustermgtd.model.reservation import Reservation
from clustermgtd.model.snapshot import Snapshot

if TYPE_CHECKING:
    from tests.simulation.world import World

_ACTIONS = (NoticeAction.TERMINATE, NoticeAction.STOP, NoticeAction.REBOOT, NoticeAction.MAINTENANCE)


@dataclass
class _Event:
    notice: Notice
    known_at: float
    """When a reading of EC2's status shows it first."""
    acts_at: float
    over_at: float
    """Called off, or done with."""


class ScheduledEvents:
    """One run's. It draws from a generator of its own."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"scheduled events {seed}")
        self.lead_s = self._rng.choice([0.0, 60.0, 600.0])
        self.is_ignored = False
        self._events: dict[InstanceId, _Event] = {}
        self._read_at = 0.0

    def policy(self, policy: Policy) -> Policy:
        return replace(policy, maintenance_lead_s=self.lead_s, maintenance_forget_s=150.0)

    def trouble(self, world: World) -> None:
        """EC2 announces work on some instance, perhaps at once, perhaps for a time that has passed."""
        running = sorted(id for id, record in world.cloud.live().items() if record.state == "running")
        if not running:
            return
        id = InstanceId(self._rng.choice(running))
        at = world.now + self._rng.choice([-100.0, 30.0, 300.0, 1500.0])
        action = self._rng.choice(_ACTIONS)
        notice = Notice(
            f"event {id}",
            NoticeKind.SCHEDULED_EVENT,
            world.now,
            NoticeSource.STATUS,
            (id,),
            action=action,
            effective_at=at,
            matter=f"event {id}",
        )
        acts_at = max(at, world.now) + self._rng.choice([1.0, 200.0])
        over_at = self._rng.choice([world.now + 100.0, acts_at, acts_at, acts_at + 3000.0])
        self._events[id] = _Event(notice, world.now + self._rng.choice([0.0, 30.0, 60.0]), acts_at, over_at)

    def pass_time(self, world: World) -> None:
        """EC2 does what it announced."""
        live = world.cloud.live()
        for id, event in list(self._events.items()):
            if id not in live or event.over_at <= world.now < event.acts_at:
                del self._events[id]
            elif event.acts_at <= world.now:
                if event.notice.action is NoticeAction.TERMINATE:
                    world.cloud.model.kill_instance(id, world.now)
                elif event.notice.action is NoticeAction.STOP:
                    world.cloud.stop(id, world.now)
                event.acts_at = float("inf")

    def start_daemon(self, world: World) -> None:
        """What a former daemon knew is read again in a while."""
        self._read_at = world.now + self._rng.choice([0.0, 60.0])

    def added_to(self, notices: Notices, world: World) -> Notices:
        """With the events that the daemon knows of now."""
        if self.is_ignored or world.now < self._read_at:
            return notices
        known = {id: event for id, event in self._events.items() if self._is_known(id, event, world)}
        return {
            id: (*notices.get(id, ()), *([known[id].notice] if id in known else []))
            for id in sorted(notices.keys() | known.keys())
        }

    def _is_known(self, id: InstanceId, event: _Event, world: World) -> bool:
        return id in world.cloud.live() and event.known_at <= world.now < event.over_at

    def check_reservation(self, reservation: Reservation, world: World) -> None:
        """It is for the one node of an instance that lives, and begins no later than the lead time before the event."""
        if not reservation.name.startswith(PREFIX):
            return
        event = self._events[InstanceId(reservation.name.removeprefix(PREFIX))]
        assert event.notice.effective_at is not None
        assert len(reservation.nodes) == 1
        assert abs(reservation.starts_at - (event.notice.effective_at - self.lead_s)) < 1, reservation
        world.counts["maintenance reserved"] += 1

    def check(self, seen: Snapshot, world: World) -> None:
        """After a round no further job can start where EC2's work is near, and no idle node waits for it."""
        if world.now < self._read_at:
            return
        for node in world.slurm.nodes.values():
            event = self._events.get(InstanceId(node.backing))
            if event is None or not self._is_known(InstanceId(node.backing), event, world):
                continue
            if node.power != "up" or not node.responds or node.is_down or node.name in world.foreign:
                continue
            is_leaving = node.is_draining or node.is_power_down_asked
            if node.job is None:
                if seen.nodes[node.name].is_running_job:
                    continue  # the same round took its job away by another node of it
                assert is_leaving, f"{node.name} idles on {node.backing}: {event.notice}"
                continue
            assert event.notice.effective_at is not None
            is_near = world.now >= event.notice.effective_at - self.lead_s
            is_planned = f"{PREFIX}{node.backing}" in world.slurm.reservations
            assert is_planned, f"{node.name} runs job {node.job} without a reservation: {event.notice}"
            assert is_leaving or not is_near, f"{node.name} runs job {node.job}: {event.notice}"
            world.counts["maintenance drained" if is_near else "maintenance planned"] += 1

    def unsettled(self, world: World) -> list[str]:
        """Reservations that nobody needs any more."""
        return [f"reservation {name} is left" for name in world.slurm.reservations if name.startswith(PREFIX)]
