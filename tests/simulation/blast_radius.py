"""EC2 that shows nothing of a queue for a while, and how many instances the daemon may give up by mistake.

Has a random generator of its own, so that other troubles stay where they are in a seed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from clustermgtd.model.action import (
    INVOLUNTARY,
    Action,
    PowerDownNodes,
    Reason,
    RecordLaunch,
    SetNodesDown,
    TerminateInstances,
)
from clustermgtd.model.claim import ClaimState
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.instance import Instance
from clustermgtd.model.policy import Policy
from clustermgtd.model.safeguards import WINDOW_S, TerminationPolicy
from clustermgtd.model.snapshot import Plan

if TYPE_CHECKING:
    from tests.simulation.world import World

CONFIRMED_S = 600.0


class BlastRadius:
    """Blind spells, operators who confirm, and the count."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"blast radius {seed}")
        self._limits = TerminationPolicy(self._rng.choice([1, 3, 20]), self._rng.choice([20.0, 50.0, 100.0]))
        self._blind_until = 0.0
        self._queue = ""
        self._done: list[tuple[float, int]] = []
        self._called: set[InstanceId] = set()
        self.hidden: set[InstanceId] = set()
        """Live instances that EC2 did not show at some time: what became of their claims is no leak."""

    def policy(self, policy: Policy) -> Policy:
        return replace(policy, terminations=self._limits)

    def step(self, world: World) -> None:
        """Perhaps a blind spell begins; perhaps an operator looks at what is held back."""
        if self._rng.random() < 0.02:
            self._blind_until = world.now + self._rng.choice([30.0, 200.0, 600.0])
            self._queue = self._rng.choice(["od", "spot"])
            world.note(f"EC2 shows nothing of {self._queue}")
            world.counts["blind"] += 1
        if self._rng.random() < 0.1:
            self.confirm(world)

    def confirm(self, world: World) -> None:
        """An operator lets happen what is held back, if anything is."""
        if world.table.safeguards.held_back:
            world.note(f"confirmed: {world.table.safeguards.held_back}")
            world.counts["confirmed"] += 1
            world.table.ask_fleet(replace(world.table.fleet, confirmed_until=world.now + CONFIRMED_S))

    def end(self) -> None:
        self._blind_until = 0.0

    def shown(self, world: World, instances: Mapping[InstanceId, Instance]) -> dict[InstanceId, Instance]:
        """What EC2 shows of what it would show."""
        if world.now >= self._blind_until:
            return dict(instances)
        self.hidden |= {i.id for i in instances.values() if i.queue == self._queue and i.is_live}
        return {i.id: i for i in instances.values() if i.queue != self._queue}

    def decided(self, plan: Plan) -> None:
        """An instance that was to end for another reason is none that is ended without being asked for."""
        for action in plan.actions:
            if isinstance(action, TerminateInstances) and action.reason is not Reason.ORPHAN:
                self._called.update(action.instances)

    def check(self, world: World, action: Action) -> None:
        """Before an action: no more involuntary ends within a minute than allowed, unless an operator confirmed."""
        count = self._count(world, action)
        if count == 0:
            return
        world.counts["involuntary"] += count
        if world.now < world.table.fleet.confirmed_until:
            return
        self._done = [(at, n) for at, n in self._done if world.now - at < WINDOW_S]
        self._done.append((world.now, count))
        total = sum(n for _, n in self._done)
        assert total <= self._limits.per_minute, f"{total} involuntary ends within a minute: {action}"

    def _count(self, world: World, action: Action) -> int:
        match action:
            case RecordLaunch(launch):
                known = world.table.items.get(launch.token)
                before = {c.node: c.state for c in known.claims} if known else {}
                live = world.cloud.live()
                return sum(
                    claim.state is ClaimState.LOST
                    and before.get(claim.node) is not ClaimState.LOST
                    and claim.instance in live
                    and claim.instance in self.hidden
                    for claim in launch.claims
                )
            case TerminateInstances(instances, reason):
                fresh = set(instances) - self._called
                self._called |= fresh
                return len(fresh) if reason is Reason.ORPHAN else 0
            case SetNodesDown(nodes, reason) | PowerDownNodes(nodes, reason) if INVOLUNTARY[reason]:
                return sum(world.slurm.nodes[name].power != "down" for name in nodes)
        return 0
