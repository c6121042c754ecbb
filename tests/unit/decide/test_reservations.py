"""Capacity blocks: when EC2 is asked, what Slurm plans around, and what is left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clustermgtd.decide.plan import decide
from clustermgtd.decide.reservations import AFTER_S, LATE_HOLD_S, Blocks, next_change, phase_of
from clustermgtd.model.action import (
    Action,
    DeleteReservation,
    PowerDownNodes,
    PowerUpNodes,
    Reason,
    SetNodesDown,
    SetReservation,
    StartLaunch,
)
from clustermgtd.model.capacity_block import BlockPhase, BlockReading, BlockState, CapacityBlock
from clustermgtd.model.ids import CapacityReservationId, InstanceType, NodeName, SubnetId
from clustermgtd.model.node import Node
from clustermgtd.model.offering import Market, Offering
from clustermgtd.model.policy import BlockPolicy, ComputeResourcePolicy, Policy
from clustermgtd.model.reservation import Reservation
from clustermgtd.model.snapshot import Snapshot
from tests.builders import KEY, NOW, POWERED_DOWN, POWERING_UP, RUNNING, a_job, a_node, a_policy, a_snapshot

ID = CapacityReservationId("cr-0123")
BEFORE, AFTER = "clustermgtd-cr-0123-before", "clustermgtd-cr-0123-after"
ONE, TWO = NodeName("q1-st-c5-1"), NodeName("q1-st-c5-2")
HOUR = 3600.0
DRAIN_S = 2400.0


def a_block_policy(**facts: object) -> Policy:
    """Two static nodes that live in the block `ID`."""
    plain = a_policy([], static=(ONE, TWO), blocks=BlockPolicy({KEY: ID}, DRAIN_S), **facts)
    tier = replace(
        plain.compute_resources[KEY].tiers[0],
        market=Market.CAPACITY_BLOCK,
        offerings=(Offering(InstanceType("p5.48xlarge"), SubnetId("subnet-1"), Market.CAPACITY_BLOCK),),
    )
    return replace(plain, compute_resources={KEY: ComputeResourcePolicy(KEY, (tier,))})


def a_block(starts_in_s: float, ends_in_s: float, state: BlockState | None = None) -> CapacityBlock:
    """As EC2 shows it at `NOW`."""
    by_clock = BlockState.SCHEDULED if starts_in_s > 0 else BlockState.ACTIVE if ends_in_s > 0 else BlockState.ENDED
    return CapacityBlock(ID, state or by_clock, NOW + starts_in_s, NOW + ends_in_s)


def reading(*blocks: CapacityBlock, age_s: float = 0.0) -> BlockReading:
    return BlockReading({block.id: block for block in blocks}, frozenset({ID}), NOW - age_s)


def seen(
    block: BlockReading, *reservations: Reservation, nodes: list[Node] | None = None, jobs: list | None = None
) -> Snapshot:  # type: ignore[type-arg]
    shown = [a_node(ONE, POWERED_DOWN), a_node(TWO, POWERED_DOWN)] if nodes is None else nodes
    snapshot = a_snapshot(nodes=shown, jobs=jobs)
    return replace(snapshot, blocks=block, reservations={one.name: one for one in reservations})


def a_reservation(
    name: str, starts_in_s: float, ends_in_s: float, nodes: tuple[NodeName, ...] = (ONE, TWO)
) -> Reservation:
    return Reservation(name, nodes, NOW + starts_in_s, NOW + ends_in_s)


def plan(snapshot: Snapshot, policy: Policy | None = None) -> tuple[Action, ...]:
    return decide(snapshot, policy or a_block_policy()).actions


def of_kind(actions: tuple[Action, ...], *kinds: type) -> list[Action]:
    return [action for action in actions if isinstance(action, kinds)]


def before(starts_in_s: float, ends_in_s: float) -> SetReservation:
    return SetReservation(a_reservation(BEFORE, starts_in_s, ends_in_s), Reason.BLOCK_INACTIVE)


def after(ends_in_s: float) -> SetReservation:
    """The reservation at the end of a block that ends so many seconds from now."""
    return SetReservation(a_reservation(AFTER, ends_in_s - DRAIN_S, ends_in_s + AFTER_S), Reason.BLOCK_ENDING)


@pytest.mark.parametrize(
    ("block", "age_s", "phase"),
    [
        (a_block(60, HOUR), 0, BlockPhase.WAITING),
        (a_block(-1, HOUR, BlockState.SCHEDULED), 5, BlockPhase.STARTING),
        (a_block(-10, HOUR, BlockState.SCHEDULED), 5, BlockPhase.WAITING),
        (a_block(-10, HOUR), 5, BlockPhase.ACTIVE),
        (a_block(-10, DRAIN_S), 5, BlockPhase.DRAINING),
        (a_block(-10, DRAIN_S + 1), 5, BlockPhase.ACTIVE),
        (a_block(-HOUR, 0, BlockState.ACTIVE), 5, BlockPhase.ENDED),
        (a_block(60, HOUR, BlockState.ENDED), 0, BlockPhase.ENDED),
    ],
)
def test_a_phase_follows_from_ec2s_word_and_the_clock(block: CapacityBlock, age_s: float, phase: BlockPhase) -> None:
    assert phase_of(ID, reading(block, age_s=age_s), NOW, DRAIN_S) is phase


def test_a_block_that_was_not_asked_for_is_unread_and_one_that_ec2_does_not_have_is_none() -> None:
    assert phase_of(ID, BlockReading(), NOW, DRAIN_S) is BlockPhase.UNREAD
    assert phase_of(ID, BlockReading({}, frozenset(), NOW), NOW, DRAIN_S) is BlockPhase.UNREAD
    assert phase_of(ID, reading(), NOW, DRAIN_S) is BlockPhase.NONE


def test_before_its_start_the_nodes_are_reserved_until_then_and_from_its_drain_on() -> None:
    assert plan(seen(reading(a_block(600, 8 * HOUR)))) == (before(0, 600), after(8 * HOUR))


def test_reservations_that_are_there_are_left_alone() -> None:
    there = a_reservation(BEFORE, -300, 600), a_reservation(AFTER, 8 * HOUR - DRAIN_S, 8 * HOUR + AFTER_S)
    assert plan(seen(reading(a_block(600, 8 * HOUR)), *there)) == ()


def test_other_nodes_or_times_are_put_right() -> None:
    wrong = a_reservation(BEFORE, -300, 500), a_reservation(AFTER, 8 * HOUR - DRAIN_S, 8 * HOUR + AFTER_S, (ONE,))
    assert plan(seen(reading(a_block(600, 8 * HOUR)), *wrong)) == (before(0, 600), after(8 * HOUR))


def test_an_active_block_powers_its_static_nodes_up_and_keeps_the_reservation_at_its_end() -> None:
    actions = plan(seen(reading(a_block(-5, 8 * HOUR))))
    assert actions == (after(8 * HOUR), PowerUpNodes((ONE, TWO), Reason.STATIC))


def test_a_reservation_before_the_start_goes_if_the_block_starts_early() -> None:
    early = a_block(60, 8 * HOUR, BlockState.ACTIVE)
    actions = plan(seen(reading(early), a_reservation(BEFORE, -300, 60)))
    assert of_kind(actions, DeleteReservation) == [DeleteReservation(BEFORE)]


def test_a_block_that_is_late_keeps_its_nodes_a_while_longer_and_not_anew_each_time() -> None:
    late = reading(a_block(-20, 8 * HOUR, BlockState.SCHEDULED), age_s=5)
    end = a_reservation(AFTER, 8 * HOUR - DRAIN_S, 8 * HOUR + AFTER_S)
    assert plan(seen(late, end)) == (before(0, LATE_HOLD_S),)
    assert plan(seen(late, end, a_reservation(BEFORE, -20, LATE_HOLD_S - 100))) == ()
    assert plan(seen(late, end, a_reservation(BEFORE, -400, LATE_HOLD_S / 2 - 100))) == (before(0, LATE_HOLD_S),)


@pytest.mark.parametrize("facts", [BlockReading(), reading(a_block(-1, HOUR, BlockState.SCHEDULED), age_s=5)])
def test_what_is_not_known_changes_nothing(facts: BlockReading) -> None:
    there = a_reservation(BEFORE, -300, 0.5), a_reservation(AFTER, 17, 18)
    assert plan(seen(facts, *there)) == ()


def test_nodes_that_power_up_while_the_answer_is_awaited_wait_for_it() -> None:
    starting = reading(a_block(-1, HOUR, BlockState.SCHEDULED), age_s=5)
    nodes = [a_node(ONE, POWERING_UP), a_node(TWO, POWERED_DOWN)]
    assert plan(seen(starting, nodes=nodes, jobs=[a_job(1, [ONE])])) == ()


@pytest.mark.parametrize("block", [a_block(600, 8 * HOUR), a_block(-HOUR, 600), a_block(-HOUR, -60)])
def test_nodes_that_power_up_outside_of_the_blocks_time_get_their_answer_without_a_call(block: CapacityBlock) -> None:
    nodes = [a_node(ONE, POWERING_UP), a_node(TWO, POWERED_DOWN)]
    made = decide(seen(reading(block), nodes=nodes, jobs=[a_job(1, [ONE])]), a_block_policy())
    assert of_kind(made.actions, StartLaunch, PowerUpNodes) == []
    [down] = of_kind(made.actions, SetNodesDown)
    assert isinstance(down, SetNodesDown)
    assert (down.nodes, down.reason) == ((ONE,), Reason.BLOCK_INACTIVE)
    assert made.offerings.bans == ()
    assert set(made.memory.freed_jobs) == {1}


def test_an_operators_drain_on_a_node_that_powers_up_is_respected() -> None:
    nodes = [a_node(ONE, "IDLE+CLOUD+DRAIN+POWERING_UP", reason="bad dimm"), a_node(TWO, POWERED_DOWN)]
    assert of_kind(plan(seen(reading(a_block(600, 8 * HOUR)), nodes=nodes)), SetNodesDown) == []


def test_in_an_active_block_nodes_that_power_up_are_launched() -> None:
    nodes = [a_node(ONE, POWERING_UP), a_node(TWO, POWERING_UP)]
    [start] = of_kind(plan(seen(reading(a_block(-5, 8 * HOUR)), nodes=nodes)), StartLaunch)
    assert isinstance(start, StartLaunch)
    assert start.launch.request.market is Market.CAPACITY_BLOCK


def test_near_the_end_idle_nodes_are_powered_down_and_jobs_go_on() -> None:
    nodes = [a_node(ONE), a_node(TWO, RUNNING)]
    end = a_reservation(AFTER, 600 - DRAIN_S, 600 + AFTER_S)
    actions = plan(seen(reading(a_block(-HOUR, 600)), end, nodes=nodes, jobs=[a_job(1, [TWO], "RUNNING")]))
    assert actions == (PowerDownNodes((ONE,), Reason.BLOCK_ENDING),)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("IDLE+CLOUD+COMPLETING", ""),
        ("IDLE+CLOUD+POWER_DOWN", ""),
        ("IDLE+CLOUD+POWERING_DOWN", ""),
        (POWERED_DOWN, ""),
        ("IDLE+CLOUD+DRAIN", "bad dimm"),
    ],
)
def test_a_node_that_is_busy_or_going_or_somebody_elses_is_not_powered_down(state: str, reason: str) -> None:
    end = a_reservation(AFTER, 600 - DRAIN_S, 600 + AFTER_S)
    nodes = [a_node(ONE, state, reason=reason), a_node(TWO, POWERED_DOWN)]
    assert plan(seen(reading(a_block(-HOUR, 600)), end, nodes=nodes)) == ()


def test_after_the_end_the_nodes_stay_reserved() -> None:
    assert plan(seen(reading(a_block(-2 * HOUR, -60)))) == (after(-60),)
    assert plan(seen(reading(a_block(-2 * HOUR, -60)), a_reservation(AFTER, -60 - DRAIN_S, AFTER_S - 60))) == ()


def test_a_block_that_failed_keeps_its_nodes_from_now_on() -> None:
    [reserve] = plan(seen(reading(a_block(600, 8 * HOUR, BlockState.ENDED))))
    assert isinstance(reserve, SetReservation)
    assert reserve.reservation.starts_at == NOW


def test_what_nobody_needs_is_deleted_and_what_is_not_ours_is_left_alone() -> None:
    ours = a_reservation("clustermgtd-cr-0999-before", -60, 600), a_reservation(AFTER, -60, HOUR)
    theirs = a_reservation("maintenance", -60, HOUR)
    assert plan(seen(BlockReading(), *ours, theirs), a_policy([])) == (
        DeleteReservation(AFTER),
        DeleteReservation("clustermgtd-cr-0999-before"),
    )


def test_reservations_for_a_block_that_ec2_does_not_have_are_deleted() -> None:
    actions = plan(seen(reading(), a_reservation(BEFORE, -60, 600), a_reservation(AFTER, 900, HOUR)))
    assert of_kind(actions, DeleteReservation) == [DeleteReservation(AFTER), DeleteReservation(BEFORE)]


def test_one_that_has_ended_is_left_to_slurm() -> None:
    assert plan(seen(BlockReading(), a_reservation(BEFORE, -60, -1)), a_policy([])) == ()


def test_an_operators_reservation_on_the_same_nodes_changes_nothing() -> None:
    theirs = a_reservation("maintenance", -60, HOUR)
    with_it, without = (seen(reading(a_block(-5, 8 * HOUR)), *extra) for extra in ((theirs,), ()))
    assert plan(with_it) == plan(without)


def test_nodes_that_slurm_does_not_know_are_left_out() -> None:
    [first, second] = plan(seen(reading(a_block(600, 8 * HOUR)), nodes=[a_node(TWO, POWERED_DOWN)]))
    assert isinstance(first, SetReservation)
    assert isinstance(second, SetReservation)
    assert first.reservation.nodes == second.reservation.nodes == (TWO,)
    assert plan(seen(reading(a_block(600, 8 * HOUR)), nodes=[])) == ()


def test_a_compute_resource_that_can_be_had_elsewhere_too_is_not_bound_to_the_block() -> None:
    policy = a_block_policy()
    tier = policy.compute_resources[KEY].tiers[0]
    both = ComputeResourcePolicy(KEY, (tier, replace(tier, market=Market.ON_DEMAND)))
    actions = plan(seen(reading(a_block(600, 8 * HOUR))), replace(policy, compute_resources={KEY: both}))
    assert of_kind(actions, SetReservation) == []


def test_the_clock_changes_a_phase_at_start_drain_and_end() -> None:
    statuses = Blocks.of(seen(reading(a_block(600, 8 * HOUR))), a_block_policy()).statuses
    times = [NOW]
    while (at := next_change(statuses, times[-1])) != float("inf"):
        times.append(at)
    assert [at - NOW for at in times[1:]] == [600, 8 * HOUR - DRAIN_S, 8 * HOUR]
