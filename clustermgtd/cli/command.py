"""What a subcommand is."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


class Exit(IntEnum):
    """Exit codes of every subcommand."""

    OK = 0
    FAILED = 1
    """What was asked for was done and the answer is no, or it could not be done."""
    USAGE = 2
    """The command line is wrong."""


class Subparsers(Protocol):
    """The part of argparse's private class that subcommands use."""

    def add_parser(
        self,
        name: str,
        *,
        help: str,
        description: str,
        epilog: str,
        formatter_class: type[argparse.HelpFormatter],
    ) -> argparse.ArgumentParser: ...


@dataclass(frozen=True, slots=True)
class Help:
    """A subcommand's help texts."""

    name: str
    summary: str
    """One line for the list of subcommands."""
    description: str
    examples: str


def add_parser(subparsers: Subparsers, text: Help) -> argparse.ArgumentParser:
    """A parser whose `--help` shows examples and exit codes as they are written."""
    return subparsers.add_parser(
        text.name,
        help=text.summary,
        description=text.description,
        epilog=text.examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
