"""What AWS announced and is still true: the newest notice of each matter, by instance."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import structlog

from clustermgtd.model.claim import ClaimState, Launch
from clustermgtd.model.ids import InstanceId, LaunchToken
from clustermgtd.model.instance import Instance, InstanceState
from clustermgtd.model.notice import Notice, NoticeAction, NoticeKind, Notices, NoticeSource
from clustermgtd.ports.clock import Clock

log = structlog.get_logger(__name__)

UNSTORED_MAX = 20_000
"""Messages that may wait for a tick; further ones stay in the queue."""
STRANGERS_MAX = 20_000
"""Instances with notices that are not known as ours; the oldest are forgotten first."""
STRANGER_KEPT_S = 600.0
"""An instance may turn out to be ours: the reply to its launch was lost and EC2's reads lag."""
MATTERS_MAX = 16
"""Of one instance or reservation."""
RESERVATIONS_MAX = 1000
RESERVATION_KEPT_S = 3600.0
"""After its end."""
LOGGED_MAX = 100
"""Instances in one log line."""

_Matter = tuple[NoticeKind, str]


class Offered(StrEnum):
    """What became of a message's notices."""

    TAKEN = "taken"
    """Something in them is new."""
    REPEATED = "repeated"
    """All of it was known, or older than what is known."""
    REFUSED = "refused"
    """Too many wait for a tick; nothing was taken."""


@dataclass(slots=True)
class _Page:
    """The matters of one instance or reservation."""

    since: float
    """When the first one came, by our clock."""
    matters: dict[_Matter, Notice]

    def put(self, notice: Notice) -> bool:
        """Keep it if it is news. What was called off is kept too: late news from before must not revive it."""
        key = (notice.kind, notice.matter)
        known = self.matters.get(key)
        if known is not None and known.order >= notice.order:
            return False
        self.matters[key] = notice
        if len(self.matters) > MATTERS_MAX:
            least = min(self.matters, key=lambda k: (not self.matters[k].is_over, self.matters[k].order, k))
            del self.matters[least]
        return known is not None or not notice.is_over

    def open(self) -> tuple[Notice, ...]:
        return tuple(notice for _, notice in sorted(self.matters.items()) if not notice.is_over)


