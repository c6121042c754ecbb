"""Single instances that EC2 does not show for a while, and jobs on them that go on.

Has a random generator of its own, so that other troubles stay where they are in a seed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from clustermgtd.model.action import Action, RecordLaunch
from clustermgtd.model.claim import ClaimState
from clustermgtd.model.ids import InstanceId, NodeName
from clustermgtd.model.instance import Instance
from clustermgtd.model.node import Node

if TYPE_CHECKING:
    from tests.simulation.world import World


class HiddenInstances:
    """One run's."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"hidden instances {seed}")
        self._until: dict[InstanceId, float] = {}

    def step(self, world: World) -> None:
        """Perhaps EC2 loses sight of an instance that runs."""
        live = sorted(world.cloud.live())
        if live and self._rng.random() < 0.05:
            id = InstanceId(self._rng.choice(live))
            self._until[id] = world.now + self._rng.choice([60.0, 400.0, 3000.0])
            world.blast.hidden.add(id)
            world.note(f"EC2 does not show {id}")

    def end(self) -> None:
        self._until.clear()

    def shown(self, world: World, instances: Mapping[InstanceId, Instance]) -> dict[InstanceId, Instance]:
        """What EC2 shows of what it would show."""
        return {id: instance for id, instance in instances.items() if self._until.get(id, 0.0) <= world.now}

    def disbelieved(self, nodes: Mapping[NodeName, Node]) -> dict[NodeName, Node]:
        """As they look to a daemon that takes every answer for somebody else's."""
        return {name: replace(node, instance_id="i-somebody-else") for name, node in nodes.items()}

    def check(self, world: World, action: Action) -> None:
        """Before an action: no node whose slurmd answers is given up because EC2 hides its instance."""
        if not isinstance(action, RecordLaunch):
            return
        known = world.table.items.get(action.launch.token)
        before = {claim.node: claim.state for claim in known.claims} if known else {}
        for claim in action.launch.claims:
            is_news = claim.state is ClaimState.LOST and before.get(claim.node) is not ClaimState.LOST
            assert not (is_news and self._answers(world, claim.node, claim.instance)), (
                f"{claim.instance} is taken for lost and {claim.node} answers: {claim.history[-1].cause}"
            )

    def after(self, world: World) -> None:
        """After a round: how often it mattered."""
        for node in world.slurm.nodes.values():
            backing = InstanceId(node.backing)
            is_long = self._until.get(backing, 0.0) > world.now and backing in world.cloud.live()
            world.counts["hidden under a job"] += is_long and node.job is not None

    @staticmethod
    def _answers(world: World, name: NodeName, instance: InstanceId) -> bool:
        node = world.slurm.nodes[name]
        record = world.cloud.live().get(instance)
        is_running = record is not None and record.state == "running"
        return is_running and node.backing == instance and node.power == "up" and node.responds and not node.is_down
