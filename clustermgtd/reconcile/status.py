"""One line about how the daemon is: for `systemctl status`, the watchdog and `/healthz`."""

from __future__ import annotations

from collections.abc import Callable

from clustermgtd.model.action import Action
from clustermgtd.model.claim import Launch, LaunchResult
from clustermgtd.model.snapshot import Plan, Snapshot
from clustermgtd.ports.clock import Clock

STALLED_AFTER_S = 120.0
"""On top of the period: no tick, good or bad, for so long means that the loop hangs."""


class Status:
    """A `LoopObserver`. `say` is told each new line."""

    def __init__(self, clock: Clock, say: Callable[[str], object]) -> None:
        self._clock = clock
        self._tell = say
        self._ticked_at = clock.monotonic()
        self._done_at = clock.monotonic()
        self.text = "started"

    def tick_done(self, snapshot: Snapshot, plan: Plan, duration_s: float) -> None:
        del plan
        live = sum(instance.is_live for instance in snapshot.instances.values())
        claims = sum(claim.is_open for launch in snapshot.launches.values() for claim in launch.claims)
        self._ticked_at = self._done_at = self._clock.monotonic()
        self._say(f"{live} instances, {claims} claims, {len(snapshot.nodes)} nodes, last tick {duration_s:.2f} s")

    def tick_failed(self, error: Exception, duration_s: float) -> None:
        del duration_s
        self._ticked_at = self._clock.monotonic()
        self._say(f"tick failed: {error}")

    def action_applied(self, action: Action, outcome: str) -> None:
        """Nothing to say about a single action."""

    def launch_done(self, launch: Launch, result: LaunchResult, duration_s: float) -> None:
        """Nothing to say about a single launch."""

    @property
    def last_success_age_s(self) -> float:
        """Seconds since a tick succeeded."""
        return self._clock.monotonic() - self._done_at

    def is_alive(self, period_s: float) -> bool:
        """The loop ticks, successfully or not."""
        return self._clock.monotonic() - self._ticked_at < period_s + STALLED_AFTER_S

    def is_healthy(self, period_s: float) -> bool:
        """A tick succeeded lately."""
        return self.last_success_age_s < 3 * period_s + STALLED_AFTER_S

    def _say(self, text: str) -> None:
        if text != self.text:
            self.text = text
            self._tell(text)
