"""One log line for each status that the cluster or a queue comes to."""

from __future__ import annotations

import structlog

from clustermgtd.model.fleet_status import FleetRecord

log = structlog.get_logger(__name__)


def log_fleet(before: FleetRecord, after: FleetRecord) -> None:
    """What the newer record says otherwise."""
    for scope in after.scopes:
        known = before.scope(scope.queue)
        if scope.status is not known.status:
            log.info(
                "fleet_status_changed",
                queue=scope.queue,
                before=known.status,
                status=scope.status,
                when_idle=scope.options.when_idle,
                kills_jobs=scope.options.kills_jobs,
                by=scope.by,
            )
