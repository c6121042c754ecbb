"""Ill instances: EC2's status checks, what agents report, and boots that come to nothing."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from clustermgtd.model.action import Reason, SetNodesDown
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.node_report import BootPhase, HealthTrouble, NodeReport, SlurmdTrouble
from clustermgtd.model.notice import Notice, NoticeKind, Notices, NoticeSource
from clustermgtd.model.policy import HealthPolicy, Policy
from clustermgtd.model.snapshot import Plan, Snapshot

if TYPE_CHECKING:
    from tests.simulation.world import World

_KINDS = ("impaired", "check", "slurmd")
_REASONS = frozenset({Reason.IMPAIRED, Reason.HEALTH_CHECK, Reason.SLURMD_FAILING, Reason.BOOT_TIMEOUT})


@dataclass(frozen=True)
class _Ailment:
    kind: str
    since: float
    ends_at: float


class Ailments:
    """One run's. They draw from a generator of their own."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"ailments {seed}")
        wait_s = self._rng.choice([0.0, 60.0])
        self._health = HealthPolicy(
            impaired_s=wait_s,
            check_s=wait_s,
            slurmd_s=wait_s,
            boot_s={BootPhase.SLURMD_STARTED: self._rng.choice([None, 45.0])},
            keep_s=self._rng.choice([0.0, 0.0, 200.0]),
        )
        self._stuck_rate = self._rng.choice([0.0, 0.1])
        self.is_ignored = False
        self._boots: dict[InstanceId, bool] = {}
        self._ill: dict[InstanceId, _Ailment] = {}

    def policy(self, policy: Policy) -> Policy:
        return replace(policy, health=self._health)

    def boots(self, instance: str, world: World) -> bool:
        """Its slurmd registers; once drawn that stays so."""
        is_well = world.is_healed or self._rng.random() >= self._stuck_rate
        return self._boots.setdefault(InstanceId(instance), is_well)

    def trouble(self, world: World) -> None:
        """Some instance with a slurmd falls ill, for a while or for good."""
        well = sorted(world.registered & world.cloud.live().keys() - self._ill.keys())
        if well:
            lasts_s = self._rng.choice([30.0, float("inf"), float("inf")])
            kind = self._rng.choice(_KINDS)
            self._ill[InstanceId(self._rng.choice(well))] = _Ailment(kind, world.now, world.now + lasts_s)

    def reports(self, world: World) -> dict[InstanceId, NodeReport]:
        """What agents have told."""
        told: dict[InstanceId, NodeReport] = {}
        if self.is_ignored:
            return told
        for id in sorted(self._boots.keys() & world.cloud.live().keys()):
            ailment = self._now(id, world)
            kind = ailment.kind if ailment else ""
            told[id] = NodeReport(
                id,
                phases=dict.fromkeys(BootPhase, 1.0),
                health=HealthTrouble(1.0, 1, "no GPU") if kind == "check" else None,
                slurmd=SlurmdTrouble(1.0, 4, 1) if kind == "slurmd" else None,
            )
        return told

    def added_to(self, notices: Notices, world: World) -> Notices:
        """With failing status checks."""
        if self.is_ignored:
            return notices
        added = dict(notices)
        for id in sorted(self._ill.keys() & world.cloud.live().keys()):
            ailment = self._now(id, world)
            if ailment is not None and ailment.kind == "impaired":
                notice = Notice(
                    f"{id}/system",
                    NoticeKind.IMPAIRED,
                    ailment.since,
                    NoticeSource.STATUS,
                    (id,),
                    matter="system",
                    detail="system status check fails",
                )
                added[id] = (*added.get(id, ()), notice)
        return added

    def _now(self, id: InstanceId, world: World) -> _Ailment | None:
        ailment = self._ill.get(id)
        return ailment if ailment is not None and world.now < ailment.ends_at else None

    def check_down(self, action: SetNodesDown, world: World) -> None:
        """No job that runs on a node that answers is lost to an illness."""
        if action.reason not in _REASONS:
            return
        world.counts[action.reason] += 1
        for name in action.nodes:
            node = world.slurm.nodes[name]
            is_running = node.job is not None and world.slurm.jobs[node.job].state == "RUNNING"
            assert not (is_running and node.power == "up" and node.responds), f"{name} runs job {node.job}: {action}"

    def check(self, seen: Snapshot, plan: Plan, world: World) -> None:
        """After a round no job can start on an instance whose status check has failed for too long."""
        assert self._health.impaired_s is not None
        live = world.cloud.live()
        for node in world.slurm.nodes.values():
            ailment = self._now(InstanceId(node.backing), world) if node.backing in live else None
            if ailment is None or ailment.kind != "impaired" or node.name in world.foreign:
                continue
            is_up = node.power == "up" and node.responds and not node.is_down
            if not is_up or world.now < ailment.since + self._health.impaired_s:
                continue
            had_job = seen.nodes[node.name].is_running_job
            if node.job is None and had_job:
                continue  # the same round took its job away by another node of it
            if any(held.queue == node.queue and held.reason is Reason.IMPAIRED for held in plan.safeguards.held_back):
                continue
            is_leaving = node.is_draining or node.is_power_down_asked
            assert is_leaving, f"{node.name} is on ill {node.backing}: {ailment}"
            world.counts["ill and drained" if node.job is not None else "ill and kept"] += 1
        for id in sorted(self._ill.keys() - world.cloud.live().keys()):
            del self._ill[id]
            world.counts["ill and left"] += 1
