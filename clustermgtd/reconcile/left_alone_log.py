"""One log line for nodes that come into a state of which nothing is done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import structlog

from clustermgtd.model.action import Action
from clustermgtd.model.claim import Launch, LaunchResult
from clustermgtd.model.hostlist import fold
from clustermgtd.model.ids import NodeName
from clustermgtd.model.left_alone import LeftAlone
from clustermgtd.model.node import NodeFlag
from clustermgtd.model.snapshot import Plan, Snapshot

log = structlog.get_logger(__name__)

_Matter = tuple[LeftAlone, str, str]
"""Why, Slurm's state (but PLANNED, which comes and goes with the scheduler's plans), Slurm's reason."""


class LeftAloneLog:
    """A `LoopObserver`. Says each node and state once, as long as the node stays in it."""

    def __init__(self) -> None:
        self._said: Mapping[NodeName, _Matter] = {}

    def tick_done(self, snapshot: Snapshot, plan: Plan, duration_s: float) -> None:
        del duration_s
        matters = {name: _matter(name, why, snapshot) for name, why in plan.left_alone.items()}
        entered: dict[_Matter, list[NodeName]] = defaultdict(list)
        for name, matter in matters.items():
            if self._said.get(name) != matter:
                entered[matter].append(name)
        for (why, state, reason), names in sorted(entered.items()):
            log.warning("nodes_left_alone", nodes=fold(names), why=why, state=state, node_reason=reason)
        ended = [name for name in self._said if name not in matters]
        if ended:
            log.info("nodes_left_alone_ended", nodes=fold(ended))
        self._said = matters

    def tick_failed(self, error: Exception, duration_s: float) -> None:
        """Nothing was observed."""

    def action_applied(self, action: Action, outcome: str) -> None:
        """Nothing to say about a single action."""

    def launch_done(self, launch: Launch, result: LaunchResult, duration_s: float) -> None:
        """Nothing to say about a single launch."""


def _matter(name: NodeName, why: LeftAlone, snapshot: Snapshot) -> _Matter:
    node = snapshot.nodes.get(name)
    if node is None:
        return why, "", ""
    return why, replace(node, flags=node.flags - {NodeFlag.PLANNED}).state, node.reason
