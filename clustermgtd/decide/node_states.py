"""docs/reference/node-states.md, made from the decisions so that it cannot be out of date.

python -m clustermgtd.decide.node_states > docs/reference/node-states.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import product

from clustermgtd.decide.cells import NODE, Cell, InstanceSeen, a_node, claim_after, plan
from clustermgtd.decide.seen_states import SECTIONS, SeenState
from clustermgtd.model.action import (
    Action,
    PowerDownNodes,
    PowerUpNodes,
    RecordLaunch,
    RecordOfferings,
    RecordSafeguards,
    ReleaseNodes,
    ReturnNodesToService,
    SetNodesDown,
    StartLaunch,
    TerminateInstances,
)
from clustermgtd.model.claim import ClaimState
from clustermgtd.model.left_alone import LeftAlone

_HEAD = """\
# Node states

<!-- Made by `python -m clustermgtd.decide.node_states`; changes made here are lost. -->

What the daemon does about a node, for every state in which Slurm is known to show one, every state in which EC2 can
show an instance, and every state of our claim. The tables are what the decisions answer when they are asked, one
situation after the other; only the meanings are written by hand. The tests ask about every base state with every flag
as well, and play each situation to its end.

* *Claim* is the state of our record ([architecture](../explanation/architecture.md)), `none` if there is none.
* *Instance* is what EC2 shows of the claim's instance. `unknown` is one that EC2 does not show, which may be its read
  lag; `absent` one that it has not shown for `MissingGraceSeconds`. Fields that EC2 has not filled in do not matter.
* *At once* and *Later* are before and after the grace times. Claims that change are shown with an arrow. A dash is
  nothing: all is as it should be, or what would end the state anyway is waited for.

Each section begins with the usual case: a node at rest or powering up without a claim, any other with a claim that is
READY and an instance that runs. Then come all cases; states in which the same is done share a table.

An instance that carries our tags and that no claim names is not in the tables: it ends after `OrphanGraceSeconds`,
whatever state a node is in, unless a node that is up or runs a job has its id or address. A static node differs in one
thing: idle and powered down, without a drain and without a claim, it is powered up.

