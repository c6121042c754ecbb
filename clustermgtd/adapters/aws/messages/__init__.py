"""EventBridge's events, as SQS delivers them: one parser for each (version, source, detail-type).

Shapes are from AWS's documentation of each event; nothing here was seen from AWS itself. A message may come from
anybody who may write to the queue, so everything is bounded and checked before anything is believed.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from clustermgtd.adapters.aws.messages import health, instances, reservations
from clustermgtd.adapters.aws.messages.envelope import Envelope, EventKey, Parser, Reading, shown
from clustermgtd.ports.notice_queue import Verdict

BODY_MAX = 1_048_576
"""Characters; SQS takes a message of at most 1 MiB."""
PROBLEMS_MAX = 3
"""That are named of one message."""

PARSERS: Mapping[EventKey, Parser] = {**instances.PARSERS, **reservations.PARSERS, **health.PARSERS}


def read(body: str, region: str) -> Reading:
    """What a message says to a cluster in `region`. Never raises for what is in it."""
    if len(body) > BODY_MAX:
        return Reading(Verdict.BAD, problem=f"longer than {BODY_MAX} characters")
    try:
        envelope = Envelope.model_validate_json(body)
    except ValidationError as error:
        return Reading(Verdict.BAD, problem=_problem(error))
    at, kind = envelope.announced_at, shown(f"{envelope.source} {envelope.detail_type}")
    parser = PARSERS.get(envelope.key)
    if parser is None:
        return Reading(Verdict.UNKNOWN, announced_at=at, kind=kind)
    try:
        notices = parser(envelope, region)
    except ValidationError as error:
        return Reading(Verdict.BAD, announced_at=at, kind=kind, problem=_problem(error))
    verdict = Verdict.NOTICES if notices else Verdict.NO_NEWS
    return Reading(verdict, notices, at, kind)


def _problem(error: ValidationError) -> str:
    """Where and what, never the value: it may be anybody's secret."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    told = [f"{shown('.'.join(str(part) for part in one['loc'])) or 'body'}: {one['type']}" for one in found]
    more = f" and {len(told) - PROBLEMS_MAX} more" if len(told) > PROBLEMS_MAX else ""
    return ", ".join(told[:PROBLEMS_MAX]) + more


__all__ = ["BODY_MAX", "PARSERS", "Reading", "read"]