class NoticeBook:
    """Kept in memory: after a restart the queue tells again what was not stored, and EC2's status the rest.

    Everybody calls it on the event loop. Whatever comes is merged at once, so that fifteen thousand messages in a
    minute are a few hundred instances' notices; what a message was for is stored by the next tick that ends well, and
    only then is it acknowledged.
    """

    def __init__(self, clock: Clock, wake: Callable[[], None]) -> None:
        """`wake` makes the loop look soon; it is called for news about our own instances only."""
        self._clock = clock
        self._wake = wake
        self._ours: dict[InstanceId, _Page] = {}
        self._strangers: dict[InstanceId, _Page] = {}
        self._reservations: dict[str, _Page] = {}
        self._unstored: list[Callable[[], None]] = []
        self._instances: Mapping[InstanceId, Instance] = {}
        self._claimed: Mapping[InstanceId, ClaimState] = {}
        self._news: dict[tuple[NoticeKind, NoticeAction, NoticeSource], list[str]] = defaultdict(list)

    def __len__(self) -> int:
        """Messages that wait for a tick."""
        return len(self._unstored)

    @property
    def running(self) -> frozenset[InstanceId]:
        """Our running instances as of the last view."""
        return frozenset(id for id, one in self._instances.items() if one.state is InstanceState.RUNNING)

    def offer(self, notices: Sequence[Notice], on_stored: Callable[[], None]) -> Offered:
        """Merge the notices of one message.

        Unless it is refused, `on_stored` is called once, after a tick that knew of them has stored its claims: also
        for a repeated one, because what it repeats may not be stored yet. It does not raise.
        """
        if len(self._unstored) >= UNSTORED_MAX:
            self._wake()
            return Offered.REFUSED
        self._unstored.append(on_stored)
        is_news = [self._put(notice) for notice in notices]
        if len(self._unstored) >= UNSTORED_MAX // 2:
            self._wake()
        return Offered.TAKEN if any(is_news) else Offered.REPEATED

    def take_statuses(self, reading: Notices) -> None:
        """Of each instance in `reading` exactly these are true now, as far as DescribeInstanceStatus knows."""
        for instance, notices in reading.items():
            page = self._page(instance)
            if page is None and not notices:
                continue
            page = page or self._open_page(instance)
            before = {key: n for key, n in page.matters.items() if n.source is NoticeSource.STATUS}
            for key in before:
                del page.matters[key]
            for notice in notices:
                known = before.get((notice.kind, notice.matter))
                first_at = notice.announced_at if known is None else min(known.announced_at, notice.announced_at)
                page.put(replace(notice, announced_at=first_at))
                if known is None or (known.action, known.effective_at) != (notice.action, notice.effective_at):
                    self._tell(notice, instance)

    def drain(self) -> list[Callable[[], None]]:
        """Whom to call after this tick has stored its claims. The caller takes its view after this."""
        unstored, self._unstored = self._unstored, []
        for (kind, action, source), subjects in sorted(self._news.items()):
            log.info(
                "notices_received",
                kind=kind,
                action=action,
                source=source,
                instances=subjects[:LOGGED_MAX],
                count=len(subjects),
            )
        self._news.clear()
        return unstored

    def put_back(self, unstored: Sequence[Callable[[], None]]) -> None:
        """The tick failed: they wait for the next one."""
        self._unstored[:0] = unstored

    def view(self, instances: Mapping[InstanceId, Instance], launches: Mapping[LaunchToken, Launch]) -> Notices:
        """What is true now about our instances that are not seen gone; the others' notices are forgotten."""
        self._instances = instances
        self._claimed = {
            claim.instance: claim.state for launch in launches.values() for claim in launch.claims if claim.instance
        }
        self._sort_pages()
        view = {id: page.open() for id, page in self._ours.items()}
        if self._reservations:
            self._add_reservations(view)
        return {id: notices for id, notices in sorted(view.items()) if notices}

    def _is_known(self, instance: InstanceId) -> bool:
        """Ours, and not seen gone."""
        shown = self._instances.get(instance)
        return shown.is_live if shown is not None else instance in self._claimed

    def _sort_pages(self) -> None:
        """Known instances are ours, those that are seen gone are nobody's, and others may wait to become known."""
        kept_since = self._clock.monotonic() - STRANGER_KEPT_S
        self._ours = {id: page for id, page in self._ours.items() if self._is_known(id)}
        strangers = self._strangers
        for id in sorted(strangers.keys() & self._instances.keys() | strangers.keys() & self._claimed.keys()):
            page = strangers.pop(id)
            if self._is_known(id):
                self._ours[id] = page
                for notice in page.open():
                    self._news[notice.kind, notice.action, notice.source].append(id)
        # the oldest come first
        expired = list(itertools.takewhile(lambda id: strangers[id].since <= kept_since, strangers))
        for id in expired:
            del strangers[id]

    def _add_reservations(self, view: dict[InstanceId, tuple[Notice, ...]]) -> None:
        now = self._clock.now()
        for id in [id for id, page in self._reservations.items() if _is_past(page, now)]:
            del self._reservations[id]
        for instance in self._instances.values():
            page = self._reservations.get(instance.reservation) if instance.is_live else None
            if page is not None:
                own = view.get(instance.id, ())
                view[instance.id] = tuple(sorted((*own, *page.open()), key=lambda n: (n.kind, n.matter)))

    def _put(self, notice: Notice) -> bool:
        is_news = False
        for instance in notice.instances:
            if (self._page(instance) or self._open_page(instance)).put(notice):
                is_news = True
                self._tell(notice, instance)
        if notice.reservation and self._reservation_page(notice.reservation).put(notice):
            is_news = True
            self._wake()
            self._news[notice.kind, notice.action, notice.source].append(notice.reservation)
        return is_news

    def _reservation_page(self, id: str) -> _Page:
        if id not in self._reservations and len(self._reservations) >= RESERVATIONS_MAX:
            del self._reservations[next(iter(self._reservations))]
        return self._reservations.setdefault(id, _Page(self._clock.monotonic(), {}))

    def _page(self, instance: InstanceId) -> _Page | None:
        return self._ours.get(instance) or self._strangers.get(instance)

    def _open_page(self, instance: InstanceId) -> _Page:
        page = _Page(self._clock.monotonic(), {})
        if self._is_known(instance):
            self._ours[instance] = page
            return page
        if len(self._strangers) >= STRANGERS_MAX:
            del self._strangers[next(iter(self._strangers))]
        self._strangers[instance] = page
        return page

    def _tell(self, notice: Notice, instance: InstanceId) -> None:
        """The loop and the log, if it is about us and not what we asked for ourselves."""
        is_asked_for = notice.kind is NoticeKind.STATE_CHANGE and self._claimed.get(instance) is ClaimState.TERMINATING
        if self._is_known(instance) and not is_asked_for:
            self._wake()
            self._news[notice.kind, notice.action, notice.source].append(instance)


def _is_past(page: _Page, now: float) -> bool:
    return all(
        (n.announced_at if n.effective_at is None else n.effective_at) + RESERVATION_KEPT_S < now
        for n in page.matters.values()
    )
