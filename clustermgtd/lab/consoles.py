"""What instances write to their consoles, carried into EC2's model while they write it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

_READ_MAX_BYTES = 65_536


class ConsoleFeed:
    """Reads what was added to the instances' console logs since the last look."""

    def __init__(self, folder: Path, append: Callable[[str, str], None]) -> None:
        """`append`: takes an instance and a piece of text."""
        self._folder = folder
        self._append = append
        self._offsets: dict[str, int] = {}

    def feed(self, instances: Iterable[str]) -> None:
        """Carry over at most 64 KiB of each; instances without a console yet are passed over."""
        for instance in instances:
            offset = self._offsets.get(instance, 0)
            try:
                with (self._folder / instance / "console.log").open("rb") as console:
                    console.seek(offset)
                    added = console.read(_READ_MAX_BYTES)
            except FileNotFoundError:
                continue
            if added:
                self._offsets[instance] = offset + len(added)
                self._append(instance, added.decode(errors="replace"))
