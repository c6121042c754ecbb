"""What the governor believes, read at each scrape, and what cluster.yaml means under EC2's limits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Protocol

from clustermgtd.decide.budget import BucketName
from clustermgtd.model.ids import LaunchToken
from clustermgtd.telemetry import labels
from clustermgtd.telemetry.declarations import Declarations


class WatchedBuckets(Protocol):
    """Token buckets by name. Every method is cheap and does not raise."""

    on_throttle: Callable[[BucketName], None]
    """Called once for each pause."""

    def level(self, name: BucketName) -> float: ...

    def refill_per_s(self, name: BucketName) -> float: ...

    def paused_until(self, name: BucketName) -> float:
        """Epoch seconds, 0 while it is not paused."""
        ...


class WatchedGovernor(Protocol):
    """What `reconcile.governor.GovernedFleet` offers to be watched."""

    @property
    def buckets(self) -> WatchedBuckets: ...

    @property
    def waiting(self) -> Collection[LaunchToken]: ...

    @property
    def backlog_s(self) -> float: ...


class GovernorMetrics:
    """Gauges of the token buckets and of the launches that wait for them."""

    def __init__(self, declarations: Declarations) -> None:
        self._tokens = declarations.gauge(
            "bucket_tokens", "Tokens that EC2's bucket is believed to hold; infinite if it is off.", labels.BUCKET
        )
        self._refill = declarations.gauge(
            "bucket_refill_per_second",
            "Tokens a second that are believed to come back, after throttles.",
            labels.BUCKET,
        )
        self._paused = declarations.gauge(
            "bucket_paused_until_timestamp_seconds",
            "Unix time until which a throttle keeps the bucket closed; 0 while it is open.",
            labels.BUCKET,
        )
        self._throttles = declarations.counter(
            "bucket_throttles_total", "Pauses of a bucket because EC2 throttled calls.", labels.BUCKET
        )
        self._backlog = declarations.gauge(
            "launch_backlog_seconds", "Time until the last node that waits for EC2's limits can be requested."
        )
        self._waiting = declarations.gauge("launches_waiting", "Launches that wait for EC2's limits.")
        self._margin = declarations.gauge(
            "resume_timeout_margin_seconds",
            "ResumeTimeout less the time until the last node of the queue is requested and booted; too short below 0.",
            labels.QUEUE,
        )
        for name in BucketName:
            self._throttles.labels(name)

    def watch(self, governor: WatchedGovernor) -> None:
        """Ask it at each scrape, and be told of throttles."""
        buckets = governor.buckets
        for name in BucketName:
            self._tokens.labels(name).set_function(partial(buckets.level, name))
            self._refill.labels(name).set_function(partial(buckets.refill_per_s, name))
            self._paused.labels(name).set_function(partial(buckets.paused_until, name))
        buckets.on_throttle = lambda name: self._throttles.labels(name).inc()
        self._backlog.set_function(lambda: governor.backlog_s)
        self._waiting.set_function(lambda: len(governor.waiting))

    def resume_margins(self, margins: Mapping[str, float]) -> None:
        """By queue, all at once: one that is left out disappears."""
        self._margin.clear()
        for queue, margin_s in margins.items():
            self._margin.labels(queue).set(margin_s)
