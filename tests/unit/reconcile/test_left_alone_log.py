"""What is only reported is said once per node and state."""

from __future__ import annotations

from typing import Any

from structlog.testing import capture_logs

from clustermgtd.decide.plan import decide
from clustermgtd.model.node import Node
from clustermgtd.reconcile.left_alone_log import LeftAloneLog
from tests.builders import POWERED_DOWN, a_node, a_policy, a_snapshot, dynamic

N1, N2 = dynamic(2)


def said(log: LeftAloneLog, *nodes: Node) -> list[dict[str, Any]]:
    snapshot = a_snapshot(nodes=list(nodes))
    with capture_logs() as lines:
        log.tick_done(snapshot, decide(snapshot, a_policy([N1, N2])), 0.1)
    return [dict(line) for line in lines]


def test_a_state_is_said_when_it_is_entered_and_when_it_ends() -> None:
    log = LeftAloneLog()
    fan = [a_node(name, "DOWN+CLOUD", reason="broken fan") for name in (N1, N2)]
    (line,) = said(log, *fan)
    assert (line["event"], line["nodes"], line["why"]) == ("nodes_left_alone", "q1-dy-c5-[1-2]", "marked")
    assert (line["state"], line["node_reason"]) == ("DOWN+CLOUD", "broken fan")
    assert said(log, *fan) == []
    assert [a["nodes"] for a in said(log, fan[0], a_node(N2, "DOWN+CLOUD", reason="new fan"))] == ["q1-dy-c5-2"]
    (ended,) = said(log, fan[0], a_node(N2, POWERED_DOWN))
    assert (ended["event"], ended["nodes"]) == ("nodes_left_alone_ended", "q1-dy-c5-2")
    assert [a["nodes"] for a in said(log, fan[0], fan[1])] == ["q1-dy-c5-2"]


def test_the_scheduler_s_plans_are_no_new_state() -> None:
    log = LeftAloneLog()
    nodes = [a_node(N1, "IDLE+CLOUD+DRAIN", reason="fan"), a_node(N2, POWERED_DOWN)]
    assert len(said(log, *nodes)) == 1
    assert said(log, a_node(N1, "IDLE+CLOUD+DRAIN+PLANNED", reason="fan"), nodes[1]) == []


def test_a_node_that_slurm_does_not_show_is_said_without_a_state() -> None:
    (line,) = said(LeftAloneLog(), a_node(N2, POWERED_DOWN))
    assert (line["nodes"], line["why"], line["state"]) == (N1, "not-shown", "")
