"""What EC2 announces about instances, on its way to the daemon: late, twice, out of order, or never."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from clustermgtd.decide.interruptions import TAKEN
from clustermgtd.lab.ec2.records import Ec2Event, EventKind
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.notice import Notice, NoticeAction, NoticeKind, Notices, NoticeSource
from clustermgtd.model.policy import RebalancePolicy

if TYPE_CHECKING:
    from tests.simulation.world import World

LEADS_S = (120.0, 30.0, 0.0)
"""How long before the end of an instance its jobs are requeued."""


class Announcements:
    """One run's messages."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"announcements {seed}")
        self.lead_s = self._rng.choice(LEADS_S)
        self.rebalance = self._rng.choice(list(RebalancePolicy))
        self._heard_at: dict[Notice, float] = {}

    def hear(self, events: Iterable[Ec2Event], world: World) -> None:
        """EC2 told EventBridge; what arrives, arrives some time later."""
        for event in events:
            id = InstanceId(event.instance_id)
            ends_at = world.cloud.model.reclaim_at(id)
            if event.kind is EventKind.SPOT_INTERRUPTION and ends_at is not None:
                kind, action, at = NoticeKind.SPOT_INTERRUPTION, NoticeAction.TERMINATE, ends_at
            elif event.kind is EventKind.REBALANCE:
                kind, action, at = NoticeKind.REBALANCE, NoticeAction.NONE, None
            else:
                continue
            notice = Notice(f"{kind} {id}", kind, event.at, NoticeSource.QUEUE, (id,), action=action, effective_at=at)
            if world.is_healed or self._rng.random() < 0.85:
                self._heard_at[notice] = world.now + self._rng.choice([0.0, 1.0, 30.0])
            if id in world.registered and self._rng.random() < 0.5:
                looked_s = self._rng.choice([1.0, 5.0])
                told = replace(notice, source=NoticeSource.NODE_AGENT, announced_at=event.at + looked_s)
                self._heard_at[told] = world.now + looked_s + self._rng.choice([0.0, 5.0])
                world.counts["announced by an agent"] += 1

    def trouble(self, world: World) -> None:
        """EC2 advises to replace some spot instance."""
        spot = [record.id for record in world.cloud.live().values() if record.is_spot and record.state == "running"]
        if spot:
            world.cloud.model.recommend_rebalance(self._rng.choice(sorted(spot)), world.now)

    def notices(self, world: World) -> Notices:
        """What the daemon knows now."""
        live = world.cloud.live()
        known: dict[InstanceId, dict[NoticeKind, Notice]] = {}
        for notice in sorted((n for n, at in self._heard_at.items() if at <= world.now), key=lambda n: n.order):
            (id,) = notice.instances
            if id in live:
                known.setdefault(id, {})[notice.kind] = notice
        return {id: tuple(known[id][kind] for kind in sorted(known[id])) for id in sorted(known)}

    def check(self, world: World) -> None:
        """After a round no job is on a node whose instance EC2 takes, once its time has come."""
        for instance, notices in self.notices(world).items():
            for node in world.slurm.nodes.values():
                if node.backing != instance or node.job is None or node.name in world.foreign or node.power != "up":
                    continue
                for notice in notices:
                    is_due = world.now >= (notice.effective_at or 0.0) - self.lead_s
                    assert notice.kind not in TAKEN or not is_due, f"{node.name} runs job {node.job}: {notice}"