Which release of Slurm shows and leaves which state is in [facts about Slurm](slurm-facts.md#what-differs-by-release).
"""

_ACTIONS = {
    "launch": (StartLaunch, "an instance is asked for", "slurmd registers, or the launch fails and the node goes DOWN"),
    "end instance": (TerminateInstances, "TerminateInstances, again until it is seen", "the claim closes"),
    "DOWN, power down": (
        SetNodesDown,
        "`State=DOWN`, which requeues the node's job, then `State=POWER_DOWN`",
        "idle and powered down after SuspendTimeout",
    ),
    "power down": (PowerDownNodes, "`State=POWER_DOWN`", "idle and powered down after SuspendTimeout"),
    "return to service": (
        ReturnNodesToService,
        "`State=RESUME`",
        "idle and powered down at once, not responding; after a while that flag is taken away by a power-down",
    ),
    "release": (ReleaseNodes, "`State=UNDRAIN`: our drain ends", "as after a return to service"),
    "power up": (PowerUpNodes, "`State=POWER_UP` (static nodes)", "powering up"),
}
_WORDS = {kind: word for word, (kind, _, _) in _ACTIONS.items()}
_ALONE = {
    LeftAlone.NOT_SHOWN: "Slurm does not show the node. An operator ends it",
    LeftAlone.UNCLEAR: "Slurm does not know the node's state, or its line cannot be read. Slurm ends it",
    LeftAlone.MARKED: "an operator or their program keeps it from jobs, and lifts that",
    LeftAlone.REBOOTING: "somebody reboots it. slurmd's registration ends it, or ResumeTimeout: then it is replaced",
    LeftAlone.HIDDEN: "EC2 does not show its instance, and slurmd answers. EC2's showing it ends it, or silence",
    LeftAlone.UNCLAIMED: "slurmd answers on a machine that no claim names. Its power-down ends it, or its owner",
}
_CLAIMS = (None, *(state for state in ClaimState if state is not ClaimState.TERMINATED))
_WITHOUT_INSTANCE = (None, ClaimState.LAUNCH_FAILED, ClaimState.LOST)
_Row = tuple[str, str, str]
_Table = tuple[tuple[str, ...], ...]


def page() -> str:
    """The page, in Markdown, ending in a newline."""
    parts = [_HEAD, "## What is done\n", *_legend()]
    for title, states in SECTIONS.items():
        parts += [f"## {title}\n", *_section(title, states)]
    return "\n".join(parts)


def _legend() -> Iterator[str]:
    yield "| Action | What it is | What follows |\n|---|---|---|"
    for word, (_, what, then) in _ACTIONS.items():
        yield f"| {word} | {what} | {then} |"
    yield "\nThe word in brackets is the reason, as in logs, metrics and Slurm's `Reason`.\n"
    yield "| Left alone | Why, and what ends it |\n|---|---|"
    for why in LeftAlone:
        yield f"| `{why}` | {_ALONE[why]} |"
    yield "\nWhat is left alone is counted in `clustermgtd_nodes_left_alone` and logged once per node and state.\n"


def _section(title: str, states: Iterable[SeenState]) -> Iterator[str]:
    yield "| State | What it means | Ended by, if we do nothing | What we do |\n|---|---|---|---|"
    tables: dict[tuple[LeftAlone | None, _Table], list[str]] = {}
    for state in states:
        name = _title(state)
        yield f"| {name} | {state.meaning} | {state.ends} | {_usual(title, state)} |"
        why = _left_alone(state)
        tables.setdefault((why, _table(state, says_alone=why is None)), []).append(name)
    for (why, table), names in tables.items():
        yield f"\n{'; '.join(names)}{f': left alone (`{why}`)' if why else ''}\n"
        yield "| Claim | Instance | At once | Later |\n|---|---|---|---|"
        yield from (f"| {' | '.join(row)} |" for row in table)
    yield ""


def _title(state: SeenState) -> str:
    name = f"`{state.state}`" if state.state else "not shown"
    return f'{name} with {state.author or "the reason"} "{state.text}"' if state.text else name


def _usual(title: str, state: SeenState) -> str:
    node = a_node(state.state, state.text)
    is_empty = title in ("At rest", "Powering up")
    claim, seen = (None, InstanceSeen.ABSENT) if is_empty else (ClaimState.READY, InstanceSeen.RUNNING)
    now, later = (_outcome(Cell(seen, node, claim, is_over), says_alone=True) for is_over in (False, True))
    return now if now == later else f"later: {later}" if now == "–" else f"{now}; later: {later}"


def _left_alone(state: SeenState) -> LeftAlone | None:
    """Why it is left alone, if it is whatever the surroundings."""
    node = a_node(state.state, state.text)
    whys = {
        plan(Cell(seen, node, claim, is_over)).left_alone.get(NODE)
        for seen, claim, is_over in product(InstanceSeen, _CLAIMS, (False, True))
    }
    return whys.pop() if len(whys) == 1 else None


def _table(state: SeenState, *, says_alone: bool) -> _Table:
    """Claims that fare alike share rows; instances that fare alike share one."""
    by_fate: dict[tuple[_Row, ...], list[str]] = {}
    for claim in _CLAIMS:
        rows = _rows(state, claim, says_alone=says_alone)
        by_fate.setdefault(rows, []).append(f"`{claim}`" if claim else "none")
    return tuple((", ".join(claims), *row) for rows, claims in by_fate.items() for row in rows)


def _rows(state: SeenState, claim: ClaimState | None, *, says_alone: bool) -> tuple[_Row, ...]:
    """Instances, what happens at once, what happens later."""
    node = a_node(state.state, state.text)
    fates: dict[tuple[str, str], list[InstanceSeen]] = {}
    for seen in [InstanceSeen.ABSENT] if claim in _WITHOUT_INSTANCE else InstanceSeen:
        now, later = (_outcome(Cell(seen, node, claim, is_over), says_alone=says_alone) for is_over in (False, True))
        fates.setdefault((now, later if later != now else "the same"), []).append(seen)
    if len(fates) == 1:
        return tuple(("any" if claim not in _WITHOUT_INSTANCE else "", *fate) for fate in fates)
    return tuple((", ".join(seen), now, later) for (now, later), seen in fates.items())


def _outcome(cell: Cell, *, says_alone: bool) -> str:
    decided = plan(cell)
    texts = [
        _text(action)
        for action in decided.actions
        if not isinstance(action, RecordLaunch | RecordOfferings | RecordSafeguards)
    ]
    after = claim_after(cell, decided)
    if after is not cell.claim and after is not None:
        texts.append(f"→ `{after}`")
    texts += [f"left alone (`{why}`)" for why in decided.left_alone.values() if says_alone]
    return ", ".join(texts) or "–"


def _text(action: Action) -> str:
    """Raises KeyError for an action that the page does not explain."""
    reason = getattr(action, "reason", "")
    return f"{_WORDS[type(action)]} (`{reason}`)"


def every_cell(states: Iterable[SeenState]) -> Iterator[Cell]:
    """Each of these states in each surrounding, static nodes too."""
    for state, seen, claim, is_over, is_static in product(
        states, InstanceSeen, (None, *ClaimState), (False, True), (False, True)
    ):
        yield Cell(seen, a_node(state.state, state.text), claim, is_over, is_static)


if __name__ == "__main__":
    sys.stdout.write(page())
