"""`clustermgtctl render cloudformation`: a template that makes the cluster in AWS."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import yaml

from clustermgtd.cli.command import Exit, Help, Subparsers, add_parser
from clustermgtd.cli.output_file import write
from clustermgtd.settings import SettingsError, load
from clustermgtd.settings.cloudformation import template

_HELP = Help(
    name="cloudformation",
    summary="a CloudFormation template that makes the cluster in AWS",
    description="""\
Write a CloudFormation template that makes in AWS what cluster.yaml describes: network, security
groups, roles, head node, login nodes, file systems, the claim table, queue and rules for what AWS
announces. What cluster.yaml names by an id is used, not made.""",
    examples="""\
examples:
  clustermgtctl render cloudformation cluster.yaml --output-file cluster.template.json
  clustermgtctl render cloudformation cluster.yaml --format yaml

exit status: 0, 1 if the file is not accepted or cannot be written, 2 for a wrong command line""",
)


def register(subparsers: Subparsers) -> None:
    """Add it to `render`."""
    parser = add_parser(subparsers, _HELP)
    parser.add_argument("file", metavar="FILE", type=Path, help="the cluster.yaml")
    parser.add_argument("--format", choices=["json", "yaml"], default="json", help="default: %(default)s")
    parser.add_argument("--output-file", metavar="PATH", type=Path, help="default: standard output")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    try:
        made = template(load(arguments.file), arguments.file.read_text(encoding="utf-8-sig"))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return Exit.FAILED
    if arguments.format == "json":
        text = json.dumps(made, indent=1) + "\n"
    else:
        text = yaml.dump(made, Dumper=_Plain, sort_keys=False, width=120)
    return write(text, arguments.output_file)


class _Plain(yaml.SafeDumper):
    """No anchors: a template is read by people, and CloudFormation takes few of YAML's ways."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's name
        return True
