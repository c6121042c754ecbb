"""One log line for each status that the cluster or a queue comes to, and for what the daemon holds back on its own."""

from __future__ import annotations

import structlog

from clustermgtd.model.fleet_status import FleetRecord
from clustermgtd.model.safeguards import Safeguards

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


def log_safeguards(before: Safeguards, after: Safeguards) -> None:
    """Terminations that are held back from now on, and those that are not any more."""
    known = {(held.queue, held.reason): held.count for held in before.held_back}
    for held in after.held_back:
        if known.pop((held.queue, held.reason), 0) < held.count:
            log.error("terminations_held_back", queue=held.queue, reason=held.reason, count=held.count)
    for (queue, reason), count in sorted(known.items()):
        if not any((held.queue, held.reason) == (queue, reason) for held in after.held_back):
            log.info("terminations_no_longer_held_back", queue=queue, reason=reason, count=count)
    _log_protection(before, after)


def _log_protection(before: Safeguards, after: Safeguards) -> None:
    old = {(record.queue, record.compute_resource): record for record in before.boots if record.is_protected}
    new = {(record.queue, record.compute_resource): record for record in after.boots if record.is_protected}
    for queue, compute_resource in sorted(old.keys() - new.keys()):
        log.info("compute_resource_trusted_again", queue=queue, compute_resource=compute_resource)
    for key, record in sorted(new.items()):
        if key not in old or old[key].until != record.until:
            log.error(
                "compute_resource_protected",
                queue=record.queue,
                compute_resource=record.compute_resource,
                failures=record.failures,
                level=record.level,
                until=record.until,
                cause=record.cause,
            )
