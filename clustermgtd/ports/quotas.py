"""The account's limits."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from clustermgtd.model.quota import QuotaKey, Quotas


class QuotaSource(Protocol):
    """vCPU quotas of the account in this Region. They change when somebody asks AWS, or AWS raises them by itself."""

    async def quotas(self, keys: Collection[QuotaKey]) -> Quotas:
        """Those of `keys` that AWS has; others are left out.

        Raises:
            ClustermgtdError: they could not be read whole.
        """
        ...
