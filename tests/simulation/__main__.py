"""Many seeds: `python -m tests.simulation --seeds 10000`. Exit code 1 and the seed's story on the first violation."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.simulation.shell import run_shell
from tests.simulation.world import BUGS, World


def run_seed(seed: int, bugs: frozenset[str] = frozenset(), level: str = "A") -> tuple[int, str, Counter[str]]:
    """The seed, its violation (empty if none) with its story, and what happened in it."""
    if level == "B":
        world = None
        try:
            world = run_shell(seed)
        except (AssertionError, BaseExceptionGroup) as error:
            return seed, f"seed {seed} (level B): {error!r}", Counter()
        return seed, "", world.counts
    world = World(seed, bugs)
    try:
        world.run()
    except Exception as error:
        return seed, f"{world.story()}\n{type(error).__name__}: {error}", world.counts
    return seed, "", world.counts


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--level", choices=["A", "B"], default="A", help="A: decisions; B: the shell (default A)")
    parser.add_argument("--bug", action="append", choices=sorted(BUGS), default=[], help="plant a mistake (level A)")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    started = time.monotonic()
    counts: Counter[str] = Counter()
    seeds = range(options.first, options.first + options.seeds)
    with ProcessPoolExecutor(options.processes) as pool:
        run = partial(run_seed, bugs=frozenset(options.bug), level=options.level)
        for done, (seed, violation, seen) in enumerate(pool.map(run, seeds, chunksize=20), start=1):
            counts += seen
            if violation:
                print(violation)
                print(f"seed {seed} violates an invariant, after {done} seeds")
                pool.shutdown(cancel_futures=True)
                return 1
            if done % 1000 == 0:
                print(f"{done} seeds, {time.monotonic() - started:.0f} s", flush=True)
    for what, count in sorted(counts.items()):
        print(f"  {what:24} {count:9}")
    print(f"{options.seeds} seeds of level {options.level}, 0 violations, {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
