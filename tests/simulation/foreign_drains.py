"""An operator's drain outlives the end of its node's idle time.

Has a random generator of its own, so that other troubles stay where they are in a seed.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from clustermgtd.model.ids import NodeName
from clustermgtd.model.node import NodeFlag
from clustermgtd.model.snapshot import Snapshot
from tests.simulation.invariants import OPERATOR_REASONS

if TYPE_CHECKING:
    from tests.simulation.world import Daemon, World


class ForeignDrains:
    """Which of them the daemon of the moment has seen."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"foreign drains {seed}")
        self._daemon: Daemon | None = None
        self._seen: dict[NodeName, str] = {}

    def step(self, world: World) -> None:
        """Perhaps an operator drains a node that is up."""
        up = [name for name, node in sorted(world.slurm.nodes.items()) if node.view().is_up]
        name = self._rng.choice(up) if up else None
        if self._rng.random() < 0.02 and name is not None and name not in world.foreign:
            world.drain_by_operator(name)

    def look(self, daemon: Daemon, snapshot: Snapshot) -> None:
        """What this snapshot tells."""
        if daemon is not self._daemon:
            self._daemon, self._seen = daemon, {}
        for name, node in snapshot.nodes.items():
            if NodeFlag.DRAIN in node.flags and node.reason in OPERATOR_REASONS:
                self._seen[name] = node.reason
            elif node.reason != self._seen.get(name) or not (node.is_powered_down or node.is_powering_down):
                self._seen.pop(name, None)

    def check(self, world: World, snapshot: Snapshot) -> None:
        """After a round: what Slurm wiped before it is there again."""
        for name, reason in self._seen.items():
            node = world.slurm.nodes[name]
            if node.job is not None or node.reason != reason or node.power not in ("down", "powering-down"):
                continue
            assert node.is_draining, f"{name} was drained by its operator ({reason}) and is not any more"
            world.counts["drain restored"] += NodeFlag.DRAIN not in snapshot.nodes[name].flags
