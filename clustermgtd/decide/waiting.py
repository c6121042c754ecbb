"""Launches whose calls wait for EC2's limits, and need not be made any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from clustermgtd.decide.sync import is_awaited
from clustermgtd.model.action import Reason, WithdrawLaunch
from clustermgtd.model.claim import ClaimState
from clustermgtd.model.ids import QueueName
from clustermgtd.model.policy import ComputeResourceKey
from clustermgtd.model.snapshot import Snapshot


def withdrawals(
    snapshot: Snapshot, stopped: Collection[QueueName] = (), closed: Collection[ComputeResourceKey] = ()
) -> list[WithdrawLaunch]:
    """Waiting launches that Slurm wants no node of any more, those of `stopped` queues and of `closed` compute
    resources, and those whose instances are all shown already.

    The latter are replays of calls whose reply was lost: in flight they are hands-off, and so would be adopted late.
    """
    shown = Counter(instance.token for instance in snapshot.instances.values())
    withdrawn: list[WithdrawLaunch] = []
    for token in sorted(snapshot.waiting):
        launch = snapshot.launches.get(token)
        if launch is None:
            continue
        open_claims = sum(claim.state is ClaimState.REQUESTED for claim in launch.claims)
        if launch.request.queue in stopped:
            withdrawn.append(WithdrawLaunch(token, Reason.FLEET_STOP))
        elif ComputeResourceKey(launch.request.queue, launch.request.compute_resource) in closed:
            withdrawn.append(WithdrawLaunch(token, Reason.PROTECTED))
        elif not is_awaited(launch, snapshot):
            withdrawn.append(WithdrawLaunch(token, Reason.NOT_WANTED))
        elif shown[token] - len(launch.instances) >= open_claims:
            withdrawn.append(WithdrawLaunch(token, Reason.REPLY_LOST))
    return withdrawn
