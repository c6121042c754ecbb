"""What a simulated Region is short of besides instances, and what the daemon may learn from it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING

from clustermgtd.decide.bans import covers
from clustermgtd.lab.ec2.scenario import SubnetSpec
from clustermgtd.model.action import Reason, StartLaunch
from clustermgtd.model.ids import SubnetId
from clustermgtd.model.offering import Subnet
from clustermgtd.model.policy import BanPolicy, ComputeResourceKey

if TYPE_CHECKING:
    from tests.simulation.world import World

ROOMY, NEIGHBOUR, OTHER_ZONE = (SubnetId(f"subnet-0000000000000000{n}") for n in (1, 2, 3))


def region_subnets(rng: random.Random) -> dict[str, SubnetSpec]:
    """Two subnets in one zone and one in another; all but the first may be small."""
    return {
        ROOMY: SubnetSpec("us-east-1a", "10.1.0.0/16"),
        NEIGHBOUR: SubnetSpec("us-east-1a", "10.2.0.0/16", rng.choice([None, 1])),
        OTHER_ZONE: SubnetSpec("us-east-1b", "10.3.0.0/16", rng.choice([None, 0, 2])),
    }


def chosen_subnets(rng: random.Random) -> list[SubnetId]:
    """A compute resource's subnets; the roomy one is always among them."""
    return rng.choice([[ROOMY], [ROOMY, OTHER_ZONE], [NEIGHBOUR, ROOMY], [OTHER_ZONE, NEIGHBOUR, ROOMY]])


def ban_policy(rng: random.Random) -> BanPolicy:
    """Long and short memories."""
    return BanPolicy(
        steps_s=rng.choice([(45.0, 180.0, 600.0, 1800.0), (5.0, 20.0), (300.0,)]),
        unsupported_s=rng.choice([600.0, 43_200.0]),
        configuration_s=rng.choice([30.0, 900.0]),
        forget_s=rng.choice([60.0, 1800.0]),
        probe_nodes=rng.choice([1, 3]),
        holds_nodes=rng.random() < 0.8,
    )


def read_subnets(world: World) -> Mapping[SubnetId, Subnet]:
    """DescribeSubnets, without its own faults."""
    return {
        SubnetId(s.id): Subnet(SubnetId(s.id), s.spec.zone, s.free, world.now) for s in world.cloud.model.network.all()
    }


def check_launch(world: World, action: StartLaunch, subnets: Mapping[SubnetId, Subnet]) -> None:
    """A new launch names no banned offering and no zone twice; one that tries an ended ban is small or one job's."""
    request = action.launch.request
    if action.reason is Reason.REPLY_LOST:
        return
    key = ComputeResourceKey(request.queue, request.compute_resource)
    for offering in request.offerings:
        for ban in world.table.offerings.bans:
            is_banned = ban.is_active(world.now) and covers(ban, offering, key, subnets, "", request.tier)
            assert not is_banned or request.minimum < ban.count, f"{action.launch.token} asks for {offering}: {ban}"
    zones = [(o.instance_type, subnets[o.subnet].zone) for o in request.offerings if o.subnet in subnets]
    assert len(zones) == len(set(zones)), f"{action.launch.token} names a zone twice: {request.offerings}"
    if action.reason is Reason.PROBE:
        gangs = action.launch.gangs
        is_one_job = len(gangs) == 1 and not gangs[0].takes_part
        assert is_one_job or request.count <= world.policy.bans.probe_nodes, f"{action.launch.token} is no small probe"


def check_bans(world: World) -> None:
    """Every ban ends, within the longest time that the policy has."""
    bans = world.policy.bans
    longest = max(*bans.steps_s, bans.unsupported_s, bans.configuration_s)
    for ban in world.table.offerings.bans:
        assert ban.until - ban.since <= longest, ban
        assert ban.since <= world.now, ban
