"""What a fleet reply, or its final refusal, makes of a launch's claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from clustermgtd.decide.sync import assign
from clustermgtd.model.claim import (
    ClaimState,
    Launch,
    LaunchError,
    LaunchOutcome,
    LaunchResult,
    NodeClaim,
    Refusal,
    advance,
)
from clustermgtd.model.failure import REMEMBERED, RETRIED, FailureKind
from clustermgtd.model.ids import InstanceId, NodeName
from clustermgtd.model.policy import Policy
from clustermgtd.model.snapshot import Snapshot

FAILURE_ORDER = (
    FailureKind.CONFIGURATION,
    FailureKind.UNKNOWN,
    FailureKind.UNSUPPORTED,
    FailureKind.QUOTA,
    FailureKind.SUBNET_ADDRESSES,
    FailureKind.CAPACITY,
    FailureKind.SERVICE,
    FailureKind.THROTTLED,
)
"""What a person has to mend comes first in a sentence about a launch that failed for several reasons."""
UNEXPLAINED = "InsufficientInstanceCapacity"
"""Stands for EC2's code where it gave fewer instances and no error."""


def attempted(launch: Launch, now: float) -> Launch:
    """The launch as it is stored before a call is made."""
    return replace(launch, attempts=launch.attempts + 1, last_attempt_at=now)


def with_result(launch: Launch, result: LaunchResult, now: float) -> Launch:
    """Claims that got an instance are LAUNCHED, the others LAUNCH_FAILED.

    Gangs are served in their order, each whole or not at all, then single nodes. An instance for which no whole gang
    is left is TERMINATING at once: its claim says why, so that its node is given back like those that got none. If
    EC2 only asked to come back, gangs keep what arrived, and the rest is asked for again.

    Instances are given in the order of their names, so that a replay gives the same pairs. Claims that an observation
    resolved meanwhile keep what they have. A refusal of a replay is dealt with as in `with_failure`.
    """
    kind, cause = summary(result.errors)
    outcome = _outcome(launch, result, now)
    if result.is_refusal and launch.attempts > 1:
        return replace(launch, outcome=replace(outcome, failure=kind, cause=cause))
    instances = [instance.id for instance in result.instances]
    return replace(launch, claims=_claims(launch, instances, kind, cause, now), outcome=outcome)


def settled(launch: Launch, snapshot: Snapshot, policy: Policy) -> Launch:
    """A refused replay once the lost call's instances would be shown: they are given out as by a reply, and claims for
    which there are none have failed for the reason of the refusal."""
    outcome = launch.outcome
    if not launch.is_refused or outcome is None or outcome.failure is None:
        return launch
    if snapshot.now - launch.last_attempt_at < policy.missing_grace_s:
        return launch
    shown = [instance.id for instance in snapshot.instances.values() if instance.token == launch.token]
    return replace(launch, claims=_claims(launch, shown, outcome.failure, outcome.cause, snapshot.now))


def _claims(
    launch: Launch, instances: Iterable[InstanceId], kind: FailureKind, cause: str, now: float
) -> tuple[NodeClaim, ...]:
    """Claims after instances that no claim names were given out to those that wait; `kind` and `cause` are why there
    are not more."""
    named = launch.instances
    fresh = sorted(id for id in instances if id not in named)
    served = dict(zip(_served(launch, len(fresh), in_part=kind in RETRIED), fresh, strict=False))
    spare = iter(fresh[len(served) :])
    claims = []
    for claim in launch.claims:
        if claim.state is not ClaimState.REQUESTED:
            claims.append(claim)
        elif claim.node in served:
            claims.append(assign(claim, served[claim.node], now, "the fleet reply"))
        elif instance := next(spare, None):
            launched = assign(claim, instance, now, "the fleet reply")
            claims.append(replace(advance(launched, ClaimState.TERMINATING, now, cause), failure=kind))
        else:
            claims.append(_failed(claim, kind, now, cause))
    return tuple(claims)


def _outcome(launch: Launch, result: LaunchResult, now: float) -> LaunchOutcome:
    """What the reply says about offerings. Nothing at all, without a reason, is a shortage of each of them."""
    obtained = Counter(instance.offering for instance in result.instances)
    refusals = {Refusal(error.offering, error.kind, error.code) for error in result.errors if error.kind in REMEMBERED}
    if not result.instances and not result.errors:
        refusals = {Refusal(o, FailureKind.CAPACITY, UNEXPLAINED) for o in launch.request.offerings}
    ordered = sorted(refusals, key=lambda refusal: (refusal.offering, refusal.kind, refusal.code))
    return LaunchOutcome(now, tuple(sorted(obtained.items())), tuple(ordered))


def _served(launch: Launch, available: int, *, in_part: bool) -> list[NodeName]:
    """The waiting nodes that get one of the available instances, first served first."""
    waiting = {claim.node: None for claim in launch.claims if claim.state is ClaimState.REQUESTED}
    served: list[NodeName] = []
    for gang in launch.gangs:
        needed = [node for node in gang.nodes if node in waiting]
        if in_part or gang.takes_part or len(needed) <= available - len(served):
            served += needed
        for node in needed:
            del waiting[node]
    return [*served, *waiting][:available]


def with_failure(launch: Launch, kind: FailureKind, code: str, cause: str, now: float) -> Launch:
    """The launch after EC2 refused the whole call for good. `code` is EC2's own, `cause` is for people.

    If it was a replay, the call before it may have launched all the same: claims stay REQUESTED until `settled`.
    """
    refusals = tuple(Refusal(offering, kind, code) for offering in launch.request.offerings if kind in REMEMBERED)
    if launch.attempts > 1:
        return replace(launch, outcome=LaunchOutcome(now, refusals=refusals, failure=kind, cause=cause))
    changed = {
        claim.node: _failed(claim, kind, now, cause) for claim in launch.claims if claim.state is ClaimState.REQUESTED
    }
    return replace(launch.with_claims(changed), outcome=LaunchOutcome(now, refusals=refusals))


def _failed(claim: NodeClaim, kind: FailureKind, now: float, cause: str) -> NodeClaim:
    return replace(advance(claim, ClaimState.LAUNCH_FAILED, now, cause), failure=kind)


def summary(errors: tuple[LaunchError, ...]) -> tuple[FailureKind, str]:
    """One class and one sentence for the `Errors` of a reply.

    A throttle or a service fault decides the class if any override met it: those nodes are asked for again, because
    nothing says that the offering is short.
    """
    if not errors:
        return FailureKind.CAPACITY, f"(Code:{UNEXPLAINED}) EC2 gave fewer instances and no reason"
    kinds = {error.kind for error in errors}
    retried = kinds & RETRIED
    kind = next(k for k in FAILURE_ORDER if k in (retried or kinds))
    counted = Counter((FAILURE_ORDER.index(e.kind), e.code, e.message) for e in errors)
    (_, code, message), _ = min(counted.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    others = sorted({error.code for error in errors} - {code})
    tail = f"; also {', '.join(others)}" if others else ""
    return kind, f"(Code:{code}) {message}{tail}"
