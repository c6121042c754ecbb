"""`clustermgtctl render`: files made from cluster.yaml."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from clustermgtd.cli import render_cloudformation, render_cookbook, render_hooks
from clustermgtd.cli.command import Exit, Help, Subparsers, add_parser
from clustermgtd.cli.output_file import write
from clustermgtd.settings import SettingsError, load
from clustermgtd.settings.slurm_conf import PROGRAM_DIR, PROGRAMS, SlurmSite, render

_HELP = Help(
    name="render",
    summary="write files made from a cluster.yaml",
    description="Write files made from a cluster.yaml.",
    examples="""\
examples:
  clustermgtctl render slurm-conf cluster.yaml
  clustermgtctl render cookbook-variables cluster.yaml --machine head
  clustermgtctl render cloudformation cluster.yaml --format yaml

exit status: 0, 1 if the file is not accepted or cannot be written, 2 for a wrong command line""",
)
_SLURM_CONF_HELP = Help(
    name="slurm-conf",
    summary="the node, partition and power-saving part of slurm.conf",
    description="""\
Write the node, partition and power-saving part of slurm.conf. Include it at the end of a
slurm.conf that says the rest: `include slurm_clustermgtd.conf`. A file is replaced whole or
not at all.""",
    examples="""\
examples:
  clustermgtctl render slurm-conf cluster.yaml
  clustermgtctl render slurm-conf cluster.yaml --output-file /etc/slurm/slurm_clustermgtd.conf
  clustermgtctl render slurm-conf cluster.yaml --program-dir /opt/clustermgtd/libexec

exit status: 0, 1 if the file is not accepted or cannot be written, 2 for a wrong command line""",
)


def register(subparsers: Subparsers) -> None:
    kinds = add_parser(subparsers, _HELP).add_subparsers(title="files", metavar="WHAT", required=True)
    render_cloudformation.register(kinds)
    render_cookbook.register(kinds)
    render_hooks.register(kinds)
    parser = add_parser(kinds, _SLURM_CONF_HELP)
    parser.add_argument("file", metavar="FILE", help="the cluster.yaml")
    parser.add_argument("--output-file", metavar="PATH", type=Path, help="default: standard output")
    parser.add_argument(
        "--program-dir",
        metavar="DIR",
        type=Path,
        default=PROGRAM_DIR,
        help=f"folder of the programs {', '.join(PROGRAMS)}; default: %(default)s",
    )
    parser.add_argument(
        "--slurm-release",
        metavar="X.Y",
        type=_release,
        default=(22, 5),
        help="release that reads the file (`slurmctld -V`): what it finds defunct is left out; default: for all",
    )
    parser.set_defaults(run=_run)


def _release(text: str) -> tuple[int, int]:
    """`24.11`, or with more behind it."""
    found = re.match(r"(\d+)\.(\d+)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a release of Slurm, such as 24.11")
    return int(found[1]), int(found[2])


def _run(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.program_dir.absolute()
    site = SlurmSite({name: folder / name for name in PROGRAMS}, release=arguments.slurm_release)
    try:
        text = render(load(arguments.file), site)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return Exit.FAILED
    return write(text, arguments.output_file)
