"""Images that do not boot, in one compute resource at a time, and what the daemon launches there meanwhile.

Has a random generator of its own, so that other troubles stay where they are in a seed.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from clustermgtd.model.action import Action, Reason, StartLaunch
from clustermgtd.model.claim import ClaimState
from clustermgtd.model.fleet_status import CLUSTER, FleetStatus, ScopeStatus
from clustermgtd.model.ids import InstanceId, NodeName
from clustermgtd.model.policy import ComputeResourceKey, Policy
from clustermgtd.model.safeguards import BootRecord, ProtectionPolicy, Safeguards

if TYPE_CHECKING:
    from tests.simulation.world import World

_BOOTING = (ClaimState.REQUESTED, ClaimState.LAUNCHED, ClaimState.ASSIGNED)


class BadBoots:
    """Spells in which no instance of a compute resource becomes a node."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"bad boots {seed}")
        self._rules = ProtectionPolicy(self._rng.choice([0, 1, 3, 10]), self._rng.choice([(60.0,), (300.0, 900.0)]))
        self._bad: ComputeResourceKey | None = None
        self._until = 0.0

    def policy(self, policy: Policy) -> Policy:
        return replace(policy, protection=self._rules)

    def step(self, world: World) -> None:
        """Perhaps an image breaks; perhaps an operator starts what is protected."""
        if world.now >= self._until and self._rng.random() < 0.03:
            keys = sorted(world.policy.compute_resources, key=lambda key: (key.queue, key.name))
            self._bad = self._rng.choice(keys)
            self._until = world.now + self._rng.choice([300.0, 1500.0, 5000.0])
            world.note(f"{self._bad} does not boot")
        if self._rng.random() < 0.02:
            self.start(world)

    def end(self) -> None:
        self._until = 0.0

    def never_registers(self, world: World, node: NodeName, instance: InstanceId) -> bool:
        """The instance on that node is a dud."""
        placed = world.policy.nodes.get(node)
        is_bad = world.now < self._until and placed is not None and placed.key == self._bad
        world.counts["dud"] += is_bad
        return is_bad

    def start(self, world: World) -> None:
        """An operator mended the image, or thinks so."""
        record = world.table.fleet
        for scope in record.scopes:
            if scope.status is FleetStatus.PROTECTED and scope.queue != CLUSTER:
                world.counts["protected started"] += 1
                world.note(f"start {scope.queue}")
                wanted = ScopeStatus(scope.queue, FleetStatus.START_REQUESTED, world.now)
                world.table.ask_fleet(world.table.fleet.with_scope(wanted))

    def check(self, world: World, action: Action, seen: Safeguards) -> None:
        """Before an action: nothing new is launched where nodes do not come up, but one probe after a back-off."""
        if not isinstance(action, StartLaunch) or action.reason is Reason.REPLY_LOST:
            return
        request = action.launch.request
        key = ComputeResourceKey(request.queue, request.compute_resource)
        record = _record(world.table.safeguards, key)
        if record is None or not record.is_protected or _record(seen, key) is None:
            return
        world.counts["protected probe"] += 1
        assert action.reason is Reason.PROBE, f"{key} is protected: {action}"
        assert world.now >= record.until, f"{key} is protected until {record.until}: {action}"
        for launch in world.table.items.values():
            if (launch.request.queue, launch.request.compute_resource) == (key.queue, key.name):
                booting = [claim.node for claim in launch.claims if claim.state in _BOOTING]
                assert not booting or launch.token == action.launch.token, f"{booting} boot already: {action}"


def _record(safeguards: Safeguards, key: ComputeResourceKey) -> BootRecord | None:
    found = (r for r in safeguards.boots if (r.queue, r.compute_resource) == (key.queue, key.name))
    return next(found, None)


def is_protected(world: World, node: NodeName) -> bool:
    """The node's compute resource is."""
    record = _record(world.table.safeguards, world.policy.nodes[node].key)
    return record is not None and record.is_protected
