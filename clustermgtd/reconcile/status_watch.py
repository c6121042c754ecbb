"""The second way to learn what the queue tells: EC2 is asked about our running instances now and then."""

from __future__ import annotations

from clustermgtd.model.policy import Policy
from clustermgtd.ports.instance_status import InstanceStatusSource
from clustermgtd.reconcile.notice_book import NoticeBook


class StatusWatch:
    """Brings scheduled events and failing status checks into the book, also those whose messages were lost."""

    def __init__(self, source: InstanceStatusSource, book: NoticeBook) -> None:
        self._source = source
        self._book = book

    async def read(self, policy: Policy) -> None:
        """Ask about every running instance of the newest observation.

        Raises:
            ClustermgtdError: they could not be read whole; what was known before stays.
        """
        del policy
        self._book.take_statuses(await self._source.statuses(self._book.running))
