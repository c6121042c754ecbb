"""What the loop tells whoever counts: implemented by telemetry, silent by default."""

from __future__ import annotations

from clustermgtd.model.action import Action
from clustermgtd.model.claim import Launch, LaunchResult
from clustermgtd.model.snapshot import Plan, Snapshot


class LoopObserver:
    """Every method is called on the event loop and must return at once. The base class does nothing."""

    def tick_done(self, snapshot: Snapshot, plan: Plan, duration_s: float) -> None:
        """A snapshot was taken and its plan applied."""

    def tick_failed(self, error: Exception, duration_s: float) -> None:
        """The tick ended early; nothing more was done in it."""

    def action_applied(self, action: Action, outcome: str) -> None:
        """One action was carried out (`ok`) or not (`failed`)."""

    def launch_done(self, launch: Launch, result: LaunchResult, duration_s: float) -> None:
        """EC2 answered a CreateFleet; `launch` is the value after the answer."""
