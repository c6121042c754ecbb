"""Provider codes that the error table lacks: each counted, and logged the first time that a process meets it."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from clustermgtd.adapters.aws.error_codes import is_known

CODES_MAX = 100
"""So many different ones are logged; a peer that makes codes up cannot fill the log or the memory."""

_log = structlog.get_logger(__name__)


class UnknownCodes:
    """Looks at every code of a reply, of whole calls and of the entries of a fleet's `Errors`."""

    def __init__(self, count: Callable[[], None]) -> None:
        """`count` is called once for each unknown code that comes, also for one that came before."""
        self._count = count
        self._logged: set[str] = set()

    def look_at(self, code: str, message: str, request_id: str) -> None:
        if is_known(code):
            return
        self._count()
        if code not in self._logged and len(self._logged) < CODES_MAX:
            self._logged.add(code)
            _log.warning("error_code_unknown", code=code, error=message, request_id=request_id)
