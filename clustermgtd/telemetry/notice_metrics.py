"""What comes in from AWS's announcements, and how late.

`reconcile` is not imported here (layers): the class fits its Protocol by shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum

from clustermgtd.model.notice import Notice, NoticeKind
from clustermgtd.telemetry import labels
from clustermgtd.telemetry.declarations import Declarations

AGE_BUCKETS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)


class NoticeMetrics:
    """A `reconcile.notice_receiver.NoticeReport` that counts. Every method returns at once and never raises."""

    def __init__(self, declarations: Declarations) -> None:
        self._messages = declarations.counter(
            "notice_messages_total",
            "Messages received from the queue of AWS's announcements, by what became of them.",
            labels.NOTICE_KIND,
            labels.NOTICE_OUTCOME,
        )
        self._deleted = declarations.counter(
            "notice_messages_deleted_total", "Messages deleted from that queue: they had their effect, or have none."
        )
        self._age = declarations.histogram(
            "notice_message_age_seconds",
            "Time from AWS's announcement to its arrival here, each time that a message is received.",
            AGE_BUCKETS_S,
        )
        self._oldest = declarations.gauge(
            "notice_queue_oldest_message_seconds",
            "Time that the oldest message of the newest reply had been in the queue; 0 while the queue is empty.",
        )
        self._depth = declarations.gauge(
            "notice_queue_messages", "Messages that wait in the queue, as SQS estimates it; NaN without a queue."
        )
        self._unstored = declarations.gauge(
            "notice_messages_unstored",
            "Messages received whose effect is not stored yet: they wait for the next round.",
        )
        self._open = declarations.gauge(
            "notices", "Announcements about live instances that are true now, as of the last round.", labels.NOTICE_KIND
        )
        for outcome in labels.NoticeOutcome:
            self._messages.labels(labels.NO_NOTICE, outcome)
        self._depth.set(float("nan"))
        self.notices_open(())

    def notice_message(self, kind: str, outcome: StrEnum, age_s: float) -> None:
        """`age_s` since the announcement."""
        self._messages.labels(kind or labels.NO_NOTICE, outcome).inc()
        self._age.observe(age_s)

    def notice_messages_deleted(self, count: int) -> None:
        self._deleted.inc(count)

    def notice_queue_oldest(self, age_s: float) -> None:
        self._oldest.set(age_s)

    def notice_queue_depth(self, messages: int) -> None:
        self._depth.set(messages)

    def notices_open(self, notices: Iterable[Notice]) -> None:
        """All at once: a kind that is left out is 0."""
        counts = dict.fromkeys(NoticeKind, 0)
        for notice in notices:
            counts[notice.kind] += 1
        for kind, count in counts.items():
            self._open.labels(kind).set(count)

    def watch_unstored(self, messages: Callable[[], int]) -> None:
        """Ask at each scrape; `messages` must be cheap and not raise."""
        self._unstored.set_function(messages)
