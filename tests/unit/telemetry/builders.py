"""Small worlds for the tests of what is counted."""

from __future__ import annotations

from clustermgtd.model.claim import (
    AllocationStrategy,
    ClaimEvent,
    ClaimState,
    Launch,
    LaunchRequest,
    LaunchTemplate,
    NodeClaim,
)
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
from clustermgtd.model.snapshot import Memory, Plan, Snapshot

NOW = 1_700_000_000.0
QUEUE = QueueName("q1")
AN_OFFERING = Offering(InstanceType("c5.large"), SubnetId("subnet-1"))
A_SPOT_OFFERING = Offering(InstanceType("c5.large"), SubnetId("subnet-1"), Market.SPOT)


def a_node(name: str = "q1-dy-c5-1", base: NodeBase = NodeBase.IDLE, *flags: NodeFlag) -> Node:
    return Node(NodeName(name), base, frozenset(flags))


def an_instance(
    number: int, state: InstanceState = InstanceState.RUNNING, token: str = "t1", is_spot: bool = False
) -> Instance:
    return Instance(InstanceId(f"i-{number:017x}"), state, LaunchToken(token), queue=QUEUE, is_spot=is_spot)


def a_claim(number: int, state: ClaimState, since: float = NOW) -> NodeClaim:
    node = NodeName(f"q1-dy-c5-{number}")
    instance = InstanceId("") if state is ClaimState.REQUESTED else InstanceId(f"i-{number:017x}")
    return NodeClaim(node, state, since, instance, history=(ClaimEvent(state, since, "the story"),))


def a_launch(*claims: NodeClaim, token: str = "t1", created_at: float = NOW) -> Launch:
    request = LaunchRequest(
        queue=QUEUE,
        compute_resource=ComputeResourceName("c5"),
        template=LaunchTemplate("lt-1", "1"),
        offerings=(AN_OFFERING,),
        market=Market.ON_DEMAND,
        strategy=AllocationStrategy.LOWEST_PRICE,
        count=max(1, len(claims)),
        minimum=1,
    )
    return Launch(LaunchToken(token), request, created_at, tuple(claims))


def a_snapshot(
    *,
    now: float = NOW,
    nodes: tuple[Node, ...] = (),
    instances: tuple[Instance, ...] = (),
    launches: tuple[Launch, ...] = (),
) -> Snapshot:
    return Snapshot(
        now=now,
        nodes={node.name: node for node in nodes},
        jobs={},
        instances={instance.id: instance for instance in instances},
        launches={launch.token: launch for launch in launches},
    )


NOTHING_TO_DO = Plan((), Memory(), 0)
