"""Values for tests, with defaults: a test names only what it is about."""

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
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import (
    ComputeResourceName,
    InstanceId,
    InstanceType,
    JobId,
    LaunchToken,
    NodeName,
    QueueName,
    SubnetId,
)
from clustermgtd.model.instance import Instance, InstanceState
from clustermgtd.model.job import Job
from clustermgtd.model.node import Node, NodeBase, NodeFlag
from clustermgtd.model.offering import Market, Offering
from clustermgtd.model.policy import CapacityTier, ComputeResourceKey, ComputeResourcePolicy, PlacedNode, Policy
from clustermgtd.model.snapshot import Memory, Snapshot

NOW = 1_700_000_000.0
KEY = ComputeResourceKey(QueueName("q1"), ComputeResourceName("c5"))
F = NodeFlag


def dynamic(count: int) -> list[NodeName]:
    return [NodeName(f"q1-dy-c5-{n}") for n in range(1, count + 1)]


def a_node(name: str, state: str = "IDLE+CLOUD", *, reason: str = "", address: str = "", instance_id: str = "") -> Node:
    """A node from Slurm's own notation, for example `ALLOCATED+CLOUD+POWERING_UP`."""
    base, *flags = state.split("+")
    return Node(
        NodeName(name),
        NodeBase(base),
        frozenset(NodeFlag(flag) for flag in flags),
        (QueueName("q1"),),
        address=address or name,
        reason=reason,
        instance_id=instance_id,
    )


POWERED_DOWN = "IDLE+CLOUD+POWERED_DOWN"
POWERING_UP = "ALLOCATED+CLOUD+NOT_RESPONDING+POWERING_UP"
POWERING_DOWN = "IDLE+CLOUD+POWERING_DOWN"
RUNNING = "ALLOCATED+CLOUD"


def a_job(job_id: int, nodes: list[NodeName], state: str = "CONFIGURING", **facts: object) -> Job:
    return Job(JobId(job_id), state, nodes=tuple(sorted(nodes)), **facts)  # type: ignore[arg-type]


def an_instance(
    instance_id: str,
    state: str = "running",
    *,
    token: str = "t-1",
    age_s: float = 600.0,
    address: str = "",
    is_spot: bool = False,
) -> Instance:
    return Instance(
        InstanceId(instance_id),
        InstanceState(state),
        LaunchToken(token),
        NOW - age_s,
        is_spot=is_spot,
        private_address=address,
        queue=KEY.queue,
    )


def a_claim(
    node: str,
    state: ClaimState,
    instance: str = "",
    *,
    age_s: float = 60.0,
    failure: FailureKind | None = None,
    cause: str = "as the test has it",
) -> NodeClaim:
    at = NOW - age_s
    return NodeClaim(NodeName(node), state, at, InstanceId(instance), failure, (ClaimEvent(state, at, cause),))


def a_launch(*claims: NodeClaim, token: str = "t-1", age_s: float = 60.0, last_attempt_s_ago: float = 60.0) -> Launch:
    request = LaunchRequest(
        KEY.queue,
        KEY.name,
        LaunchTemplate("lt-1", "1"),
        (Offering(InstanceType("c5.large"), SubnetId("subnet-1")),),
        Market.ON_DEMAND,
        AllocationStrategy.LOWEST_PRICE,
        count=len(claims),
        minimum=1,
    )
    return Launch(
        LaunchToken(token),
        request,
        NOW - age_s,
        tuple(sorted(claims, key=lambda c: c.node)),
        version=1,
        attempts=1,
        last_attempt_at=NOW - last_attempt_s_ago,
    )


def a_policy(nodes: list[NodeName] | None = None, *, static: tuple[str, ...] = (), **facts: object) -> Policy:
    """One queue, one compute resource; by default ten dynamic nodes, whose names resolve."""
    facts.setdefault("names_resolve", True)
    offerings = facts.pop("offerings", (Offering(InstanceType("c5.large"), SubnetId("subnet-1")),))
    tier = CapacityTier(
        LaunchTemplate("lt-1", "1"),
        offerings,  # type: ignore[arg-type]
        Market.ON_DEMAND,
        AllocationStrategy.LOWEST_PRICE,
    )
    names = dynamic(10) if nodes is None else nodes
    placed = {name: PlacedNode(KEY, is_static=False) for name in names}
    placed |= {NodeName(name): PlacedNode(KEY, is_static=True) for name in static}
    return Policy({KEY: ComputeResourcePolicy(KEY, (tier,))}, placed, **facts)  # type: ignore[arg-type]


def a_snapshot(
    *,
    nodes: list[Node] | None = None,
    jobs: list[Job] | None = None,
    instances: list[Instance] | None = None,
    launches: list[Launch] | None = None,
    memory: Memory | None = None,
    in_flight: tuple[str, ...] = (),
    waiting: tuple[str, ...] = (),
    now: float = NOW,
) -> Snapshot:
    return Snapshot(
        now=now,
        nodes={n.name: n for n in nodes or []},
        jobs={j.id: j for j in jobs or []},
        instances={i.id: i for i in instances or []},
        launches={launch.token: launch for launch in launches or []},
        in_flight=frozenset(LaunchToken(t) for t in in_flight),
        waiting=frozenset(LaunchToken(t) for t in waiting),
        token_prefix="test-1-",
        memory=memory or Memory(),
    )
