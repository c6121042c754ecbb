"""Every situation that one node can be in, as a snapshot of one node, and what `decide` does about it.

A cell is (what EC2 shows of the instance) x (what Slurm shows of the node) x (the claim) x (whether grace times are
over).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from clustermgtd.decide.plan import decide
from clustermgtd.model.action import RecordLaunch
from clustermgtd.model.claim import (
    AllocationStrategy,
    ClaimEvent,
    ClaimState,
    Launch,
    LaunchRequest,
    LaunchTemplate,
    NodeClaim,
)
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import (
    ComputeResourceName,
    InstanceId,
    InstanceType,
    LaunchToken,
    NodeName,
    QueueName,
    SubnetId,
)
from clustermgtd.model.instance import Instance, InstanceState
from clustermgtd.model.node import Node, NodeBase, NodeFlag
from clustermgtd.model.offering import Market, Offering
from clustermgtd.model.policy import CapacityTier, ComputeResourceKey, ComputeResourcePolicy, PlacedNode, Policy
from clustermgtd.model.snapshot import Memory, Plan, Sighting, Snapshot

NOW = 1_700_000_000.0
NODE = NodeName("q1-dy-c5-1")
INSTANCE = InstanceId("i-1")
TOKEN = LaunchToken("t-1")
LONG_S = 100_000.0
"""Longer than any grace time."""
_KEY = ComputeResourceKey(QueueName("q1"), ComputeResourceName("c5"))
_OFFERING = Offering(InstanceType("c5.large"), SubnetId("subnet-1"))
_TEMPLATE = LaunchTemplate("lt-1", "1")
_WITHOUT_INSTANCE = (ClaimState.REQUESTED, ClaimState.LAUNCH_FAILED)


class InstanceSeen(StrEnum):
    """What EC2 shows of the instance: its six states, and two ways of not showing it."""

    ABSENT = "absent"
    """Not shown for longer than EC2's reads may lag."""
    UNKNOWN = "unknown"
    """Not shown, and that may be EC2's read lag."""
    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"

    @property
    def is_shown(self) -> bool:
        return self not in (InstanceSeen.ABSENT, InstanceSeen.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Cell:
    """One situation. The instance is the claim's; without a claim that names one it only carries our tags."""

    instance: InstanceSeen
    node: Node | None
    claim: ClaimState | None
    is_grace_over: bool = False
    is_static: bool = False

    @property
    def names_instance(self) -> bool:
        """The claim does."""
        return self.claim is not None and self.claim not in _WITHOUT_INSTANCE


def a_node(state: str, reason: str = "") -> Node | None:
    """The node in a state of Slurm's notation; None if that is empty."""
    if not state:
        return None
    base, *flags = state.split("+")
    return Node(NODE, NodeBase(base), frozenset(map(NodeFlag, flags)), (_KEY.queue,), NODE, NODE, reason)


def snapshot(cell: Cell) -> Snapshot:
    """The cell as decisions see it."""
    shown = {INSTANCE: _instance(cell)} if cell.instance.is_shown else {}
    return Snapshot(
        now=NOW,
        nodes={NODE: cell.node} if cell.node is not None else {},
        jobs={},
        instances=shown,
        launches={TOKEN: _launch(cell, cell.claim)} if cell.claim is not None else {},
        token_prefix=f"{TOKEN}-new-",
        memory=_memory(cell),
    )


def policy(cell: Cell) -> Policy:
    """One node; names resolve, so that no address has to be written."""
    tier = CapacityTier(_TEMPLATE, (_OFFERING,), Market.ON_DEMAND, AllocationStrategy.LOWEST_PRICE)
    compute_resources = {_KEY: ComputeResourcePolicy(_KEY, (tier,))}
    return Policy(compute_resources, {NODE: PlacedNode(_KEY, cell.is_static)}, names_resolve=True)


def plan(cell: Cell) -> Plan:
    """What is done."""
    return decide(snapshot(cell), policy(cell))


def claim_after(cell: Cell, decided: Plan) -> ClaimState | None:
    """The claim's state after the plan's record."""
    for action in decided.actions:
        if isinstance(action, RecordLaunch):
            return action.launch.claims[0].state
    return cell.claim


def _instance(cell: Cell) -> Instance:
    age = LONG_S if cell.is_grace_over else 10.0
    return Instance(INSTANCE, InstanceState(cell.instance), TOKEN, NOW - age, private_address="10.0.0.1")


def _launch(cell: Cell, state: ClaimState) -> Launch:
    at = NOW - (LONG_S if cell.is_grace_over else 1.0)
    claim = NodeClaim(
        NODE,
        state,
        at,
        INSTANCE if cell.names_instance else InstanceId(""),
        FailureKind.CAPACITY if state is ClaimState.LAUNCH_FAILED else None,
        (ClaimEvent(state, at, "so it was"),),
    )
    request = LaunchRequest(
        _KEY.queue, _KEY.name, _TEMPLATE, (_OFFERING,), Market.ON_DEMAND, AllocationStrategy.LOWEST_PRICE, 1, 1
    )
    return Launch(TOKEN, request, at, (claim,), version=1, attempts=1, last_attempt_at=at)


def _memory(cell: Cell) -> Memory:
    gone_s = LONG_S if cell.instance is InstanceSeen.ABSENT else 1.0
    past_s = LONG_S if cell.is_grace_over else 1.0
    return Memory(
        orphans={INSTANCE: Sighting(NOW - past_s, 1)},
        missing_since={INSTANCE: NOW - gone_s},
        terminate_called_at={INSTANCE: NOW - past_s},
        power_up_asked_at={NODE: NOW - past_s},
        silent_since={NODE: NOW - past_s},
    )
