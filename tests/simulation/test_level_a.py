"""Seeds of level A, planted mistakes, and determinism."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.world import BUGS, World

SEEDS = 300


@pytest.mark.parametrize("block", range(6))
def test_no_seed_breaks_an_invariant_and_all_reach_a_fixed_point(block: int) -> None:
    size = SEEDS // 6
    for seed in range(block * size, (block + 1) * size):
        world = World(seed)
        try:
            world.run()
        except Exception as error:
            raise AssertionError(world.story()) from error


@pytest.mark.parametrize("bug", sorted(BUGS))
def test_a_planted_mistake_is_caught(bug: str) -> None:
    for seed in range(200):
        try:
            World(seed, frozenset({bug})).run()
        except AssertionError:
            return
    raise AssertionError(f"200 seeds did not notice {bug}")


def test_a_seed_tells_the_same_story_whatever_the_hash_seed() -> None:
    program = (
        "from tests.simulation.world import World\n"
        "for seed in range(5):\n"
        "    world = World(seed); world.run(); print(world.story())"
    )
    stories = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1", "4711")
    }
    assert len(stories) == 1
    assert "CreateFleet" in stories.pop()


def test_the_seeds_meet_what_they_are_there_for() -> None:
    counts = sum((_counted(seed) for seed in range(60)), start=World(0).counts)
    wanted = {"StartLaunch", "TerminateInstances", "SetNodesDown", "LiftRequeueHold", "ReturnNodesToService"}
    wanted |= {"RecordOfferings", "HoldNodes", "ReleaseNodes", "probe", "top-up", "gang held", "gang released"}
    wanted |= {
        "STOP_REQUESTED",
        "START_REQUESTED",
        "ClosePartitions",
        "OpenPartitions",
        "CancelJobs",
        "blind",
        "confirmed",
    }
    wanted |= {"crash in a plan", "PowerUpNodes", "PowerDownNodes", "rival", "incomplete gang"}
    wanted |= {"refused replay of a lost call", "announced by an agent"}
    wanted |= {"maintenance reserved", "maintenance planned", "maintenance drained"}
    wanted |= {"drain restored", "hidden under a job", "explained", "explained no more"}
    wanted |= {"warm", "kept warm", "idled out"}
    wanted |= {"ill and drained", "ill and left", "boot-timeout"}
    assert wanted <= set(counts), wanted - set(counts)


def _counted(seed: int):  # type: ignore[no-untyped-def]
    world = World(seed)
    world.run()
    return world.counts
