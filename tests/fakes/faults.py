"""Faults that a test plans for a fake's next calls."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager

from clustermgtd.errors import ClustermgtdError, TransientError


class Faults:
    """Per method, what happens to its next calls, in order; then they work again."""

    def __init__(self) -> None:
        self._planned: defaultdict[str, deque[tuple[ClustermgtdError, bool]]] = defaultdict(deque)

    def fail(self, method: str, error: ClustermgtdError, *, times: int = 1) -> None:
        """The next calls raise and have no effect."""
        self._planned[method].extend([(error, False)] * times)

    def lose_reply(self, method: str, error: ClustermgtdError | None = None) -> None:
        """The next call has its effect and then raises."""
        self._planned[method].append((error or TransientError("no reply", code="ReadTimeoutError"), True))

    @contextmanager
    def around(self, method: str) -> Iterator[None]:
        """Wrap the effect of one call."""
        error, after = self._planned[method].popleft() if self._planned[method] else (None, False)
        if error and not after:
            raise error
        yield
        if error:
            raise error
