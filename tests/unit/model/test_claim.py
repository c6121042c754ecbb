"""The claim's state machine."""

from __future__ import annotations

import pytest

from clustermgtd.errors import IllegalTransitionError
from clustermgtd.model.claim import TRANSITIONS, ClaimState, advance
from tests.builders import NOW, a_claim


def test_every_state_has_a_row_and_every_state_but_the_first_is_reached() -> None:
    assert set(TRANSITIONS) == set(ClaimState)
    reached = set().union(*TRANSITIONS.values())
    assert reached == set(ClaimState) - {ClaimState.REQUESTED}


def test_every_state_can_come_to_its_end() -> None:
    def ends(state: ClaimState, seen: frozenset[ClaimState] = frozenset()) -> bool:
        if state is ClaimState.TERMINATED:
            return True
        return any(ends(target, seen | {state}) for target in TRANSITIONS[state] - seen)

    assert all(ends(state) for state in ClaimState)


def test_an_edge_writes_history() -> None:
    claim = advance(a_claim("q1-dy-c5-1", ClaimState.LAUNCHED, "i-1"), ClaimState.READY, NOW, "slurmd registered")
    assert (claim.state, claim.since) == (ClaimState.READY, NOW)
    assert claim.history[-1].cause == "slurmd registered"


@pytest.mark.parametrize(
    ("source", "target"), [(s, t) for s in ClaimState for t in ClaimState if t not in TRANSITIONS[s]]
)
def test_any_other_edge_raises_with_the_history(source: ClaimState, target: ClaimState) -> None:
    with pytest.raises(IllegalTransitionError, match="as the test has it"):
        advance(a_claim("q1-dy-c5-1", source, "i-1"), target, NOW, "a mistake")
