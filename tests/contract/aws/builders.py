"""Launches and claims with defaults."""

from __future__ import annotations

from clustermgtd.model.claim import (
    AllocationStrategy,
    ClaimState,
    Launch,
    LaunchRequest,
    LaunchTemplate,
    NodeClaim,
    advance,
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
from clustermgtd.model.offering import Market, Offering


def an_offering(
    instance_type: str = "c5.large", subnet: str = "subnet-1", market: Market = Market.ON_DEMAND
) -> Offering:
    return Offering(InstanceType(instance_type), SubnetId(subnet), market)


def a_request(
    *offerings: Offering,
    count: int = 2,
    minimum: int = 1,
    template: LaunchTemplate | None = None,
    strategy: AllocationStrategy = AllocationStrategy.LOWEST_PRICE,
    max_price: float | None = None,
) -> LaunchRequest:
    offerings = offerings or (an_offering(),)
    return LaunchRequest(
        queue=QueueName("q1"),
        compute_resource=ComputeResourceName("c5"),
        template=template or LaunchTemplate("lt-0123456789abcdef0", "1"),
        offerings=offerings,
        market=offerings[0].market,
        strategy=strategy,
        count=count,
        minimum=minimum,
        max_price=max_price,
    )


def a_launch(token: str = "clmgtd-0badcafe-1-1", request: LaunchRequest | None = None) -> Launch:
    """An intent: every node REQUESTED."""
    request = request or a_request()
    names = sorted(f"q1-dy-c5-{number}" for number in range(1, request.count + 1))
    claims = tuple(NodeClaim(NodeName(name), ClaimState.REQUESTED, 1000.0) for name in names)
    return Launch(LaunchToken(token), request, 1000.0, claims)


def launched(launch: Launch) -> Launch:
    """The same launch with an instance for every node."""
    return launch.with_claims(
        {
            claim.node: advance(
                NodeClaim(claim.node, claim.state, claim.since, InstanceId(f"i-{rank:017x}"), history=claim.history),
                ClaimState.LAUNCHED,
                1010.0,
                "the fleet reply names it",
            )
            for rank, claim in enumerate(launch.claims, 1)
        }
    )


def closed(launch: Launch) -> Launch:
    """The same launch with every instance seen gone; `launch` comes from `launched`."""
    ended = {}
    for claim in launch.claims:
        ending = advance(claim, ClaimState.TERMINATING, 1020.0, "Slurm powers it down")
        ended[claim.node] = advance(ending, ClaimState.TERMINATED, 1030.0, "EC2 shows it no more")
    return launch.with_claims(ended)
