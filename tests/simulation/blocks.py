"""A capacity block in the simulated Region, the reservations that keep its nodes, and an operator's own ones."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from clustermgtd.decide.maintenance import PREFIX
from clustermgtd.lab.ec2.records import CAPACITY_BLOCK, LaunchData, TemplateRef
from clustermgtd.lab.ec2.scenario import ReservationSpec
from clustermgtd.model.action import PowerDownNodes, Reason
from clustermgtd.model.capacity_block import BlockReading, BlockState, CapacityBlock
from clustermgtd.model.claim import AllocationStrategy, Launch, LaunchTemplate
from clustermgtd.model.ids import CapacityReservationId, ComputeResourceName, InstanceType, NodeName, QueueName
from clustermgtd.model.offering import Market, Offering
from clustermgtd.model.policy import (
    BlockPolicy,
    CapacityTier,
    ComputeResourceKey,
    ComputeResourcePolicy,
    PlacedNode,
    Policy,
)
from clustermgtd.model.reservation import OWN_PREFIX, Reservation
from tests.simulation.shortages import ROOMY

if TYPE_CHECKING:
    from tests.simulation.world import World

ID = CapacityReservationId("cr-0b10c")
KEY = ComputeResourceKey(QueueName("block"), ComputeResourceName("cr"))
TEMPLATE = "lt-block"
TYPE = "m5.xlarge"
NEVER = 1e7
"""Seconds; longer than any story."""
_READ_PERIOD_S = 300.0
_STATES = {"scheduled": BlockState.SCHEDULED, "active": BlockState.ACTIVE, "expired": BlockState.ENDED}


class BlockWorld:
    """What belongs to one block. It draws from a generator of its own, so that it changes no other story."""

    def __init__(self, seed: int, start: float) -> None:
        self.rng = rng = random.Random(seed ^ 0xB10C)
        self.count = rng.choice([0, 1, 3])
        """Nodes; 0: there is no block."""
        self.reclaim_s = rng.choice([0.0, 60.0])
        self.drain_s = self.reclaim_s + rng.choice([0.0, 90.0, 200.0])
        starts_at = start + rng.choice([-500.0, 100.0, 400.0, 700.0, NEVER])
        self.spec = ReservationSpec(
            TYPE,
            "us-east-1a",
            self.count,
            kind="capacity-block",
            starts_at=starts_at,
            ends_at=starts_at + 500.0 + rng.choice([300.0, 900.0, NEVER]),
        )
        self.becomes_ordinary = rng.random() < 0.3
        """In the end the site takes the block out of cluster.yaml and buys the nodes on demand."""
        self._reading = BlockReading()
        self._foreign: dict[str, Reservation] = {}

    def specs(self) -> dict[str, ReservationSpec]:
        return {ID: self.spec} if self.count else {}

    def use(self, world: World) -> None:
        """Make the launch template, which holds the reservation."""
        data = LaunchData(image_id="ami-1", market=CAPACITY_BLOCK, capacity_reservation=ID)
        made = world.cloud.model.templates.create(TEMPLATE, data, world.now, raw={}, tags={}, note="")
        world.cloud.templates[TEMPLATE] = TemplateRef(id=made.id)

    def policy(self, policy: Policy) -> Policy:
        """With the block's compute resource and its static nodes."""
        if not self.count:
            return policy
        names = [NodeName(f"block-st-cr-{n}") for n in range(1, self.count + 1)]
        return replace(
            policy,
            compute_resources={**policy.compute_resources, KEY: _resource(TEMPLATE, Market.CAPACITY_BLOCK)},
            nodes={**policy.nodes, **dict.fromkeys(names, PlacedNode(KEY, is_static=True))},
            blocks=BlockPolicy({KEY: ID}, self.drain_s),
        )

    # what happens

    def users(self, world: World) -> None:
        """Jobs for the block, with and without a time limit; operators reserve nodes for others."""
        rng = self.rng
        if not self.count or world.is_healed:
            return
        if rng.random() < 0.1:
            duration = rng.choice([1.0, 60.0, 300.0])
            limit = rng.choice([duration + 60.0, 600.0, float("inf")])
            job = world.slurm.submit(KEY.queue, rng.randint(1, self.count), duration, limit)
            world.note(f"job {job} wants the block")
        if rng.random() < 0.03:
            nodes = tuple(sorted(rng.sample(sorted(world.slurm.nodes), 2)))
            name = f"ops-{len(self._foreign)}"
            ends_at = world.now + rng.choice([100.0, NEVER])
            self._foreign[name] = Reservation(name, nodes, world.now, ends_at)
            world.slurm.reserve(self._foreign[name])
            world.note(f"an operator reserves {nodes}")

    def forget_reading(self) -> None:
        """A daemon starts: it has not asked EC2 yet."""
        self._reading = BlockReading()

    def reading(self, world: World) -> BlockReading:
        """The newest reading: five minutes old at most, or from just after the start; EC2 does not always answer."""
        known, spec = self._reading, self.spec
        is_due = world.now - known.read_at >= _READ_PERIOD_S or known.read_at < spec.starts_at + 1.0 <= world.now
        if is_due and (world.is_healed or self.rng.random() < 0.8):
            shown = world.cloud.model.reservations
            blocks: dict[CapacityReservationId, CapacityBlock] = {}
            if self.count:
                state = _STATES[shown.state(ID, world.now)]
                blocks[ID] = CapacityBlock(ID, state, spec.starts_at, spec.ends_at or 0.0)
            self._reading = BlockReading(blocks, frozenset(world.policy.blocks.of.values()), world.now)
        return self._reading

    def end_trouble(self, world: World) -> None:
        """Operators free their nodes, and jobs that the block may never serve are given up."""
        for name in self._foreign:
            world.slurm.reservations.pop(name, None)
        self._foreign.clear()
        for job in list(world.slurm.jobs.values()):
            if job.queue == KEY.queue:
                world.slurm.cancel(job.id)
        if self.count and self.becomes_ordinary:
            resources = {**world.policy.compute_resources, KEY: _resource("lt-1", Market.ON_DEMAND)}
            world.policy = replace(world.policy, compute_resources=resources, blocks=BlockPolicy())

    # what must hold

    def has_instances(self, name: NodeName, world: World) -> bool:
        """Static nodes are up, those of a block as long as it is neither before its start nor near its end."""
        placed = world.policy.nodes[name]
        if placed.key not in world.policy.blocks.of:
            return True
        assert self.spec.ends_at is not None
        return self.spec.starts_at <= world.now < self.spec.ends_at - self.drain_s

    def check_launch(self, launch: Launch, world: World) -> None:
        """Nothing is launched into a block that is not active, or ends soon."""
        if launch.request.market is not Market.CAPACITY_BLOCK:
            return
        at = launch.created_at
        assert self.spec.ends_at is not None
        is_active = self.spec.starts_at <= at < self.spec.ends_at - self.drain_s
        assert is_active, f"{launch.token} is made for a block that runs from {self.spec.starts_at - at:+.0f} s"
        world.counts["launch into a block"] += 1

    def check_power_down(self, action: PowerDownNodes, world: World) -> None:
        """Nobody's job is touched because a block ends."""
        if action.reason is Reason.BLOCK_ENDING:
            assert not [name for name in action.nodes if world.slurm.nodes[name].job is not None]
            world.counts["block drained"] += 1

    def check_name(self, name: str) -> None:
        """Reservations of others are read-only."""
        assert name.startswith(OWN_PREFIX), name

    def check(self, world: World) -> None:
        """Operators' reservations are as they made them."""
        kept = {n: one for n, one in world.slurm.reservations.items() if not n.startswith(OWN_PREFIX)}
        assert kept == {n: one for n, one in self._foreign.items() if one.ends_at > world.slurm.now}

    def unsettled(self, world: World) -> list[str]:
        """Reservations of ours that nobody needs, and those that are missing."""
        wanted: set[str] = set()
        if world.policy.blocks.of:
            wanted.add(f"{OWN_PREFIX}{ID}-after")
            if world.now < self.spec.starts_at:
                wanted.add(f"{OWN_PREFIX}{ID}-before")
        found = {name for name in world.slurm.reservations if not name.startswith(PREFIX)}
        return [f"reservations {sorted(found)} instead of {sorted(wanted)}"] if found != wanted else []


def shown_reservations(world: World) -> Mapping[str, Reservation]:
    """`scontrol show reservation`."""
    return dict(world.slurm.reservations)


def _resource(template: str, market: Market) -> ComputeResourcePolicy:
    offerings = (Offering(InstanceType(TYPE), ROOMY, market),)
    pool = ID if market is Market.CAPACITY_BLOCK else ""
    tier = CapacityTier(LaunchTemplate(template, "1"), offerings, market, AllocationStrategy.LOWEST_PRICE, pool=pool)
    return ComputeResourcePolicy(KEY, (tier,))
