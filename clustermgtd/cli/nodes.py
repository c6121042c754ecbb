"""`clustermgtctl nodes`: replace nodes that run on what was configured before."""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from clustermgtd.cli.aws_facts import policy_of, with_session
from clustermgtd.cli.command import Exit, Help, Subparsers, add_parser
from clustermgtd.cli.fleet import DEFAULT_CONFIG
from clustermgtd.cli.hints import wake
from clustermgtd.cli.replacement import MARK, Criteria, Progress, Step, look, select
from clustermgtd.cli.scheduler import scheduler_of
from clustermgtd.cli.table import table
from clustermgtd.errors import ClustermgtdError, ConfigurationError, TransientError
from clustermgtd.model.hostlist import expand, fold
from clustermgtd.model.ids import NodeName
from clustermgtd.model.policy import ComputeResourceKey, PlacedNode
from clustermgtd.node.from_settings import launch_specs
from clustermgtd.ports.scheduler import Scheduler
from clustermgtd.settings import Settings, SettingsError, load
from clustermgtd.settings.policy import template_keys

if TYPE_CHECKING:
    from clustermgtd.adapters.aws.dynamodb_claim_store import DynamoDbClaimStore
    from clustermgtd.adapters.aws.session import AwsSession

LEFT_ALONE = 3
INTERRUPTED = 130
_SHARE = 0.1
_POLL_S = 2.0

_HELP = Help(
    name="nodes",
    summary="replace nodes that run on what was configured before",
    description="Replace nodes that run on what was configured before.",
    examples="""\
examples:
  clustermgtctl nodes replace --queue q1 --dry-run
  clustermgtctl nodes replace --queue q1 --at-once 5

exit status: see clustermgtctl nodes replace --help""",
)
_REPLACE_HELP = Help(
    name="replace",
    summary="drain outdated nodes, a few at a time, so that they come back new",
    description="""\
Replace the nodes whose instance was launched with another image or configuration than cluster.yaml has now: their
launch template is not the one that the daemon made of it. Each is drained in Slurm; when its last job has ended
the daemon powers it down, and a static node comes up again at once, a dynamic one with the next job. No job is
ended or requeued. Nodes that somebody else drained or set DOWN are left alone. At most --at-once nodes are away
at a time, static ones until they are up again: if new nodes do not come up, the old ones stay.

Ctrl-C leaves the nodes that are drained to the daemon; the same command later goes on with the others.""",
    examples="""\
examples:
  systemctl reload clustermgtd
  clustermgtctl nodes replace --queue q1 --dry-run
  clustermgtctl nodes replace --queue q1 --at-once 5 --reason "new image"
  clustermgtctl nodes replace q1-st-c5-[1-4] --when-idle
  clustermgtctl nodes replace --all --launched-before 2026-05-01T12:00:00Z

exit status: 0 no outdated node is left, 1 it could not be done, 2 a wrong command line, 3 done except for nodes
that somebody else drained or set DOWN, 130 interrupted by Ctrl-C""",
)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What stays true during the command."""

    settings: Settings
    selected: Mapping[NodeName, PlacedNode]
    criteria: Criteria
    scheduler: Scheduler


def register(subparsers: Subparsers) -> None:
    kinds = add_parser(subparsers, _HELP).add_subparsers(title="requests", metavar="WHAT", required=True)
    parser = add_parser(kinds, _REPLACE_HELP)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("nodes", metavar="HOSTLIST", nargs="?", help="such as q1-st-c5-[1-4]")
    which.add_argument("--queue", default="", help="all nodes of this queue")
    which.add_argument("--all", action="store_true", help="all nodes of the cluster")
    parser.add_argument(
        "--at-once", metavar="N", type=_at_least_one, help="nodes that may be away at a time; default: a tenth of them"
    )
    parser.add_argument("--reason", metavar="TEXT", default="outdated", help="shown by sinfo -R; default: %(default)s")
    parser.add_argument("--when-idle", action="store_true", help="drain no node that has a job; wait until it has none")
    parser.add_argument(
        "--launched-before",
        metavar="TIME",
        type=_moment,
        default=0.0,
        help="also nodes that are as configured, if they were launched earlier: 2026-05-01T12:00:00Z",
    )
    parser.add_argument("--dry-run", action="store_true", help="show the nodes, drain none")
    parser.add_argument("--output", choices=["table", "json"], default="table", help="default: %(default)s")
    parser.add_argument("--config", metavar="PATH", type=Path, default=DEFAULT_CONFIG, help="default: %(default)s")
    parser.set_defaults(run=_replace)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of nodes, at least 1")
    return int(text)


def _moment(text: str) -> float:
    """Epoch seconds; without a time zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-05-01T12:00:00Z") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _replace(arguments: argparse.Namespace) -> int:
    try:
        settings = load(arguments.config)
        selected = _selected(settings, arguments)
        return asyncio.run(with_session(settings, lambda session: _run(session, settings, selected, arguments)))
    except KeyboardInterrupt:
        print("interrupted: drained nodes go on leaving, the same command goes on with the others", file=sys.stderr)
        return INTERRUPTED
    except (SettingsError, ClustermgtdError) as error:
        print(error, file=sys.stderr)
        return Exit.FAILED


