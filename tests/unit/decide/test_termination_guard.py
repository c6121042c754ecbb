"""Given many instances that seem lost at once, nothing happens before an operator says so; single ones pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clustermgtd.decide.plan import decide
from clustermgtd.model.action import (
    INVOLUNTARY,
    PowerDownNodes,
    Reason,
    RecordLaunch,
    RecordSafeguards,
    TerminateInstances,
)
from clustermgtd.model.claim import ClaimState
from clustermgtd.model.fleet_status import FleetRecord
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.node import Node
from clustermgtd.model.safeguards import HeldBack, Safeguards, Terminated, TerminationPolicy
from clustermgtd.model.snapshot import Memory, Plan, Sighting, Snapshot
from tests.builders import (
    KEY,
    NOW,
    POWERED_DOWN,
    RUNNING,
    a_claim,
    a_launch,
    a_node,
    a_policy,
    a_snapshot,
    an_instance,
    dynamic,
)

LIMITS = TerminationPolicy(per_minute=5, percent=50.0)
DOWN = "DOWN+CLOUD+NOT_RESPONDING"


def a_cluster(size: int, unseen: int, *, state: str = RUNNING) -> Snapshot:
    """So many running nodes, of which EC2 has not shown some, that do not answer either, for ten minutes."""
    names = dynamic(size)
    ids = [f"i-{number}" for number in range(size)]
    claims = [a_claim(name, ClaimState.READY, id) for name, id in zip(names, ids, strict=True)]
    return a_snapshot(
        nodes=[a_node(name, f"{state}{'+NOT_RESPONDING' * (n < unseen)}") for n, name in enumerate(names)],
        instances=[an_instance(id) for id in ids[unseen:]],
        launches=[a_launch(*claims)],
        memory=Memory(missing_since={InstanceId(id): NOW - 600 for id in ids[:unseen]}),
    )


def lost(plan: Plan) -> int:
    return sum(
        claim.state is ClaimState.LOST
        for action in plan.actions
        if isinstance(action, RecordLaunch)
        for claim in action.launch.claims
    )


def decided(snapshot: Snapshot, size: int = 10) -> Plan:
    return decide(snapshot, a_policy(dynamic(size), terminations=LIMITS))


def test_every_reason_is_either_involuntary_or_not_if_something_ends_for_it() -> None:
    """What is missing from the table ends nothing."""
    others = set(Reason) - set(INVOLUNTARY)
    assert others == {
        Reason.DEMAND,
        Reason.STATIC,
        Reason.REPLY_LOST,
        Reason.TOP_UP,
        Reason.NOT_WANTED,
        Reason.PROBE,
        Reason.JOB_FREED,
        Reason.DRAIN_WIPED,
        Reason.ADDRESS,
        Reason.WARM,
        Reason.FLEET_START,
    }


def test_a_few_lost_instances_are_believed() -> None:
    plan = decided(a_cluster(10, 3))
    assert lost(plan) == 3
    assert plan.safeguards.terminated == (Terminated(NOW, KEY.queue, Reason.INSTANCE_MISSING, 3),)
    assert isinstance(plan.actions[0], RecordSafeguards), "counted before it is done"


@pytest.mark.parametrize(("size", "unseen"), [(20, 6), (8, 5), (20, 20)])
def test_more_than_allowed_are_not_believed_at_all(size: int, unseen: int) -> None:
    """Over 5 in a minute, or over half of the queue."""
    plan = decided(a_cluster(size, unseen), size)
    assert lost(plan) == 0
    assert plan.safeguards.held_back == (HeldBack(KEY.queue, Reason.INSTANCE_MISSING, unseen),)
    assert [type(action) for action in plan.actions] == [RecordSafeguards]


def test_what_ec2_shows_as_ended_is_believed_however_much_it_is() -> None:
    snapshot = a_cluster(20, 0)
    ended = {id: replace(i, state=an_instance("x", "terminated").state) for id, i in snapshot.instances.items()}
    assert lost(decided(replace(snapshot, instances=ended), 20)) == 20


def test_they_are_shown_again_and_nothing_has_happened() -> None:
    held = decided(a_cluster(20, 20), 20)
    again = replace(a_cluster(20, 0), safeguards=held.safeguards, memory=held.memory)
    plan = decided(again, 20)
    assert plan.safeguards.held_back == ()
    assert lost(plan) == 0


def test_what_was_done_within_the_last_minute_counts_and_a_restart_forgets_nothing() -> None:
    snapshot = a_cluster(20, 3)
    before = Safeguards((Terminated(NOW - 30, KEY.queue, Reason.ORPHAN, 3),))
    assert lost(decided(replace(snapshot, safeguards=before), 20)) == 0
    past = Safeguards((Terminated(NOW - 61, KEY.queue, Reason.ORPHAN, 3),))
    assert lost(decided(replace(snapshot, safeguards=past), 20)) == 3


def test_an_operator_confirms_for_a_while() -> None:
    snapshot = a_cluster(20, 20)
    confirmed = replace(snapshot, fleet=FleetRecord(confirmed_until=NOW + 1))
    assert lost(decided(confirmed, 20)) == 20
    over = replace(snapshot, fleet=FleetRecord(confirmed_until=NOW))
    assert lost(decided(over, 20)) == 0


def test_two_nodes_of_a_small_queue_are_always_allowed() -> None:
    assert lost(decided(a_cluster(2, 2), 2)) == 2


def test_nodes_that_slurm_gave_up_on_all_at_once_are_left_as_they_are() -> None:
    def not_responding(count: int) -> list[Node]:
        return [a_node(name, DOWN, reason="Not responding") for name in dynamic(count)]

    few = replace(a_cluster(4, 0), nodes={node.name: node for node in not_responding(2)})
    assert [a.nodes for a in decided(few).actions if isinstance(a, PowerDownNodes)] == [tuple(dynamic(2))]
    many = replace(a_cluster(20, 0), nodes={node.name: node for node in not_responding(20)})
    plan = decided(many, 20)
    assert [action for action in plan.actions if isinstance(action, PowerDownNodes)] == []
    assert plan.safeguards.held_back == (HeldBack(KEY.queue, Reason.NOT_RESPONDING, 20),)


def test_nodes_without_an_instance_are_no_matter() -> None:
    nodes = [a_node(name, "IDLE+CLOUD+POWERED_DOWN+NOT_RESPONDING") for name in dynamic(10)]
    silent = Memory(silent_since=dict.fromkeys(dynamic(10), NOW - 600))
    plan = decided(a_snapshot(nodes=nodes, memory=silent))
    assert [len(a.nodes) for a in plan.actions if isinstance(a, PowerDownNodes)] == [10]
    assert plan.safeguards.held_back == ()


def test_scale_down_knows_no_limit() -> None:
    plan = decided(a_cluster(20, 0, state=POWERED_DOWN), 20)
    (ended,) = [action for action in plan.actions if isinstance(action, TerminateInstances)]
    assert (len(ended.instances), ended.reason) == (20, Reason.POWER_DOWN)


def orphans(count: int) -> Snapshot:
    ids = [InstanceId(f"i-{number}") for number in range(count)]
    memory = Memory(orphans={id: Sighting(NOW - 300, 3) for id in ids})
    return a_snapshot(instances=[an_instance(id, token="nobodys") for id in ids], memory=memory)


def test_orphans_are_counted_once_and_held_back_when_they_are_many() -> None:
    few = decided(orphans(2))
    assert [len(a.instances) for a in few.actions if isinstance(a, TerminateInstances)] == [2]
    asked_again = replace(
        orphans(2),
        now=NOW + 25,
        safeguards=few.safeguards,
        memory=replace(few.memory, orphans=orphans(2).memory.orphans),
    )
    again = decided(asked_again)
    assert [len(a.instances) for a in again.actions if isinstance(a, TerminateInstances)] == [2]
    assert again.safeguards == few.safeguards
    many = decided(orphans(6))
    assert [action for action in many.actions if isinstance(action, TerminateInstances)] == []
