"""Involuntary terminations within limits: over one, nothing of the kind happens before an operator confirms it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import TypeVar

from clustermgtd.model.action import INVOLUNTARY, PowerDownNodes, Reason, RecordSafeguards, SetNodesDown
from clustermgtd.model.claim import BACKED
from clustermgtd.model.ids import InstanceId, JobId, NodeName, QueueName
from clustermgtd.model.policy import Policy
from clustermgtd.model.safeguards import (
    ALWAYS_ALLOWED,
    WINDOW_S,
    BootRecord,
    HeldBack,
    Safeguards,
    Terminated,
)
from clustermgtd.model.snapshot import Snapshot

_T = TypeVar("_T", InstanceId, NodeName)
_Node = TypeVar("_Node", bound=object)


class TerminationGuard:
    """Counts what one decision wants to end. What exceeds a limit is held back whole, because a mistake that is carried
    out by and by is as bad: the limits let single failures pass and stop those that meet many instances at once."""

    def __init__(self, snapshot: Snapshot, policy: Policy) -> None:
        self._snapshot = snapshot
        self._policy = policy
        self._is_confirmed = snapshot.now < snapshot.fleet.confirmed_until
        self._recent = [t for t in snapshot.safeguards.terminated if snapshot.now - t.at < WINDOW_S]
        self._allowed: list[Terminated] = []
        self._held_back: Counter[tuple[QueueName, Reason]] = Counter()

    def missing(self, missing: Mapping[InstanceId, float]) -> dict[InstanceId, float]:
        """The instances that EC2 does not show, without those whose loss is not believed for now."""
        if not missing:
            return {}
        due = [
            (claim.instance, launch.request.queue)
            for launch in self._snapshot.launches.values()
            for claim in launch.claims
            if claim.state in BACKED
            and self._snapshot.now - missing.get(claim.instance, self._snapshot.now) >= self._policy.missing_grace_s
        ]
        admitted = self._admit(due, Reason.INSTANCE_MISSING)
        doubted = {instance for instance, _ in due} - admitted
        return {instance: since for instance, since in missing.items() if instance not in doubted}

    def orphans(self, instances: Sequence[InstanceId]) -> list[InstanceId]:
        """Those that may be ended now. One that is asked for again, because it is still shown, is counted once."""
        called = self._snapshot.memory.terminate_called_at
        fresh = [(id, self._snapshot.instances[id].queue) for id in instances if id not in called]
        admitted = self._admit(fresh, Reason.ORPHAN)
        return [instance for instance in instances if instance in admitted or instance in called]

    def nodes(self, actions: Iterable[_Node]) -> list[_Node]:
        """The actions without nodes whose instances must not end now. Nodes without an instance are no matter."""
        kept: list[_Node] = []
        for action in actions:
            if not isinstance(action, SetNodesDown | PowerDownNodes) or not INVOLUNTARY[action.reason]:
                kept.append(action)
                continue
            counted = [(n, self._policy.nodes[n].key.queue) for n in action.nodes if self._has_instance(n)]
            barred = {name for name, _ in counted} - self._admit(counted, action.reason)
            names = tuple(name for name in action.nodes if name not in barred)
            if names == action.nodes:
                kept.append(action)
            elif names:
                kept.append(replace(action, nodes=names))
        return kept

    def record_action(self, boots: tuple[BootRecord, ...], told: tuple[JobId, ...]) -> list[RecordSafeguards]:
        """The record to store before anything else, if it changed."""
        safeguards = self.outcome(boots, told)
        return [RecordSafeguards(safeguards)] if safeguards != self._snapshot.safeguards else []

    def outcome(self, boots: tuple[BootRecord, ...], told: tuple[JobId, ...]) -> Safeguards:
        """What is known after this decision."""
        before = replace(self._snapshot.safeguards, boots=boots, told=told)
        held_back = tuple(sorted(HeldBack(*key, count) for key, count in self._held_back.items()))
        if not self._allowed and held_back == before.held_back:
            return before
        return replace(before, terminated=tuple(sorted([*self._recent, *self._allowed])), held_back=held_back)

    def _admit(self, wanted: Sequence[tuple[_T, QueueName]], reason: Reason) -> set[_T]:
        """Those that are within the limits."""
        by_queue: dict[QueueName, list[_T]] = defaultdict(list)
        for item, queue in wanted:
            by_queue[queue].append(item)
        total = len(wanted) + sum(t.count for t in (*self._recent, *self._allowed))
        is_over = total > self._policy.terminations.per_minute
        admitted: set[_T] = set()
        for queue, items in sorted(by_queue.items()):
            if not self._is_confirmed and (is_over or self._is_over_share(queue, len(items))):
                self._held_back[queue, reason] += len(items)
                continue
            admitted.update(items)
            self._allowed.append(Terminated(self._snapshot.now, queue, reason, len(items)))
        return admitted

    def _is_over_share(self, queue: QueueName, count: int) -> bool:
        recent = sum(t.count for t in (*self._recent, *self._allowed) if t.queue == queue)
        claimed = {
            claim.instance
            for launch in self._snapshot.launches.values()
            if launch.request.queue == queue
            for claim in launch.claims
            if claim.state in BACKED
        }
        live = {i.id for i in self._snapshot.instances.values() if i.is_live and i.queue == queue}
        share = ceil(len(claimed | live) * self._policy.terminations.percent / 100.0)
        return count + recent > max(ALWAYS_ALLOWED, share)

    def _has_instance(self, name: NodeName) -> bool:
        node = self._snapshot.nodes.get(name)
        return node is not None and not node.is_powered_down
