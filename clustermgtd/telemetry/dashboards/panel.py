"""What a dashboard consists of."""

from __future__ import annotations

from dataclasses import dataclass

COUNT = "short"
SECONDS = "s"
PER_SECOND = "ops"
PERCENT = "percentunit"
BYTES_PER_SECOND = "Bps"
DOLLARS = "currencyUSD"


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph."""

    title: str
    unit: str
    """Grafana's name of it."""
    expressions: tuple[tuple[str, str], ...]
    """A legend, in which `{{label}}` is the label's value, and PromQL."""
    description: str = ""
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page."""

    name: str
    title: str
    panels: tuple[Panel, ...]


def quantile(share: float, metric: str, by: str = "") -> str:
    """PromQL: the quantile of a histogram over half an hour, by labels."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket[30m])))"


def increase_by(metric: str, by: str) -> str:
    """PromQL: what was added to a counter in five minutes, by labels."""
    return f"sum by ({by}) (increase({metric}[5m]))"
