"""Our hostlist expressions mean to Slurm what they mean to us."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from clustermgtd.model import hostlist

pytestmark = pytest.mark.slurm

EXPRESSIONS_PER_CALL = 250


def an_expression(rng: random.Random) -> str:
    """What users, slurm.conf and Slurm itself write."""
    term = rng.choice(["n", "q1-dy-c5-", "q-1-st-", "x9y"])
    for _ in range(rng.choice([0, 1, 1, 1, 2])):
        term += f"[{','.join(a_range(rng) for _ in range(rng.randint(1, 4)))}]" + rng.choice(["", "", "-b"])
    return term.removesuffix("-b") if not term.endswith("]") and "[" in term else term


def a_range(rng: random.Random) -> str:
    low = rng.randint(0, 120)
    width = rng.choice([0, 0, 2, 3, 4])
    first = f"{low:0{width}d}"
    return rng.choice([first, f"{first}-{low + rng.randint(0, 15):0{width}d}"])


def names(rng: random.Random) -> list[str]:
    return [
        f"{rng.choice(['n', 'q1-dy-c5-', 'x9y-'])}{rng.randint(0, 130):0{rng.choice([1, 1, 2, 3])}d}"
        for _ in range(rng.randint(1, 40))
    ]


@pytest.fixture
def scontrol(slurm_folder: Path) -> dict[str, str]:
    """An environment in which scontrol works without a slurmctld."""
    conf = slurm_folder / "slurm.conf"
    conf.write_text("ClusterName=none\nSlurmctldHost=localhost\n")
    return {**os.environ, "SLURM_CONF": str(conf)}


def shown(environment: dict[str, str], what: str, expression: str) -> list[str]:
    argv = ["scontrol", "show", what, expression]
    answer = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=30, check=True)
    return answer.stdout.split()


@pytest.mark.parametrize("seed", range(8))
def test_expand_agrees_with_show_hostnames(scontrol: dict[str, str], seed: int) -> None:
    rng = random.Random(seed)
    together = ",".join(an_expression(rng) for _ in range(EXPRESSIONS_PER_CALL))
    assert hostlist.expand(together) == shown(scontrol, "hostnames", together)


@pytest.mark.parametrize("seed", range(20))
def test_slurm_expands_what_we_fold(scontrol: dict[str, str], seed: int) -> None:
    wanted = names(random.Random(seed))
    folded = hostlist.fold(wanted)
    assert sorted(shown(scontrol, "hostnames", folded)) == sorted(set(wanted))
    assert shown(scontrol, "hostnames", folded) == hostlist.expand(folded), "addresses are paired by this order"


@pytest.mark.parametrize("seed", range(20))
def test_we_expand_what_slurm_folds(scontrol: dict[str, str], seed: int) -> None:
    wanted = names(random.Random(seed))
    for what in ("hostlist", "hostlistsorted"):
        (folded,) = shown(scontrol, what, ",".join(wanted))
        assert set(hostlist.expand(folded)) == set(wanted)
