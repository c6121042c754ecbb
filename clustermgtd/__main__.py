"""`clustermgtd run`: the daemon. `clustermgtd lab`: a whole cluster on this machine, without AWS."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from clustermgtd import __version__

DEFAULT_CONFIG = Path("/etc/clustermgtd/cluster.yaml")

_EPILOG = """\
examples:
  clustermgtd run                                  serve the cluster of /etc/clustermgtd/cluster.yaml
  clustermgtd run --config my-cluster.yaml         serve another one
  clustermgtd lab demo                             see a whole cluster work on this machine, without AWS
  clustermgtd lab up                               keep such a cluster, to try things
  clustermgtctl check-config cluster.yaml         check a file first

exit codes of `run`:
  0 stopped by a signal; 75 AWS or Slurm did not answer at the start; 76 another daemon took over;
  78 the configuration or a permission has to be changed first
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["lab"]:
        try:
            from clustermgtd.lab.cli import main as lab_main
        except ModuleNotFoundError as error:
            sys.stderr.write(f"clustermgtd lab needs the extra `lab` ({error}): pip install 'clustermgtd[lab]'\n")
            return 2
        return lab_main(arguments[1:])
    parser = argparse.ArgumentParser(
        prog="clustermgtd", description=__doc__, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"clustermgtd {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    run = commands.add_parser("run", help="serve a cluster until SIGTERM; SIGHUP reads the file again")
    run.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help=f"cluster.yaml (default {DEFAULT_CONFIG})")
    commands.add_parser("lab", help="a whole cluster on this machine (see: clustermgtd lab --help)")
    options = parser.parse_args(arguments)
    from clustermgtd.run import run as run_daemon

    return run_daemon(options.config)


if __name__ == "__main__":
    sys.exit(main())
