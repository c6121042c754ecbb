"""One log line for each offering that is banned, and for each that may be had again."""

from __future__ import annotations

import structlog

from clustermgtd.model.offering_memory import Ban, OfferingMemory

log = structlog.get_logger(__name__)


def log_bans(before: OfferingMemory, after: OfferingMemory) -> None:
    """What the newer memory has that the older one has not, and the reverse."""
    old = {ban.scope: ban for ban in before.bans}
    new = {ban.scope: ban for ban in after.bans}
    for scope in sorted(old.keys() | new.keys()):
        if scope not in new:
            log.info("offering_restored", **_facts(old[scope]))
        elif old.get(scope) != new[scope]:
            log.warning("offering_banned", **_facts(new[scope]))


def _facts(ban: Ban) -> dict[str, object]:
    scope = ban.scope
    return {
        "kind": scope.kind,
        "market": scope.market,
        "instance_type": scope.instance_type,
        "place": scope.place,
        "pool": scope.pool,
        "code": ban.code,
        "count": ban.count,
        "level": ban.level,
        "seconds": round(ban.until - ban.since, 1),
        "until": ban.until,
    }
