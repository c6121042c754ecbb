"""Wake the daemon: it looks now instead of within its period."""

from __future__ import annotations

import time
from collections.abc import Iterable

from clustermgtd.model.hostlist import fold
from clustermgtd.model.ids import NodeName
from clustermgtd.settings import Settings
from resume_suspend import wire
from resume_suspend.client import NotDeliveredError, hand_over

_DEADLINE_S = 2.0


def wake(settings: Settings, nodes: Iterable[NodeName], note: str) -> str:
    """Hint that nodes are to be looked at; returns why no daemon took the hint, or the empty text."""
    line = wire.nodes_request(wire.SUSPEND, fold(nodes), wire.new_id(), time.time(), note)
    own = settings.clustermgtd
    try:
        hand_over(own.hooks.socket_path, line, _DEADLINE_S)
    except NotDeliveredError as error:
        return f"the daemon looks within {own.period_seconds:g} s if it runs ({error})"
    return ""
