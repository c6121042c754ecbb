"""Seeds of level B: the production shell, killed and restarted under virtual time."""

from __future__ import annotations

import pytest

from tests.simulation.shell import run_shell


@pytest.mark.parametrize("seed", range(40))
def test_the_shell_survives_being_killed_anywhere(seed: int) -> None:
    run_shell(seed)