def _selected(settings: Settings, arguments: argparse.Namespace) -> dict[NodeName, PlacedNode]:
    queues = sorted({nodes.key.queue for nodes in settings.nodes})
    if arguments.queue and arguments.queue not in queues:
        raise ConfigurationError(f"{arguments.config} has no queue {arguments.queue}: {', '.join(queues)}")
    try:
        names = expand(arguments.nodes) if arguments.nodes else None
        return select(policy_of(settings).nodes, names, arguments.queue)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    except KeyError as error:
        raise ConfigurationError(f"{arguments.config} has no node {error.args[0]}") from error


async def _run(
    session: AwsSession, settings: Settings, selected: Mapping[NodeName, PlacedNode], arguments: argparse.Namespace
) -> int:
    from clustermgtd.adapters.aws.dynamodb_claim_store import DynamoDbClaimStore as Store

    criteria = Criteria(await _templates(session, settings), arguments.launched_before, arguments.when_idle)
    facts = _Facts(settings, selected, criteria, scheduler_of(settings))
    store = Store(session, settings.clustermgtd.table_name)
    if arguments.dry_run:
        view = await facts.scheduler.view()
        _show(arguments.output, look(selected, view, await store.load(), criteria))
        return Exit.OK
    progress, begun = await _until_replaced(facts, store, arguments)
    left = progress.at(Step.LEFT_ALONE)
    replaced = sorted(begun - set(left))
    if arguments.output == "json":
        print(json.dumps({"replaced": fold(replaced), "left_alone": fold(left)}, indent=2))
    else:
        print(f"{len(replaced)} nodes replaced{f': {fold(replaced)}' if replaced else ''}")
        if left:
            print(f"left alone, because somebody else drained them or set them DOWN: {fold(left)}")
    return LEFT_ALONE if left else Exit.OK


async def _templates(session: AwsSession, settings: Settings) -> Mapping[ComputeResourceKey, frozenset[str]]:
    """Ids of the launch templates of each compute resource as it is configured.

    Raises:
        ConfigurationError: the daemon has not made them.
    """
    from clustermgtd.adapters.aws.launch_templates import existing

    found = await existing(session, settings.cluster_name, launch_specs(settings, socket.gethostname()))
    lacking = {key.compute_resource for key in template_keys(settings) if key not in found}
    missing = sorted(f"{resource.queue}/{resource.name}" for resource in lacking)
    if missing:
        raise ConfigurationError(
            f"the daemon has made no launch templates for {', '.join(missing)} as configured: `systemctl reload "
            "clustermgtd` lets it take cluster.yaml over; run this on its machine"
        )
    return {
        resource: frozenset(one.id for key, one in found.items() if key.compute_resource == resource)
        for resource in {key.compute_resource for key in found}
    }


async def _until_replaced(
    facts: _Facts, store: DynamoDbClaimStore, arguments: argparse.Namespace
) -> tuple[Progress, set[NodeName]]:
    """The last look, and every node that was outdated in one of them."""
    began, told, begun = time.monotonic(), "", set[NodeName]()
    progress = None
    at_once = arguments.at_once or max(1, int(len(facts.selected) * _SHARE))
    while True:
        try:
            launches = await store.load()
            progress = look(facts.selected, await facts.scheduler.view(), launches, facts.criteria, begun)
            begun |= {name for name, step in progress.steps.items() if step is not Step.CURRENT}
            now = progress.drain_now(at_once)
            if now:
                await facts.scheduler.drain(now, f"{MARK}: {arguments.reason}")
                await asyncio.to_thread(wake, facts.settings, now, "clustermgtctl nodes")
            line = _line(progress, begun, now)
        except TransientError as error:
            line = f"cannot look, looks again: {error}"
        if line != told:
            print(f"{time.monotonic() - began:6.0f} s  {line}", file=sys.stderr)
            told = line
        if progress is not None and progress.is_over:
            return progress, begun
        await asyncio.sleep(_POLL_S)


def _line(progress: Progress, begun: set[NodeName], now: list[NodeName]) -> str:
    counts = {step: len(progress.at(step)) for step in Step}
    done = sum(1 for name in begun if progress.steps.get(name) is Step.CURRENT)
    parts = [f"{done} of {len(begun)} replaced"]
    parts += [f"{counts[step]} {step}" for step in Step if counts[step] and step is not Step.CURRENT]
    return ", ".join(parts) + (f"; draining {fold(now)}" if now else "")


def _show(output: str, progress: Progress) -> None:
    if output == "json":
        print(json.dumps({name: progress.steps[name] for name in sorted(progress.steps)}, indent=2))
        return
    rows = [[name, progress.steps[name], "yes" if name in progress.busy else "no"] for name in sorted(progress.steps)]
    print(table(("NODE", "STEP", "BUSY"), rows))
