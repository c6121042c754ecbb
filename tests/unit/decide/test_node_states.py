"""The total table: one outcome in every situation, none of them harmful, and each comes to an end."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustermgtd.decide.cells import INSTANCE, NODE, Cell, InstanceSeen, a_node, claim_after, plan, policy, snapshot
from clustermgtd.decide.node_states import every_cell
from clustermgtd.decide.plan import decide
from clustermgtd.decide.seen_states import REASONS, SEEN_STATES, SeenState
from clustermgtd.model.action import (
    HoldNodes,
    PowerDownNodes,
    PowerUpNodes,
    RecordLaunch,
    ReleaseNodes,
    ReturnNodesToService,
    SetNodesDown,
    StartLaunch,
    TerminateInstances,
)
from clustermgtd.model.claim import BACKED, ClaimState
from clustermgtd.model.node import Node, NodeBase, NodeFlag
from clustermgtd.model.snapshot import Plan
from tests.simulation.one_node import OneNode

NODE_UPDATES = (SetNodesDown, PowerDownNodes, PowerUpNodes, ReturnNodesToService, ReleaseNodes, HoldNodes)
POWER = {NodeFlag.POWERED_DOWN, NodeFlag.POWERING_DOWN, NodeFlag.POWERING_UP}
CLAIMS = (None, *ClaimState)

nodes = st.none() | st.builds(
    lambda base, flags, reason: Node(NODE, base, flags, address=NODE, hostname=NODE, reason=reason),
    st.sampled_from(NodeBase),
    st.frozensets(st.sampled_from(NodeFlag), max_size=6),
    st.sampled_from(sorted(REASONS.values())),
)
cells = st.builds(Cell, st.sampled_from(InstanceSeen), nodes, st.sampled_from(CLAIMS), st.booleans(), st.booleans())


def check(cell: Cell) -> Plan:
    """Totality and safety."""
    decided = plan(cell)
    updates = Counter(n for action in decided.actions if isinstance(action, NODE_UPDATES) for n in action.nodes)
    ends = Counter(i for action in decided.actions if isinstance(action, TerminateInstances) for i in action.instances)
    launches = sum(isinstance(action, StartLaunch) for action in decided.actions)
    assert updates[NODE] + launches <= 1, f"{cell}: {decided.actions}"
    assert set(ends.values()) <= {1}
    assert sum(isinstance(action, RecordLaunch) for action in decided.actions) <= 1
    node = cell.node
    if node is None:
        assert not updates
        assert not ends or claim_after(cell, decided) not in BACKED
        return decided
    if node.is_marked_by_others:
        assert not updates, f"{cell}: {decided.actions}"
    if node.is_unclear:
        assert not updates, f"{cell}: {decided.actions}"
    runs_job = node.base in (NodeBase.ALLOCATED, NodeBase.MIXED) and not node.flags & POWER
    if cell.names_instance and (runs_job or node.is_unclear) and cell.claim is not ClaimState.TERMINATING:
        is_orphan = cell.claim in (ClaimState.LOST, ClaimState.TERMINATED)
        assert is_orphan or not ends, f"{cell}: {decided.actions}"
    if cell.names_instance and cell.instance is InstanceSeen.UNKNOWN and runs_job and node.is_responding:
        is_wanted = cell.claim not in (ClaimState.TERMINATING, ClaimState.LOST, ClaimState.TERMINATED)
        assert not (is_wanted and (updates or ends)), f"{cell}: {decided.actions}"
    return decided


def name(state: SeenState) -> str:
    return f"{state.state or 'not shown'} {state.text}".strip()


@pytest.mark.parametrize("state", SEEN_STATES, ids=name)
def test_every_state_that_slurm_shows_has_one_safe_outcome(state: SeenState) -> None:
    for cell in every_cell([state]):
        check(cell)


@pytest.mark.parametrize("base", NodeBase)
def test_so_has_every_flag_on_every_base(base: NodeBase) -> None:
    for flag, reason, seen, claim in product(NodeFlag, sorted(REASONS.values()), InstanceSeen, CLAIMS):
        check(Cell(seen, a_node(f"{base}+{flag}", reason), claim, is_grace_over=True))


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_node_that_powers_up_is_not_powered_down_for_its_silence(claim: ClaimState | None) -> None:
    state = "IDLE+CLOUD+COMPLETING+NOT_RESPONDING+POWERED_DOWN+POWERING_UP"
    for seen in InstanceSeen:
        check(Cell(seen, a_node(state), claim, is_grace_over=True))


@pytest.mark.parametrize("reason", sorted(REASONS.values()))
def test_a_drained_node_that_somebody_reboots_is_left_alone(reason: str) -> None:
    for seen, claim in product(InstanceSeen, CLAIMS):
        check(Cell(seen, a_node("IDLE+CLOUD+DRAIN+REBOOT_ISSUED", reason), claim, is_grace_over=True))


@settings(max_examples=500, deadline=None)
@given(cells)
def test_so_has_any_set_of_flags(cell: Cell) -> None:
    check(cell)


@pytest.mark.parametrize("state", SEEN_STATES, ids=name)
def test_every_situation_comes_to_an_end(state: SeenState) -> None:
    for cell in every_cell([state]):
        if cell.is_grace_over or cell.is_static:
            continue
        world = OneNode(cell)
        last = world.settle()
        assert world.loose_ends(last) == [], f"{cell}: {world.trace[-8:]}"


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SEEN_STATES), st.sampled_from(InstanceSeen), st.sampled_from(CLAIMS), st.booleans())
def test_so_does_that_of_a_static_node(
    state: SeenState, seen: InstanceSeen, claim: ClaimState | None, is_over: bool
) -> None:
    world = OneNode(Cell(seen, a_node(state.state, state.text), claim, is_over, is_static=True))
    assert world.loose_ends(world.settle()) == [], world.trace[-8:]


@settings(max_examples=300, deadline=None)
@given(cells)
def test_an_instance_that_nobody_names_ends_whatever_the_node_does(cell: Cell) -> None:
    is_nobodys = cell.claim in (None, ClaimState.LOST, ClaimState.TERMINATED, ClaimState.LAUNCH_FAILED)
    is_live = cell.instance.is_shown and cell.instance not in (InstanceSeen.SHUTTING_DOWN, InstanceSeen.TERMINATED)
    if is_nobodys and is_live and cell.is_grace_over:
        ends = [a for a in plan(cell).actions if isinstance(a, TerminateInstances)]
        assert [a.instances for a in ends] == [(INSTANCE,)]


@settings(max_examples=300, deadline=None)
@given(cells, st.sampled_from(["", "10.0.0.1", "10.0.0.2", NODE]), st.sampled_from(["", "10.0.0.1", "10.0.0.2"]))
def test_addresses_decide_nothing_about_a_claim(cell: Cell, slurm_s: str, ec2_s: str) -> None:
    seen = snapshot(cell)
    moved = replace(
        seen,
        nodes={name: replace(node, address=slurm_s) for name, node in seen.nodes.items()},
        instances={i: replace(instance, private_address=ec2_s) for i, instance in seen.instances.items()},
    )
    if cell.names_instance and cell.claim not in (ClaimState.LOST, ClaimState.TERMINATED):
        effects = [a for a in decide(moved, policy(cell)).actions if not isinstance(a, RecordLaunch)]
        assert effects == [a for a in plan(cell).actions if not isinstance(a, RecordLaunch)]


def test_the_states_that_others_get_stuck_in_are_in_the_table() -> None:
    states = {state.state for state in SEEN_STATES}
    assert states >= {
        "IDLE+CLOUD+POWERED_DOWN+NOT_RESPONDING",
        "IDLE+CLOUD+COMPLETING+POWER_DOWN+NOT_RESPONDING",
        "DOWN+CLOUD+POWERED_DOWN",
        "DOWN+CLOUD+POWERED_DOWN+NOT_RESPONDING",
        "IDLE+CLOUD+POWER_DOWN+NOT_RESPONDING+POWERING_UP",
        "DOWN+CLOUD+REBOOT_ISSUED",
        "IDLE+CLOUD+DRAIN+INVALID_REG",
        "IDLE+CLOUD+MAINTENANCE+RESERVED",
        "IDLE+CLOUD+PLANNED",
        "IDLE+CLOUD+FAIL",
        "FUTURE+CLOUD",
    }
    for state in SEEN_STATES:
        node = a_node(state.state)
        assert node is None or node.state == state.state, "not in the order in which scontrol prints flags"
