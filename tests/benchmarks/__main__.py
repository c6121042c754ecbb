"""`python -m tests.benchmarks [NAME ...]`: run every `bench_NAME.py` of this folder, or those named.

A benchmark is a module with a function `measure()` that yields `Row`s. They are printed as they come, and written to
build/bench.json as a list of `{name, nodes, value, unit, bound, ratio, note}`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from tests.benchmarks.row import Row

OUTPUT = Path("build/bench.json")


def shown(row: Row) -> str:
    compared = f"  {row.ratio:8.3f} of {row.bound:g} {row.unit} ({row.note})" if row.bound is not None else ""
    return f"{row.name:48} {row.nodes or '':>6} {row.value:10.4g} {row.unit:6}{compared}"


def main(names: list[str]) -> int:
    known = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    if unknown := set(names) - set(known):
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    for name in names or known:
        for row in import_module(f"tests.benchmarks.bench_{name}").measure():
            rows.append(row)
            print(shown(row), flush=True)
            OUTPUT.parent.mkdir(exist_ok=True)
            OUTPUT.write_text(json.dumps([asdict(r) | {"ratio": r.ratio} for r in rows], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
