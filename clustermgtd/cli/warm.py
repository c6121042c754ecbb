"""`clustermgtctl warm`: which nodes are up because of a schedule, and what they cost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from clustermgtd.cli import facts_command
from clustermgtd.cli.aws_facts import policy_of, price_facts
from clustermgtd.cli.command import Help, Subparsers
from clustermgtd.cli.facts_command import Answer, Question
from clustermgtd.cli.scheduler import scheduler_of
from clustermgtd.cli.table import UNKNOWN, number, table
from clustermgtd.decide.price_order import choices_of
from clustermgtd.decide.warm import warm_statuses
from clustermgtd.errors import ClustermgtdError
from clustermgtd.model.hostlist import fold
from clustermgtd.model.policy import ComputeResourcePolicy, Policy
from clustermgtd.model.price import Prices
from clustermgtd.model.schedule import ScheduleName, ScheduleTime
from clustermgtd.model.snapshot import Snapshot
from clustermgtd.model.warm import WarmStatus
from clustermgtd.settings.schedules import Calendar

_HELP = Help(
    name="warm",
    summary="nodes that are up by schedule, why, until when, and what they cost",
    description="""\
Show for each compute resource that a schedule names how many nodes are wanted up now and how many are, by which
schedule, until when, and when a schedule wants some next; which idle nodes stay because of it; and what those cost
per hour, roughly: the built-in on-demand price of the cheapest type (`clustermgtd_warm_nodes_kept_dollars_per_hour`
has what their instances cost). Times are UTC.

Asks Slurm, unless --offline: then it shows the schedules, and what all the wanted nodes would cost.""",
    examples="""\
examples:
  clustermgtctl warm cluster.yaml
  clustermgtctl warm cluster.yaml --offline
  clustermgtctl warm cluster.yaml --output json | jq '.[].kept'

exit status: 0, 1 if the file is not accepted or something could not be read, 2 for a wrong command line""",
)
_PRICE_DIGITS = 3


@dataclass(frozen=True, slots=True)
class _Row:
    """One compute resource."""

    status: WarmStatus
    next_at: float
    """When a schedule's next window begins; infinity if none does."""
    price: float | None
    """US dollars per instance-hour."""
    is_up_known: bool

    @property
    def cost_per_hour(self) -> float | None:
        """Of the kept nodes; where Slurm was not asked, of all that are wanted."""
        count = len(self.status.kept) if self.is_up_known else self.status.wanted
        return None if self.price is None else self.price * count


def register(subparsers: Subparsers) -> None:
    facts_command.register(subparsers, _HELP, "do not ask Slurm", _answer)


def _answer(question: Question) -> Answer:
    settings, now = question.settings, time.time()
    if not settings.clustermgtd.schedules:
        return Answer("[]" if question.as_json else "no schedules: Clustermgtd.Schedules is empty", ())
    policy, prices = policy_of(settings), price_facts(settings, online=False).prices
    view, unread = None, ""
    if question.online:
        try:
            view = asyncio.run(scheduler_of(settings).view())
        except ClustermgtdError as error:
            unread = f"Slurm cannot be read: {error}"
    snapshot = Snapshot(
        now,
        nodes=view.nodes if view else {},
        jobs=view.jobs if view else {},
        instances={},
        launches={},
        schedules=Calendar(settings.clustermgtd.schedules).at(now),
    )
    statuses = warm_statuses(policy.warm, policy.nodes, snapshot)
    rows = [_row(status, policy, prices, snapshot, is_up_known=view is not None) for status in statuses]
    return Answer((_json if question.as_json else _text)(rows), (unread,) if unread else ())


def _row(status: WarmStatus, policy: Policy, prices: Prices, snapshot: Snapshot, *, is_up_known: bool) -> _Row:
    times: Mapping[ScheduleName, ScheduleTime] = snapshot.schedules
    starts = (times[one.schedule].next_starts_at for one in policy.warm[status.key])
    return _Row(status, min(starts), _cheapest(policy.compute_resources[status.key], prices), is_up_known)


def _cheapest(resource: ComputeResourcePolicy, prices: Prices) -> float | None:
    accepted = (offering for choice in choices_of(resource, prices) for offering in choice.accepted)
    return min((price for offering in accepted if (price := prices.of(offering)) is not None), default=None)


def _text(rows: Sequence[_Row]) -> str:
    headings = ("QUEUE", "RESOURCE", "WANTED", "UP", "SCHEDULE", "UNTIL", "NEXT", "KEPT", "$/HOUR")
    lines = [
        table(
            headings,
            [
                [
                    row.status.key.queue,
                    row.status.key.name,
                    str(row.status.wanted),
                    str(row.status.up) if row.is_up_known else UNKNOWN,
                    row.status.schedule or UNKNOWN,
                    _clock_time(row.status.until),
                    _clock_time(row.next_at),
                    str(len(row.status.kept)) if row.is_up_known else UNKNOWN,
                    number(row.cost_per_hour, _PRICE_DIGITS),
                ]
                for row in rows
            ],
            right=("WANTED", "UP", "KEPT", "$/HOUR"),
        )
    ]
    kept = [row.status for row in rows if row.status.kept]
    if kept:
        lines.append("")
    lines += [
        f"{fold(status.kept)}: idle, kept by {status.schedule} until {_clock_time(status.until)}" for status in kept
    ]
    return "\n".join(lines)


def _json(rows: Sequence[_Row]) -> str:
    return json.dumps(
        [
            {
                "queue": row.status.key.queue,
                "compute_resource": row.status.key.name,
                "wanted": row.status.wanted,
                "up": row.status.up if row.is_up_known else None,
                "schedule": row.status.schedule or None,
                "until": row.status.until or None,
                "next": row.next_at if row.next_at < float("inf") else None,
                "kept": list(row.status.kept) if row.is_up_known else None,
                "dollars_per_hour": row.cost_per_hour,
            }
            for row in rows
        ],
        indent=2,
    )


def _clock_time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if 0 < at < float("inf") else UNKNOWN
