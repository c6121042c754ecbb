"""`clustermgtctl fleet`: stop and start the cluster or one of its queues."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pwd
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clustermgtd.cli.aws_facts import with_session
from clustermgtd.cli.command import Exit, Help, Subparsers, add_parser
from clustermgtd.cli.hints import wake
from clustermgtd.cli.table import UNKNOWN, table
from clustermgtd.errors import ClustermgtdError
from clustermgtd.model.fleet_status import CLUSTER, FleetRecord, FleetStatus, ScopeStatus, StopOptions, requested
from clustermgtd.model.ids import QueueName
from clustermgtd.model.safeguards import Safeguards
from clustermgtd.settings import Settings, SettingsError, load

if TYPE_CHECKING:
    from clustermgtd.adapters.aws.fleet_item import FleetRequests
    from clustermgtd.adapters.aws.session import AwsSession

DEFAULT_CONFIG = Path("/etc/clustermgtd/cluster.yaml")
WAIT_S = 1800.0
CONFIRMED_S = 600.0
_POLL_S = 2.0
_RESTING = (FleetStatus.RUNNING, FleetStatus.STOPPED, FleetStatus.PROTECTED)

_HELP = Help(
    name="fleet",
    summary="stop and start the cluster or a queue",
    description="""\
Stop and start the cluster or one of its queues, and show how far that has come. A request is written into
the claim table and carried out by the daemon, at once or as soon as it runs.""",
    examples="""\
examples:
  clustermgtctl fleet status
  clustermgtctl fleet stop --queue q1 --when-idle --wait
  clustermgtctl fleet start --queue q1
  clustermgtctl fleet confirm-terminations

exit status: 0, 1 if the request is refused or could not be written, 2 for a wrong command line""",
)
_STATUS_HELP = Help(
    name="status",
    summary="RUNNING, STOPPING, STOPPED, ... of the cluster and its queues",
    description="Show the status of the cluster and of each queue, since when, and who asked for it.",
    examples="""\
examples:
  clustermgtctl fleet status
  clustermgtctl fleet status --queue q1 --output json

exit status: 0, 1 if it could not be read, 2 for a wrong command line""",
)
_STOP_HELP = Help(
    name="stop",
    summary="launch nothing any more and end all instances",
    description="""\
Stop the cluster or a queue: its partition becomes INACTIVE, nothing is launched, and every node is powered
down, static ones too. Running jobs are requeued, and lost if they may not be, unless an option says
otherwise. Nodes that somebody drained or set DOWN are left as they are.""",
    examples="""\
examples:
  clustermgtctl fleet stop                          requeue running jobs
  clustermgtctl fleet stop --when-idle --wait       let running jobs end first
  clustermgtctl fleet stop --queue q1 --kill-jobs   cancel running jobs

exit status: 0, 1 if the request is refused, could not be written or was not done in time, 2 for a wrong
command line""",
)
_START_HELP = Help(
    name="start",
    summary="launch again",
    description="""\
Start the cluster or a queue again: the partition is opened if the daemon closed it, static nodes come up.
Ends the protection of compute resources whose nodes did not come up. A queue that was stopped by itself is
started by itself.""",
    examples="""\
examples:
  clustermgtctl fleet start
  clustermgtctl fleet start --queue q1 --wait --timeout 120

exit status: 0, 1 if the request is refused, could not be written or was not done in time, 2 for a wrong
command line""",
)
_CONFIRM_HELP = Help(
    name="confirm-terminations",
    summary="let terminations happen that the daemon holds back",
    description="""\
The daemon holds back terminations that it concludes itself (instances that EC2 does not show, that do not
respond, that nobody claims) when they are more than Clustermgtd.Termination allows: a wrong observation
would end what works. Look at `clustermgtctl fleet status` and EC2 first. For ten minutes no limit counts.""",
    examples="""\
examples:
  clustermgtctl fleet status
  clustermgtctl fleet confirm-terminations

