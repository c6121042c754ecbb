"""`clustermgtctl render cookbook-variables`: what the cookbooks' roles have to know of a cluster.yaml."""

from __future__ import annotations

import argparse
import sys

import yaml

from clustermgtd.cli.command import Exit, Help, Subparsers, add_parser
from clustermgtd.settings import SettingsError, load
from clustermgtd.settings.cookbook import Machine, MachineKind, UnknownGroupError, variables

_HELP = Help(
    name="cookbook-variables",
    summary="the variables of the cookbooks' roles for one kind of machine",
    description="""\
Write the variables with which the cookbooks make one kind of machine, as YAML. Give them to
ansible-playbook with `-e @FILE`, or put them into group_vars.""",
    examples="""\
examples:
  clustermgtctl render cookbook-variables cluster.yaml --machine head
  clustermgtctl render cookbook-variables cluster.yaml --machine compute --group queue1
  clustermgtctl render cookbook-variables cluster.yaml --machine login --group pool1 > group_vars/login.yml

exit status: 0, 1 if the file is not accepted or has no such group, 2 for a wrong command line""",
)


def register(subparsers: Subparsers) -> None:
    """Add it to `render`."""
    parser = add_parser(subparsers, _HELP)
    parser.add_argument("file", metavar="FILE", help="the cluster.yaml")
    parser.add_argument(
        "--machine", choices=[kind.value for kind in MachineKind], required=True, help="whose variables"
    )
    parser.add_argument(
        "--group", metavar="NAME", default="", help="the queue of compute nodes, the pool of login nodes"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    try:
        machine = Machine(load(arguments.file), MachineKind(arguments.machine), arguments.group)
    except (SettingsError, UnknownGroupError) as error:
        print(error, file=sys.stderr)
        return Exit.FAILED
    print(yaml.safe_dump(variables(machine), sort_keys=False), end="")
    return Exit.OK
