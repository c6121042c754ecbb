"""How a metric is declared: a sentence of help, and labels whose values come from closed lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

PREFIX = "clustermgtd_"


@dataclass(frozen=True, slots=True)
class Label:
    """One dimension of a metric."""

    name: str
    values: tuple[str, ...]
    """The closed list; empty where the site's configuration or the code bounds it, as `bound` says."""
    bound: str = ""


@dataclass(frozen=True, slots=True)
class Declaration:
    """One metric as people read about it."""

    name: str
    """As it appears in the exposition, a counter's `_total` included."""
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[Label, ...]
    buckets: tuple[float, ...] = ()


class Declarations:
    """Makes metrics in one registry and remembers what was declared."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._declared: list[Declaration] = []

    def __iter__(self) -> Iterator[Declaration]:
        return iter(sorted(self._declared, key=lambda declaration: declaration.name))

    def counter(self, name: str, sentence: str, *labels: Label) -> Counter:
        """A counter; `name` is without prefix and ends in `_total`."""
        assert name.endswith("_total"), name
        self._declared.append(Declaration(PREFIX + name, "counter", sentence, labels))
        return Counter(PREFIX + name, sentence, [label.name for label in labels], registry=self._registry)

    def gauge(self, name: str, sentence: str, *labels: Label) -> Gauge:
        """A gauge; `name` is without prefix and ends in its unit if it has one."""
        self._declared.append(Declaration(PREFIX + name, "gauge", sentence, labels))
        return Gauge(PREFIX + name, sentence, [label.name for label in labels], registry=self._registry)

    def histogram(self, name: str, sentence: str, buckets: Sequence[float], *labels: Label) -> Histogram:
        """A histogram; `name` is without prefix and ends in its unit, buckets are upper bounds in that unit."""
        self._declared.append(Declaration(PREFIX + name, "histogram", sentence, labels, tuple(buckets)))
        names = [label.name for label in labels]
        return Histogram(PREFIX + name, sentence, names, buckets=buckets, registry=self._registry)
