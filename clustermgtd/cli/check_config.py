"""`clustermgtctl check-config`: everything that is wrong with a cluster.yaml."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from clustermgtd.cli.aws_facts import quota_facts
from clustermgtd.cli.command import Exit, Help, Subparsers, add_parser
from clustermgtd.cli.quotas import given_quotas, shortfalls
from clustermgtd.errors import ConfigurationError
from clustermgtd.settings import Settings, SettingsError, load
from clustermgtd.settings.resume_margin import warnings

_HELP = Help(
    name="check-config",
    summary="check a cluster.yaml",
    description="""\
Check a cluster.yaml and name every problem with its line, its path and the
nearest thing that would be accepted. Nothing is contacted, neither AWS nor Slurm, unless
--online asks for the account's vCPU quotas.""",
    examples="""\
examples:
  clustermgtctl check-config cluster.yaml
  clustermgtctl check-config cluster.yaml --output json | jq '.problems[].path'
  clustermgtctl check-config cluster.yaml --online
  clustermgtctl check-config cluster.yaml --quotas quotas.json

exit status: 0 if the file is accepted, with or without warnings, 1 if it is not, 2 for a wrong command line""",
)


def register(subparsers: Subparsers) -> None:
    parser = add_parser(subparsers, _HELP)
    parser.add_argument("file", metavar="FILE", help="the cluster.yaml")
    parser.add_argument(
        "--output",
        choices=["table", "json"],
        default="table",
        help="table: FILE:LINE:COLUMN: PATH: message, on standard error; json: one object on standard output",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--online", action="store_true", help="read the vCPU quotas, and warn if they are too small")
    source.add_argument(
        "--quotas", metavar="FILE", type=Path, help="take them from what `clustermgtctl quotas --output json` wrote"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    try:
        settings = load(arguments.file)
    except SettingsError as error:
        if arguments.output == "json":
            _print_json(arguments.file, False, {"problems": [problem.as_dict() for problem in error.problems]})
        else:
            count = len(error.problems)
            print(error, file=sys.stderr)
            print(f"{arguments.file}: {count} problem{'s' if count > 1 else ''}", file=sys.stderr)
        return Exit.FAILED
    try:
        notes = [*warnings(settings), *_quota_warnings(settings, arguments.online, arguments.quotas)]
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return Exit.FAILED
    if arguments.output == "json":
        rest: dict[str, object] = {"problems": [], "warnings": notes, "cluster": _summary(settings)}
        _print_json(arguments.file, True, rest)
    else:
        facts = ", ".join(_counted(name, count) for name, count in _summary(settings).items())
        for text in notes:
            print(f"{arguments.file}: warning: {text}", file=sys.stderr)
        print(f"{arguments.file}: accepted ({facts})")
    return Exit.OK


def _quota_warnings(settings: Settings, online: bool, given: Path | None) -> list[str]:
    """What the account may not run.

    Raises:
        ConfigurationError: the given file holds no quotas.
    """
    if not online and given is None:
        return []
    facts = quota_facts(settings, online=online)
    if given is not None:
        facts = replace(facts, quotas=given_quotas(given))
    return [*facts.unread, *shortfalls(facts)]


def _summary(settings: Settings) -> dict[str, int]:
    static = sum(len(nodes.static) for nodes in settings.nodes)
    return {
        "queues": len(settings.scheduling.slurm_queues),
        "compute_resources": len(settings.nodes),
        "static_nodes": static,
        "dynamic_nodes": len(settings.node_names) - static,
    }


def _counted(name: str, count: int) -> str:
    words = name.replace("_", " ")
    return f"{count} {words.removesuffix('s') if count == 1 else words}"


def _print_json(file: str, is_accepted: bool, rest: dict[str, object]) -> None:
    print(json.dumps({"file": file, "accepted": is_accepted, **rest}, indent=2))
