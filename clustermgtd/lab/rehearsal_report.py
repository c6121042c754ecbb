"""How a rehearsal went, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """How one scenario went."""

    scenario: str
    passed: bool | None
    """None: it does not apply to this cluster."""
    note: str
    figures: Mapping[str, float]
    seconds: float


def as_json(results: Sequence[Result]) -> str:
    """A list of `{scenario, passed, note, figures, seconds}`."""
    return json.dumps(
        [
            {
                "scenario": result.scenario,
                "passed": result.passed,
                "note": result.note,
                "figures": dict(result.figures),
                "seconds": round(result.seconds, 1),
            }
            for result in results
        ],
        indent=2,
    )


def as_text(results: Sequence[Result]) -> str:
    """A line for each scenario, and one below it for each figure."""
    lines = []
    for result in results:
        lines.append(f"{result.scenario:<18} {word(result):<15} {result.seconds:6.1f} s  {result.note}".rstrip())
        lines += [f"    {value:8.2f}  {name}" for name, value in result.figures.items()]
    return "\n".join(lines)


def word(result: Result) -> str:
    """For people."""
    return {True: "passed", False: "FAILED", None: "does not apply"}[result.passed]
