"""`clustermgtctl diff-config`: what it takes to come from one cluster.yaml to another."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from clustermgtd.cli.command import Exit, Help, Subparsers, add_parser
from clustermgtd.model.hostlist import fold
from clustermgtd.settings import Settings, SettingsError, load
from clustermgtd.settings.config_diff import Difference, differences
from clustermgtd.settings.update_policy import Need
from clustermgtd.settings.update_rules import Verdict, verdict

EXITS: Final[Mapping[Need, int]] = {Need.LIVE: Exit.OK, Need.DRAIN: 3, Need.FLEET_STOP: 4, Need.NOT_POSSIBLE: 5}
"""Exit status by the worst change."""

_HELP = Help(
    name="diff-config",
    summary="what it takes to come from one cluster.yaml to another",
    description="""\
Compare two cluster.yaml and say of every change what it needs: nothing (live), nodes to be drained, a
fleet stop of a queue or of the cluster, or that it is not possible; why, and what to do. Queues, compute
resources, shared storage, login pools and tags are compared by name. QueueUpdateStrategy of the new file
decides what happens to nodes that run. Nothing is contacted, neither AWS nor Slurm; secrets are not shown.""",
    examples="""\
examples:
  clustermgtctl diff-config /etc/clustermgtd/cluster.yaml new.yaml
  clustermgtctl diff-config old.yaml new.yaml --output json | jq '.changes[] | select(.need != "live")'

exit status: 0 no change or all of them live, 1 a file is not accepted, 2 a wrong command line,
3 some nodes have to be drained, 4 a fleet stop is needed, 5 some change is not possible""",
)


@dataclass(frozen=True, slots=True)
class _Change:
    difference: Difference
    verdict: Verdict


def register(subparsers: Subparsers) -> None:
    parser = add_parser(subparsers, _HELP)
    parser.add_argument("old", metavar="OLD", help="the cluster.yaml that the cluster has")
    parser.add_argument("new", metavar="NEW", help="the one that it is to have")
    parser.add_argument("--output", choices=["table", "json"], default="table", help="default: %(default)s")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    try:
        old, new = load(arguments.old), load(arguments.new)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return Exit.FAILED
    changes = [_Change(difference, verdict(difference, old, new)) for difference in differences(old, new)]
    need = max((change.verdict.need for change in changes), key=lambda one: one.severity, default=Need.LIVE)
    if arguments.output == "json":
        print(json.dumps(_as_json(old, new, changes, need), indent=2))
    else:
        print("\n".join(_lines(changes, need)))
    return EXITS[need]


def _as_json(old: Settings, new: Settings, changes: Sequence[_Change], need: Need) -> dict[str, object]:
    before, after = set(old.node_names), set(new.node_names)
    return {
        "need": need,
        "nodes_added": fold(after - before),
        "nodes_removed": fold(before - after),
        "changes": [
            {
                "path": change.difference.path,
                "old": change.difference.old,
                "new": change.difference.new,
                **asdict(change.verdict),
            }
            for change in changes
        ],
    }


def _lines(changes: Sequence[_Change], need: Need) -> list[str]:
    lines: list[str] = []
    for change in changes:
        old, new = change.difference.old or "(none)", change.difference.new or "(none)"
        lines += [
            f"{change.verdict.need.upper()}  {change.difference.path}: {old} -> {new}",
            f"    {change.verdict.reason}",
            f"    to do: {change.verdict.action}",
        ]
    count = f"{len(changes)} change{'' if len(changes) == 1 else 's'}"
    return [*lines, f"{count}; in all: {need}" if changes else "no change"]
