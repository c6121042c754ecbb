"""What Slurm's programs say when they fail, over the releases."""

from __future__ import annotations

import pytest

from clustermgtd.adapters.slurm.complaints import INVALID_STATE, complaint
from clustermgtd.errors import ConflictError


@pytest.mark.parametrize("said", ["Invalid node state specified", "Invalid node state transition"])
def test_both_words_for_a_state_that_does_not_follow_are_one_code(said: str) -> None:
    error = complaint("scontrol", 1, f"slurm_update error: {said}")
    assert isinstance(error, ConflictError)
    assert error.code == INVALID_STATE
    assert said in str(error)
