"""What a benchmark yields."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `bound` is what it is compared with (theory, a requirement, the peer); `note` says which."""

    name: str
    value: float
    unit: str
    nodes: int = 0
    bound: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """value / bound."""
        return None if self.bound is None else round(self.value / self.bound, 4)
