"""`python -m tests.benchmarks [NAME ...]`: run every `bench_NAME.py` of this folder, or those named.

A benchmark is a module with a function `measure()` that yields one finding after the other: what, how much, unit.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path


def main(names: list[str]) -> int:
    known = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    if unknown := set(names) - set(known):
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    for name in names or known:
        for what, value, unit in import_module(f"tests.benchmarks.bench_{name}").measure():
            print(f"{name}: {what}: {value:.4g} {unit}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
