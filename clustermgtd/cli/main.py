"""The `clustermgtctl` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from clustermgtd import __version__
from clustermgtd.cli import (
    check_config,
    config_schema,
    diff_config,
    fetch_config,
    fleet,
    nodes,
    prices,
    quotas,
    render,
    secret,
    slurm,
    warm,
)
from clustermgtd.cli.command import Exit

_SUBCOMMANDS = (
    check_config,
    config_schema,
    diff_config,
    fetch_config,
    fleet,
    nodes,
    prices,
    quotas,
    render,
    secret,
    slurm,
    warm,
)
_EPILOG = """\
examples:
  clustermgtctl check-config cluster.yaml
  clustermgtctl render slurm-conf cluster.yaml --output-file /etc/slurm/slurm_clustermgtd.conf
  clustermgtctl diff-config /etc/clustermgtd/cluster.yaml new.yaml
  clustermgtctl config-schema > cluster.schema.json
  clustermgtctl fleet stop --queue q1 --when-idle
  clustermgtctl nodes replace --queue q1 --at-once 5
  clustermgtctl quotas cluster.yaml
  clustermgtctl prices cluster.yaml --offline
  clustermgtctl slurm cluster.yaml
  clustermgtctl warm cluster.yaml

exit status: 0 success, 1 failure (said on standard error), 2 a wrong command line;
diff-config and nodes have more of them
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns its exit status. Usage errors and `--help` end in SystemExit, as argparse does."""
    arguments = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        status = run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader (`head`) has seen enough; Python's own flush at exit must not complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    return int(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clustermgtctl",
        description="Look after an elastic Slurm cluster that is run by clustermgtd.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    subparsers = parser.add_subparsers(title="subcommands", metavar="COMMAND", required=True)
    for subcommand in _SUBCOMMANDS:
        subcommand.register(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
