"""What EC2 says about the health of instances and about maintenance, when it is asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from clustermgtd.model.ids import InstanceId
from clustermgtd.model.notice import Notices


class InstanceStatusSource(Protocol):
    """DescribeInstanceStatus: slower than events, and not lost with them."""

    async def statuses(self, ids: Iterable[InstanceId]) -> Notices:
        """Of each running one of `ids` every scheduled event and failing check there is now; a healthy one has an
        empty tuple. Instances that do not run, or that EC2 does not know, are left out.

        Raises:
            TransientError: some could not be read.
            ConfigurationError: EC2 may not be asked.
        """
        ...