exit status: 0, 1 if nothing is held back or the word could not be written, 2 for a wrong command line""",
)


def register(subparsers: Subparsers) -> None:
    kinds = add_parser(subparsers, _HELP).add_subparsers(title="requests", metavar="WHAT", required=True)
    subcommands = (
        (_STATUS_HELP, _status),
        (_STOP_HELP, _stop),
        (_START_HELP, _start),
        (_CONFIRM_HELP, _confirm),
    )
    for text, run in subcommands:
        parser = add_parser(kinds, text)
        parser.add_argument("--config", metavar="PATH", type=Path, default=DEFAULT_CONFIG, help="default: %(default)s")
        if text is _CONFIRM_HELP:
            parser.set_defaults(queue=CLUSTER)
        else:
            parser.add_argument("--queue", default=CLUSTER, help="only this queue; default: the cluster")
        parser.add_argument("--output", choices=["table", "json"], default="table", help="default: %(default)s")
        if text in (_STOP_HELP, _START_HELP):
            parser.add_argument(
                "--wait", action="store_true", help="return when it is done; progress on standard error"
            )
            parser.add_argument(
                "--timeout", metavar="SECONDS", type=float, default=WAIT_S, help="of --wait; default: %(default)g"
            )
        if text is _STOP_HELP:
            jobs = parser.add_mutually_exclusive_group()
            jobs.add_argument("--when-idle", action="store_true", help="let running jobs end first")
            jobs.add_argument("--kill-jobs", action="store_true", help="cancel running jobs instead of requeuing them")
        parser.set_defaults(run=run)


def _status(arguments: argparse.Namespace) -> int:
    async def read(requests: FleetRequests, _: Settings) -> FleetRecord:
        return await requests.read()

    return _run(arguments, read)


def _stop(arguments: argparse.Namespace) -> int:
    options = StopOptions(when_idle=arguments.when_idle, kills_jobs=arguments.kill_jobs)
    return _ask(arguments, FleetStatus.STOP_REQUESTED, options, FleetStatus.STOPPED)


def _start(arguments: argparse.Namespace) -> int:
    return _ask(arguments, FleetStatus.START_REQUESTED, StopOptions(), FleetStatus.RUNNING)


def _confirm(arguments: argparse.Namespace) -> int:
    async def confirm(requests: FleetRequests, settings: Settings) -> FleetRecord:
        if not (await requests.safeguards()).held_back:
            raise ClustermgtdError("no termination is held back")
        until = time.time() + CONFIRMED_S
        record = await requests.change(lambda before: replace(before, confirmed_until=until))
        await asyncio.to_thread(_wake, settings, CLUSTER)
        return record

    return _run(arguments, confirm)


def _ask(arguments: argparse.Namespace, status: FleetStatus, options: StopOptions, done: FleetStatus) -> int:
    """Write a request, wake the daemon, and wait for `done` if that is wanted."""
    queue = QueueName(arguments.queue)

    async def ask(requests: FleetRequests, settings: Settings) -> FleetRecord:
        wanted = ScopeStatus(queue, status, time.time(), options, _who())
        record = await requests.change(lambda before: requested(before, wanted))
        await asyncio.to_thread(_wake, settings, queue)
        return await _waited(requests, record, queue, done, arguments.timeout) if arguments.wait else record

    return _run(arguments, ask)


async def _waited(
    requests: FleetRequests, record: FleetRecord, queue: QueueName, done: FleetStatus, timeout_s: float
) -> FleetRecord:
    """The record once the scope has come so far.

    Raises:
        ClustermgtdError: not in time, or somebody asked for something else meanwhile.
    """
    began = time.monotonic()
    shown: FleetStatus | None = None
    while (status := record.scope(queue).status) is not done:
        waited_s = time.monotonic() - began
        if status is not shown:
            print(f"{waited_s:6.0f} s  {queue or 'cluster'} is {status}", file=sys.stderr)
            shown = status
        if status in _RESTING:
            raise ClustermgtdError(
                f"not {done}: somebody asked otherwise meanwhile, {queue or 'the cluster'} is {status}"
            )
        if waited_s >= timeout_s:
            raise ClustermgtdError(f"not {done} within {timeout_s:g} s: {queue or 'the cluster'} is {status}")
        await asyncio.sleep(min(_POLL_S, timeout_s - waited_s))
        record = await requests.read()
    return record


def _wake(settings: Settings, queue: QueueName) -> None:
    """Make the daemon look now."""
    names = [
        name for nodes in settings.nodes if queue in (CLUSTER, nodes.key.queue) for name in nodes.static + nodes.dynamic
    ]
    problem = wake(settings, names, "clustermgtctl fleet")
    if problem:
        print(f"written; {problem}", file=sys.stderr)


def _run(arguments: argparse.Namespace, act: Callable[[FleetRequests, Settings], Awaitable[FleetRecord]]) -> int:
    try:
        settings = load(arguments.config)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return Exit.FAILED
    queues = sorted({nodes.key.queue for nodes in settings.nodes})
    if arguments.queue and arguments.queue not in queues:
        print(f"{arguments.config} has no queue {arguments.queue}: {', '.join(queues)}", file=sys.stderr)
        return Exit.FAILED
    try:
        record, safeguards = asyncio.run(_with_requests(settings, act))
    except ClustermgtdError as error:
        print(error, file=sys.stderr)
        return Exit.FAILED
    if arguments.output == "json":
        answer = _as_json(settings, record, queues, arguments.queue)
        answer |= {"held_back": _held_back(safeguards), "protected": _protected(safeguards)}
        print(json.dumps(answer, indent=2))
    else:
        print(table(("QUEUE", "STATUS", "SINCE", "BY", "JOBS"), _rows(record, queues, arguments.queue)))
        for boots in _protected(safeguards):
            print(
                f"{boots['queue']}/{boots['compute_resource']} is protected: {boots['failures']} in a row did "
                f"not become nodes; the last one: {boots['cause']}; tried again after {_clock_time(boots['until'])}"
            )
        for held in safeguards.held_back:
            print(f"{held.count} terminations in queue {held.queue or UNKNOWN} are held back: {held.reason}")
    return Exit.OK


async def _with_requests(
    settings: Settings, act: Callable[[FleetRequests, Settings], Awaitable[FleetRecord]]
) -> tuple[FleetRecord, Safeguards]:
    """What `act` returns, and what is held back."""
    from clustermgtd.adapters.aws.fleet_item import FleetRequests

    async def read(session: AwsSession) -> tuple[FleetRecord, Safeguards]:
        requests = FleetRequests(session, settings.clustermgtd.table_name)
        return await act(requests, settings), await requests.safeguards()

    return await with_session(settings, read)


def _held_back(safeguards: Safeguards) -> list[dict[str, Any]]:
    return [{"queue": held.queue, "reason": held.reason, "count": held.count} for held in safeguards.held_back]


def _protected(safeguards: Safeguards) -> list[dict[str, Any]]:
    return [
        {
            "queue": boots.queue,
            "compute_resource": boots.compute_resource,
            "failures": boots.failures,
            "since": boots.since,
            "until": boots.until,
            "cause": boots.cause,
        }
        for boots in safeguards.boots
        if boots.is_protected
    ]


def _as_json(settings: Settings, record: FleetRecord, queues: list[QueueName], queue: QueueName) -> dict[str, Any]:
    shown = [_entry(record, name) for name in queues if queue in (CLUSTER, name)]
    return {"cluster": settings.cluster_name, **_entry(record, CLUSTER), "queues": shown}


def _entry(record: FleetRecord, queue: QueueName) -> dict[str, Any]:
    scope = record.scope(queue)
    return {
        **({"queue": queue} if queue else {}),
        "status": scope.status if queue == CLUSTER else record.effective(queue),
        "since": scope.since or None,
        "by": scope.by,
        "when_idle": scope.options.when_idle,
        "kills_jobs": scope.options.kills_jobs,
        **({"partition_closed": queue in record.closed} if queue else {}),
    }


def _rows(record: FleetRecord, queues: list[QueueName], queue: QueueName) -> list[list[str]]:
    return [
        [
            name or "(cluster)",
            record.effective(name) if name else record.scope().status,
            _clock_time(scope.since),
            scope.by or UNKNOWN,
            "end first" if scope.options.when_idle else "cancelled" if scope.options.kills_jobs else UNKNOWN,
        ]
        for name in ([] if queue else [CLUSTER]) + [q for q in queues if queue in (CLUSTER, q)]
        if (scope := record.scope(name))
    ]


def _clock_time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else UNKNOWN


def _who() -> str:
    """For people: who sits at this terminal."""
    try:
        name = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"
