"""Console output of instances."""

from __future__ import annotations

CONSOLE_MAX_CHARACTERS = 65_536
"""EC2 keeps the newest 64 KB."""


class Consoles:
    """What instances wrote to their consoles."""

    def __init__(self) -> None:
        self._text: dict[str, str] = {}

    def append(self, instance_id: str, text: str) -> None:
        self._text[instance_id] = (self._text.get(instance_id, "") + text)[-CONSOLE_MAX_CHARACTERS:]

    def get(self, instance_id: str) -> str:
        """The newest 64 KB; empty if there is nothing yet."""
        return self._text.get(instance_id, "")
