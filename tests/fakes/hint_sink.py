"""An inbox that a test looks into, and an observer that remembers."""

from __future__ import annotations

from collections.abc import Callable

from clustermgtd.intake.observer import Rejection, Source
from clustermgtd.ports.hint_sink import Hint


class FakeSink:
    """`ports.HintSink` that takes hints until it holds `room`; `store` is the tick that uses them."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.room = room
        self.hints: list[Hint] = []
        self._waiting: list[Callable[[], None]] = []

    def offer(self, hint: Hint, on_stored: Callable[[], None], /) -> bool:
        if len(self._waiting) >= self.room:
            return False
        self.hints.append(hint)
        self._waiting.append(on_stored)
        return True

    def store(self) -> None:
        waiting, self._waiting = self._waiting, []
        for on_stored in waiting:
            on_stored()


class RecordingObserver:
    """`intake.IntakeObserver` that keeps what it was told."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Source]] = []
        self.refused: list[tuple[Rejection, Source]] = []

    def accepted(self, kind: str, source: Source) -> None:
        self.taken.append((kind, source))

    def rejected(self, reason: Rejection, source: Source, detail: str) -> None:
        assert detail
        self.refused.append((reason, source))
