"""What the loop tells whoever counts or reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from clustermgtd.model.action import Action
from clustermgtd.model.claim import Launch, LaunchResult
from clustermgtd.model.snapshot import Plan, Snapshot


class LoopObserver(Protocol):
    """Every method is called on the event loop and must return at once."""

    def tick_done(self, snapshot: Snapshot, plan: Plan, duration_s: float) -> None:
        """A snapshot was taken and its plan applied."""
        ...

    def tick_failed(self, error: Exception, duration_s: float) -> None:
        """The tick ended early; nothing more was done in it."""
        ...

    def action_applied(self, action: Action, outcome: str) -> None:
        """One action was carried out (`ok`) or not (`failed`)."""
        ...

    def launch_done(self, launch: Launch, result: LaunchResult, duration_s: float) -> None:
        """EC2 answered a CreateFleet; `launch` is the value after the answer."""
        ...


class Observers:
    """Tells several."""

    def __init__(self, observers: Sequence[LoopObserver]) -> None:
        self._observers = observers

    def tick_done(self, snapshot: Snapshot, plan: Plan, duration_s: float) -> None:
        for observer in self._observers:
            observer.tick_done(snapshot, plan, duration_s)

    def tick_failed(self, error: Exception, duration_s: float) -> None:
        for observer in self._observers:
            observer.tick_failed(error, duration_s)

    def action_applied(self, action: Action, outcome: str) -> None:
        for observer in self._observers:
            observer.action_applied(action, outcome)

    def launch_done(self, launch: Launch, result: LaunchResult, duration_s: float) -> None:
        for observer in self._observers:
            observer.launch_done(launch, result, duration_s)
