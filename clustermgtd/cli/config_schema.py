"""`clustermgtctl config-schema`: the JSON Schema of cluster.yaml."""

from __future__ import annotations

import argparse
import json

from clustermgtd.cli.command import Exit, Help, Subparsers, add_parser
from clustermgtd.settings import json_schema

_HELP = Help(
    name="config-schema",
    summary="print the JSON Schema of cluster.yaml",
    description="""\
Print the JSON Schema (draft 2020-12) of cluster.yaml, for editors. It knows keys,
types and ranges; contradictions between keys are found by check-config only.""",
    examples="""\
examples:
  clustermgtctl config-schema > cluster.schema.json
  # then, as the first line of a cluster.yaml, for the YAML language server:
  # yaml-language-server: $schema=cluster.schema.json

exit status: 0""",
)


def register(subparsers: Subparsers) -> None:
    add_parser(subparsers, _HELP).set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:  # noqa: ARG001 -- every subcommand is called alike
    print(json.dumps(json_schema(), indent=2))
    return Exit.OK
