"""What must hold after every step, whatever happened."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from clustermgtd.model.action import Action, Reason
from clustermgtd.model.claim import ClaimState, Launch
from clustermgtd.model.failure import RETRIED
from clustermgtd.model.ids import InstanceId, NodeName
from tests.simulation.capacity_tiers import check_falls
from tests.simulation.fleet_operators import check_stopped
from tests.simulation.shortages import check_bans

if TYPE_CHECKING:
    from tests.simulation.world import World

OPERATOR_REASONS = ("bad dimm", "operator: broken fan")


def check_after_step(world: World) -> None:
    """Safety of the state: no leak, no double backing, no ban without an end."""
    check_bans(world)
    world.blocks.check(world)
    check_stopped(world)
    check_falls(world)
    launches = list(world.table.items.values())
    live = world.cloud.live()
    named = {c.instance: c for launch in launches for c in launch.claims if c.instance and c.holds_instance}
    open_tokens = {launch.token for launch in launches if launch.is_unresolved}
    for instance, record in live.items():
        token = record.tags.get("clustermgtd:launch-token")
        is_lost_sight_of = instance in world.blast.hidden
        assert is_lost_sight_of or instance in named or token in open_tokens, (
            f"{instance} of {token} is paid for and nobody's"
        )
    backing = Counter(c.node for launch in launches for c in launch.claims if c.is_open and c.holds_instance)
    for node, count in backing.items():
        assert count == 1, f"{node} has {count} open claims"
    paid = Counter(claim.node for instance, claim in named.items() if instance in live)
    for node, count in paid.items():
        assert count == 1, f"{node} is paid for {count} times"
    of_queue = Counter(_queue(r.tags, launches) for id, r in live.items() if id not in world.blast.hidden)
    for queue, count in of_queue.items():
        size = sum(1 for placed in world.policy.nodes.values() if placed.key.queue == queue)
        assert count <= size, f"{count} instances for {size} nodes of {queue}"


def _queue(tags: object, launches: list) -> str:  # type: ignore[type-arg]
    token = dict(tags)["clustermgtd:launch-token"]  # type: ignore[call-overload]
    return next((launch.request.queue for launch in launches if launch.token == token), "nobody's")


def check_termination(world: World, instances: tuple[InstanceId, ...], reason: Reason) -> None:
    """Nothing that runs a job is ended."""
    live = world.cloud.live()
    for instance in instances:
        if instance not in live:
            continue
        for node in world.slurm.nodes.values():
            if node.backing != instance or node.job is None:
                continue
            is_running = world.slurm.jobs[node.job].state == "RUNNING" and node.power == "up" and node.responds
            assert not is_running, f"{instance} runs job {node.job} on {node.name} and is ended: {reason}"


def check_gangs(before: Launch, after: Launch) -> int:
    """A reply serves a job that takes no parts whole or not at all; returns how many jobs were not served."""
    settled = {claim.node: claim for claim in after.claims}
    waiting = {claim.node for claim in before.claims if claim.state is ClaimState.REQUESTED}
    unserved = 0
    for gang in after.gangs:
        claims = [settled[node] for node in gang.nodes if node in waiting]
        got = sum(claim.state is ClaimState.LAUNCHED for claim in claims)
        is_final = not any(claim.failure in RETRIED for claim in claims)
        unserved += len(claims) > 1 and not got
        assert gang.takes_part or not is_final or got in (0, len(claims)), f"job {gang.job}: {got} of {len(claims)}"
    assert not any(claim.state is ClaimState.REQUESTED for claim in after.claims)
    return unserved


def check_node_update(world: World, nodes: tuple[NodeName, ...], action: Action) -> None:
    """An operator's mark is read-only."""
    for name in nodes:
        node = world.slurm.nodes[name]
        is_marked = (node.is_down or node.is_draining) and node.reason in OPERATOR_REASONS
        is_theirs = name in world.foreign and is_marked
        if is_theirs and world.now - world.foreign_since[name] < world.mark_seen_after_s:
            continue
        assert not is_theirs, f"{name} carries {node.reason!r}: {action}"
