"""Writes docs/reference/metrics.md from the declarations: `python -m clustermgtd.telemetry.reference > FILE`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from prometheus_client import CollectorRegistry

from clustermgtd.telemetry.declarations import Declaration, Label
from clustermgtd.telemetry.metrics import Metrics

_HEAD = """\
# Metrics

Generated from the declarations in `clustermgtd/telemetry/metrics.py` by `make docs`; do not edit.

The daemon serves them on loopback under `/metrics`, as Prometheus text or OpenMetrics, whichever is asked for;
`/healthz` answers 200 or 503 with a reason. Label values come from closed lists, and no label names a node, a job or an
instance: those are in the log lines. [Runbook](../operations/README.md): what to do when one of them looks wrong.
"""


def metrics_page() -> str:
    """The page, ending in a newline."""
    declarations = list(Metrics(CollectorRegistry()).declarations)
    return "\n".join([_HEAD, *(line for declaration in declarations for line in _section(declaration))])


def _section(declaration: Declaration) -> Iterator[str]:
    yield f"## {declaration.name}"
    yield ""
    yield f"{declaration.kind.capitalize()}. {declaration.help}"
    yield ""
    for label in declaration.labels:
        yield f"* `{label.name}`: {_values(label)}"
    if declaration.buckets:
        yield f"* buckets: {', '.join(f'{bound:g}' for bound in declaration.buckets)}"
    if declaration.labels or declaration.buckets:
        yield ""


def _values(label: Label) -> str:
    return ", ".join(f"`{value}`" for value in label.values) if label.values else label.bound


if __name__ == "__main__":
    sys.stdout.write(metrics_page())
