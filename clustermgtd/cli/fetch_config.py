"""`clustermgtctl fetch-config`: cluster.yaml as the stack completed it."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from clustermgtd.cli.command import Exit, Help, Subparsers, add_parser
from clustermgtd.cli.output_file import write
from clustermgtd.cli.secret import SecretError, read
from clustermgtd.settings.cloudformation.configuration import unpacked

RETRY_S = 10.0

_HELP = Help(
    name="fetch-config",
    summary="write cluster.yaml as the CloudFormation stack completed it",
    description="""\
Read the parameter of SSM in which a stack made by `render cloudformation` keeps cluster.yaml, and
write the file with the ids of what was made: subnets, security groups, queue, file systems.""",
    examples="""\
examples:
  clustermgtctl fetch-config arn:aws:ssm:eu-central-1:123456789012:parameter/clustermgtd/physics/configuration \\
      --output-file /etc/clustermgtd/cluster.yaml

exit status: 0, 1 if it cannot be read or written, 2 for a wrong command line""",
)


def register(subparsers: Subparsers) -> None:
    parser = add_parser(subparsers, _HELP)
    parser.add_argument("arn", metavar="ARN", help="of the parameter (the stack's output ConfigurationArn)")
    parser.add_argument("--output-file", metavar="PATH", type=Path, help="default: standard output")
    parser.add_argument(
        "--wait-seconds", metavar="N", type=float, default=0.0, help="how long to try again; default: %(default)g"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    deadline = time.monotonic() + arguments.wait_seconds
    while True:
        try:
            return write(unpacked(read(arguments.arn).decode()), arguments.output_file)
        except (SecretError, ValueError) as error:
            if time.monotonic() + RETRY_S > deadline:
                print(f"{arguments.arn}: {error}", file=sys.stderr)
                return Exit.FAILED
        time.sleep(RETRY_S)
