"""Tables as sinfo and squeue print them."""

from __future__ import annotations

from collections.abc import Sequence

UNKNOWN = "-"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> str:
    """Columns two blanks apart, upper-case headings; those named in `right` are aligned to the right."""
    lines = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if heading in right else cell.ljust(width)
            for cell, width, heading in zip(line, widths, headings, strict=True)
        ).rstrip()
        for line in lines
    )


def number(value: float | None, digits: int = 0) -> str:
    """A dash for what is not known."""
    return UNKNOWN if value is None else f"{value:,.{digits}f}"
