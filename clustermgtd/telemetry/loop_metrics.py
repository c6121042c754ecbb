"""Counts what the reconcile loop reports: the four methods that `reconcile.observer.LoopObserver` promises to call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from clustermgtd.errors import IncompleteObservationError
from clustermgtd.model.action import Action, Reason, RecordLaunch, StartLaunch
from clustermgtd.model.claim import ClaimState, Launch, LaunchResult
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.instance import Instance
from clustermgtd.model.node import Node, NodeBase, NodeFlag
from clustermgtd.model.offering import Market
from clustermgtd.model.snapshot import Plan, Snapshot
from clustermgtd.telemetry.labels import ANY_MARKET, ActionOutcome, BanState, NodeClass, TickOutcome, node_class
from clustermgtd.telemetry.metrics import Metrics

UNSEEN_ENDED_S = 600.0
"""A live instance that EC2 has not shown for this long has ended; far above EC2's read lag."""
_HAS_BEEN_READY = frozenset({ClaimState.READY, ClaimState.DRAINING})


class LoopMetrics:
    """Fed by the loop after each tick, action and CreateFleet reply."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._live: dict[InstanceId, Instance] = {}
        """Instances seen live and not ended yet."""
        self._unseen_since: dict[InstanceId, float] = {}
        """Of those, the ones that EC2 does not show, with the time of the last sighting."""
        self._seen_at = 0.0

    def tick_done(self, snapshot: Snapshot, plan: Plan, duration_s: float) -> None:
        """A snapshot was taken and its plan applied."""
        self._metrics.tick(TickOutcome.DONE, duration_s)
        self._metrics.last_successful_tick(snapshot.now)
        self._metrics.instances(Counter(instance.state for instance in snapshot.instances.values()))
        self._metrics.nodes(_node_classes(snapshot.nodes.values()))
        self._metrics.nodes_left_alone(Counter(plan.left_alone.values()))
        self._count_claims(snapshot)
        self._count_bans(snapshot, plan)
        self._metrics.blocks.show(plan.blocks)
        self._metrics.warm.show(plan.warm)
        self._metrics.fleet.tick_done(snapshot, plan)
        self._count_ready(snapshot, plan)
        self._count_ended(snapshot.instances, snapshot.now)
        self._metrics.notices.notices_open(notice for notices in snapshot.notices.values() for notice in notices)

    def tick_failed(self, error: Exception, duration_s: float) -> None:
        """The tick ended early; nothing more was done in it."""
        is_blind = isinstance(error, IncompleteObservationError)
        self._metrics.tick(TickOutcome.NOT_OBSERVED if is_blind else TickOutcome.FAILED, duration_s)

    def action_applied(self, action: Action, outcome: str) -> None:
        """One action was carried out (`ok`) or not (`failed`)."""
        self._metrics.action(action, ActionOutcome(outcome))

    def launch_done(self, launch: Launch, result: LaunchResult, duration_s: float) -> None:  # noqa: ARG002
        """EC2 answered a CreateFleet; the call's duration is counted where the port is."""
        for instance in result.instances:
            self._metrics.instance_launched(launch.request.queue, instance.offering.market)
        for error in result.errors:
            self._metrics.launch_error(error.kind, error.offering.market)

    def _count_claims(self, snapshot: Snapshot) -> None:
        claims = [claim for launch in snapshot.launches.values() for claim in launch.claims]
        self._metrics.claims(Counter(claim.state for claim in claims))
        claimed = {claim.instance for claim in claims}
        tokens = snapshot.launches.keys() | snapshot.in_flight
        suspects = (snapshot.instances[id] for id in snapshot.instances.keys() - claimed)
        self._metrics.instances_unclaimed(sum(i.is_live and i.token not in tokens for i in suspects))

    def _count_bans(self, snapshot: Snapshot, plan: Plan) -> None:
        self._metrics.offering_bans(
            Counter(
                (
                    ban.scope.kind,
                    ban.scope.market or ANY_MARKET,
                    BanState.ACTIVE if ban.is_active(snapshot.now) else BanState.ENDED,
                )
                for ban in plan.offerings.bans
            )
        )
        self._metrics.nodes_held(len(plan.offerings.held))
        active = [fall for fall in plan.offerings.falls if fall.is_active(snapshot.now)]
        self._metrics.tiers.fallen(Counter((fall.queue, fall.tier) for fall in active))
        for action in plan.actions:
            if isinstance(action, StartLaunch) and action.reason is not Reason.REPLY_LOST:
                self._metrics.tiers.launch_decided(action.launch.request.queue, action.launch.request.tier)
            if isinstance(action, StartLaunch) and action.reason is Reason.PROBE:
                self._metrics.offering_probed(action.launch.request.market)

    def _count_ready(self, snapshot: Snapshot, plan: Plan) -> None:
        for action in plan.actions:
            if not isinstance(action, RecordLaunch):
                continue
            before = snapshot.launches.get(action.launch.token)
            were_ready = {c.node for c in before.claims if c.state in _HAS_BEEN_READY} if before else set()
            for claim in action.launch.claims:
                if claim.state is ClaimState.READY and claim.node not in were_ready:
                    self._metrics.node_ready(action.launch.request.market, snapshot.now - action.launch.created_at)

    def _count_ended(self, instances: Mapping[InstanceId, Instance], now: float) -> None:
        live = {id: instance for id, instance in instances.items() if instance.is_live}
        unseen: dict[InstanceId, float] = {}
        for gone in self._live.keys() - live.keys():
            instance, seen_at = self._live[gone], self._unseen_since.get(gone, self._seen_at)
            if gone not in instances and now - seen_at <= UNSEEN_ENDED_S:
                live[gone], unseen[gone] = instance, seen_at
            else:
                self._metrics.instance_ended(instance.queue, Market.SPOT if instance.is_spot else Market.ON_DEMAND)
        self._live, self._unseen_since, self._seen_at = live, unseen, now


def _node_classes(nodes: Iterable[Node]) -> Counter[NodeClass]:
    """How many nodes are of each class. A cluster has few different states, so each is looked at once."""
    examples: dict[tuple[NodeBase, frozenset[NodeFlag]], Node] = {}
    counts: Counter[tuple[NodeBase, frozenset[NodeFlag]]] = Counter()
    for node in nodes:
        state = (node.base, node.flags)
        counts[state] += 1
        examples.setdefault(state, node)
    classes: Counter[NodeClass] = Counter()
    for state, count in counts.items():
        classes[node_class(examples[state])] += count
    return classes
