"""Schedules that begin and end, idle times of compute resources, and what must hold for nodes that idle.

Has a random generator of its own, so that other troubles stay where they are in a seed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from clustermgtd.model.action import Action, PowerDownNodes, PowerUpNodes, Reason
from clustermgtd.model.ids import NodeName
from clustermgtd.model.node import Node, NodeFlag
from clustermgtd.model.policy import ComputeResourceKey, Policy
from clustermgtd.model.schedule import ScheduleName, ScheduleTime, WarmNodes
from clustermgtd.model.snapshot import Snapshot

if TYPE_CHECKING:
    from tests.simulation.slurm_model import SimNode, SimSlurm
    from tests.simulation.world import World

WARM_BUGS = frozenset({"idle-ignored", "warm-ignored", "schedules-endless", "completing-ignored"})
"""Mistakes to plant: nobody idles out, nobody is warm, windows have no end, jobs that are cleaned up are not seen."""


class WarmSchedules:
    """One run's."""

    def __init__(self, seed: int, start: float, bugs: frozenset[str]) -> None:
        self._rng = random.Random(f"warm schedules {seed}")
        self._bugs = bugs
        self._windows: dict[ScheduleName, list[tuple[float, float]]] = {
            ScheduleName(name): sorted(self._window(start) for _ in range(self._rng.choice([0, 1, 1, 2])))
            for name in ("a", "b")
        }
        self.epilog_s = self._rng.choice([0.0, 0.0, 20.0, 90.0])
        self._idle_s: dict[ComputeResourceKey, float] = {}
        self._warm: dict[ComputeResourceKey, tuple[WarmNodes, ...]] = {}

    def _window(self, start: float) -> tuple[float, float]:
        begins = start + self._rng.uniform(-100.0, 1200.0)
        return begins, begins + self._rng.choice([20.0, 200.0, 900.0])

    # set-up

    def use(self, policy: Policy, slurm: SimSlurm) -> Policy:
        """The policy with idle times and warm nodes; its nodes are in Slurm already."""
        keys = sorted(policy.compute_resources.keys() - policy.blocks.of.keys(), key=lambda key: (key.queue, key.name))
        own: dict[ComputeResourceKey, float] = {}
        for key in keys:
            own[key] = self._rng.choice([slurm.suspend_time, 30.0, 600.0])
            dynamic = sum(1 for placed in policy.nodes.values() if placed.key == key and not placed.is_static)
            if self._rng.random() < 0.5:
                self._warm[key] = tuple(
                    WarmNodes(name, self._rng.randint(1, dynamic))
                    for name in sorted(self._windows)[: self._rng.choice([1, 2])]
                )
        for queue in sorted({key.queue for key in keys}):
            of_queue = [key for key in keys if key.queue == queue]
            is_warm = any(key in self._warm for key in of_queue)
            slurms = float("inf") if is_warm else max(own[key] for key in of_queue)
            self._idle_s |= {key: own[key] for key in of_queue if own[key] != slurms}
            for name, placed in policy.nodes.items():
                if placed.key in of_queue:
                    slurm.nodes[name].suspend_time = slurms
        slurm.epilog_s = self.epilog_s
        return replace(policy, idle_after_s=self._idle_s, warm=self._warm)

    def end(self) -> None:
        """No window begins any more, and none is open."""
        self._windows = {name: [] for name in self._windows}

    # what the daemon sees

    def planted(self, policy: Policy) -> Policy:
        """The policy as a planted mistake has it."""
        if "idle-ignored" in self._bugs:
            policy = replace(policy, idle_after_s={})
        return replace(policy, warm={}) if "warm-ignored" in self._bugs else policy

    def shown(self, nodes: Mapping[NodeName, Node]) -> Mapping[NodeName, Node]:
        """Slurm's nodes as a planted mistake has them."""
        if "completing-ignored" not in self._bugs:
            return nodes
        return {name: replace(node, flags=node.flags - {NodeFlag.COMPLETING}) for name, node in nodes.items()}

    def times(self, now: float) -> Mapping[ScheduleName, ScheduleTime]:
        """Where this moment is."""
        times = {}
        for name, windows in self._windows.items():
            ends_at = max((end for begin, end in windows if begin <= now), default=0.0)
            ends_at = float("inf") if ends_at and "schedules-endless" in self._bugs else ends_at
            times[name] = ScheduleTime(
                ends_at, min((begin for begin, _ in windows if begin > now), default=float("inf"))
            )
        return times

    def _minimum(self, key: ComputeResourceKey, now: float) -> int:
        """Nodes that are wanted, by the true windows."""
        active = {name for name, windows in self._windows.items() if any(begin <= now < end for begin, end in windows)}
        return max((one.minimum for one in self._warm.get(key, ()) if one.schedule in active), default=0)

    # what must hold

    def check_action(self, action: Action, seen: Snapshot, world: World) -> None:
        """Before an action: nobody is powered down while a job is being cleaned up, too early, or below a minimum."""
        if isinstance(action, PowerUpNodes) and action.reason is Reason.WARM:
            world.counts["warm"] += 1
        if not isinstance(action, PowerDownNodes):
            return
        for name in action.nodes:
            node = world.slurm.nodes[name]
            assert not (node.is_completing and node.responds), f"{name} is COMPLETING: {action}"
        if action.reason is not Reason.IDLE:
            return
        for name in action.nodes:
            node, key = world.slurm.nodes[name], world.policy.nodes[name].key
            assert seen.nodes[name].last_busy_at + self._idle_s[key] <= world.now, f"{name} has not idled: {action}"
            assert not node.is_static, action
            world.counts["idled out"] += 1
        for key in {world.policy.nodes[name].key for name in action.nodes}:
            wanted = 0 if world.table.fleet.is_stopped(key.queue) else self._minimum(key, world.now)
            left = [node for node in self._of_use(key, world) if node.name not in action.nodes]
            assert len(left) >= wanted, f"{len(left)} of {wanted} warm nodes of {key} are left: {action}"

    def check(self, seen: Snapshot, world: World) -> None:
        """After a round: whoever has idled for as long as it may leaves, unless a schedule wants it."""
        for key, idle_s in self._idle_s.items():
            stays = 0
            for node in self._of_use(key, world):
                if node.is_static or node.name in world.foreign or node.job is not None or node.is_completing:
                    continue
                before = seen.nodes[node.name]
                has_idled = before.is_up and not before.is_running_job and before.last_busy_at + idle_s <= seen.now
                if has_idled:
                    stays += 1
            world.counts["kept warm"] += stays > 0
            wanted = self._minimum(key, seen.now)
            assert stays <= wanted, f"{stays} nodes of {key} idle for longer than {idle_s} s, {wanted} are wanted"

    def _of_use(self, key: ComputeResourceKey, world: World) -> list[SimNode]:
        """Nodes that are up and take jobs, or run some."""
        return [
            node
            for name, node in sorted(world.slurm.nodes.items())
            if world.policy.nodes[name].key == key
            and node.power == "up"
            and node.responds
            and not (node.is_down or node.is_draining or node.is_power_down_asked)
        ]

    def prove(self, world: World, rounds_max: int = 400) -> bool:
        """In a world without trouble a window brings its nodes up and keeps them; false if nobody wants any."""
        if not self._warm:
            return False
        name = min(one.schedule for wanted in self._warm.values() for one in wanted)
        self._windows[name] = [(world.now, world.now + 1e9)]
        world.note(f"schedule {name} begins for good")
        full = 0
        for _ in range(rounds_max):
            world.pass_time(15.0)
            world.boots.start(world)
            world.blast.confirm(world)
            assert world.daemon is not None
            world.tick(world.daemon)
            full = full + 1 if all(self._is_full(key, world) for key in self._warm) else 0
            if full == 25:
                break
        else:
            raise AssertionError(f"never warm: {[key for key in self._warm if not self._is_full(key, world)]}")
        self.end()
        world.note(f"schedule {name} ends")
        return True

    def _is_full(self, key: ComputeResourceKey, world: World) -> bool:
        return len(self._of_use(key, world)) >= self._minimum(key, world.now)
