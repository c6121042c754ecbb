"""What subcommands that show facts about a cluster.yaml have in common: arguments, loading, exit status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

from clustermgtd.cli.command import Exit, Help, Subparsers, add_parser
from clustermgtd.settings import Settings, SettingsError, load


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for."""

    settings: Settings
    online: bool
    """AWS or Slurm may be asked."""
    as_json: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What is printed."""

    text: str
    unread: tuple[str, ...]
    """Sentences about what could not be read; if there are any the subcommand has failed."""


def register(subparsers: Subparsers, text: Help, offline: str, answer: Callable[[Question], Answer]) -> None:
    """A subcommand with `FILE`, `--offline` (`offline` is its help; none if empty) and `--output`."""
    parser = add_parser(subparsers, text)
    parser.add_argument("file", metavar="FILE", help="the cluster.yaml")
    if offline:
        parser.add_argument("--offline", action="store_true", help=offline)
    parser.set_defaults(offline=False)
    parser.add_argument("--output", choices=["table", "json"], default="table", help="default: %(default)s")

    def run(arguments: argparse.Namespace) -> int:
        try:
            settings = load(arguments.file)
        except SettingsError as error:
            print(error, file=sys.stderr)
            return Exit.FAILED
        given = answer(Question(settings, online=not arguments.offline, as_json=arguments.output == "json"))
        print(given.text)
        for sentence in given.unread:
            print(sentence, file=sys.stderr)
        return Exit.FAILED if given.unread else Exit.OK

    parser.set_defaults(run=run)
