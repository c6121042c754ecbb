"""Which nodes run on what was configured before, and which of them leave next. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from clustermgtd.model.claim import BACKED, Launch
from clustermgtd.model.ids import LaunchToken, NodeName
from clustermgtd.model.node import REASON_PREFIX, Node, NodeFlag
from clustermgtd.model.policy import ComputeResourceKey, PlacedNode
from clustermgtd.ports.scheduler import SchedulerView

MARK = f"{REASON_PREFIX} replaced"
"""How the reason of a drain of ours begins. The daemon powers such a node down when its last job has ended."""


class Step(StrEnum):
    """How far a node's replacement is."""

    CURRENT = "current"
    """Without an instance, or on one that is as configured."""
    NEXT = "next"
    """May be drained."""
    WAITING = "waiting"
    """Boots, or a drain now would disturb its job: one that waits for other nodes of its own."""
    LEAVING = "leaving"
    """Drained, or powering down."""
    RETURNING = "returning"
    """A static node whose new instance is not up yet."""
    LEFT_ALONE = "left alone"
    """Somebody else drained it or set it DOWN."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """What is to be replaced, and how gently."""

    templates: Mapping[ComputeResourceKey, frozenset[str]]
    """Ids of the launch templates that are configured now."""
    launched_before: float = 0.0
    """Epoch seconds: an instance that was asked for earlier is to be replaced whatever its template is."""
    when_idle: bool = False
    """Busy nodes are not drained: they are waited for."""

    def is_outdated(self, launch: Launch, placed: PlacedNode) -> bool:
        """The launch's instances are not what a new one would be."""
        is_configured = launch.request.template.id in self.templates.get(placed.key, frozenset())
        return not is_configured or launch.created_at < self.launched_before


@dataclass(frozen=True, slots=True)
class Progress:
    """Every selected node's step at one moment."""

    steps: Mapping[NodeName, Step]
    busy: frozenset[NodeName] = field(default_factory=frozenset)

    def at(self, *steps: Step) -> list[NodeName]:
        """Nodes at one of these steps, sorted."""
        return sorted(name for name, step in self.steps.items() if step in steps)

    @property
    def is_over(self) -> bool:
        """Nothing more happens."""
        return not self.at(Step.NEXT, Step.WAITING, Step.LEAVING, Step.RETURNING)

    def drain_now(self, at_once: int) -> list[NodeName]:
        """Those that leave next: never more than `at_once` nodes are away at a time; idle ones first."""
        away = len(self.at(Step.LEAVING, Step.RETURNING))
        ready = sorted(self.at(Step.NEXT), key=lambda name: (name in self.busy, name))
        return ready[: max(0, at_once - away)]


def look(
    selected: Mapping[NodeName, PlacedNode],
    view: SchedulerView,
    launches: Mapping[LaunchToken, Launch],
    criteria: Criteria,
    begun: Collection[NodeName] = (),
) -> Progress:
    """Where every selected node is. `begun` are those that were seen outdated before."""
    backing = {c.node: launch for launch in launches.values() for c in launch.claims if c.state in BACKED}
    held = {name for job in view.jobs.values() for name in job.nodes}
    configuring = {name for job in view.jobs.values() if job.is_configuring for name in job.nodes}
    busy = held | {node.name for node in view.nodes.values() if node.is_running_job}
    steps: dict[NodeName, Step] = {}
    for name, placed in selected.items():
        node, launch = view.nodes.get(name), backing.get(name)
        if node is None:
            continue
        if launch is not None and criteria.is_outdated(launch, placed):
            is_waited_for = name in configuring or (criteria.when_idle and name in busy)
            steps[name] = _step(node, is_waited_for=is_waited_for)
        elif name in begun and placed.is_static and not node.is_up and not node.is_marked_by_others:
            steps[name] = Step.RETURNING
        else:
            steps[name] = Step.CURRENT
    return Progress(steps, frozenset(busy))


def _step(node: Node, *, is_waited_for: bool) -> Step:
    """Of a node on an outdated instance."""
    is_draining = bool(node.flags & {NodeFlag.DRAIN, NodeFlag.FAIL})
    if node.is_powering_down or node.is_powered_down:
        return Step.LEAVING
    if node.is_marked_by_others or (is_draining and not node.is_marked_by_us and not node.is_marked_by_slurm):
        return Step.LEFT_ALONE
    if is_draining or node.is_down or node.is_power_down_pending:
        return Step.LEAVING
    return Step.WAITING if is_waited_for or not node.is_up else Step.NEXT


def select(
    placed: Mapping[NodeName, PlacedNode], names: Iterable[str] | None, queue: str
) -> dict[NodeName, PlacedNode]:
    """Those named, those of a queue, or all.

    Raises:
        KeyError: a name that is not a node of the cluster.
    """
    if names is not None:
        return {NodeName(name): placed[NodeName(name)] for name in names}
    return {name: place for name, place in placed.items() if queue in ("", place.key.queue)}
