"""`clustermgtctl render hook-programs`: the executables that slurm.conf names."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import resume_suspend
from clustermgtd.cli.command import Exit, Help, Subparsers, add_parser
from clustermgtd.settings import Settings, SettingsError, load
from clustermgtd.settings.slurm_conf import PROGRAM_DIR
from resume_suspend.programs import PROGRAMS, write_programs

_HELP = Help(
    name="hook-programs",
    summary="the programs that Slurm calls",
    description=f"""\
Write the programs {", ".join(PROGRAMS)} into a folder, as executables that
know this installation's Python and the cluster's socket and spool folder. Says `changed`, or
`unchanged` if they are there already.""",
    examples="""\
examples:
  clustermgtctl render hook-programs cluster.yaml
  clustermgtctl render hook-programs cluster.yaml --program-dir /opt/clustermgtd/libexec

exit status: 0, 1 if the file is not accepted or cannot be written, 2 for a wrong command line""",
)


def register(subparsers: Subparsers) -> None:
    """Add it to `render`."""
    parser = add_parser(subparsers, _HELP)
    parser.add_argument("file", metavar="FILE", help="the cluster.yaml")
    parser.add_argument(
        "--program-dir", metavar="DIR", type=Path, default=PROGRAM_DIR, help="folder; default: %(default)s"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.program_dir
    try:
        settings = load(arguments.file)
        before = _texts(folder)
        write_programs(folder, Path(sys.executable), Path(resume_suspend.__file__).parents[1], _environment(settings))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return Exit.FAILED
    except OSError as error:
        print(f"{folder}: cannot be written: {error.strerror}", file=sys.stderr)
        return Exit.FAILED
    print("unchanged" if _texts(folder) == before else "changed")
    return Exit.OK


def _environment(settings: Settings) -> dict[str, str]:
    hooks = settings.clustermgtd.hooks
    return {"CLUSTERMGTD_SOCKET": hooks.socket_path, "CLUSTERMGTD_SPOOL": hooks.spool_dir}


def _texts(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in PROGRAMS if (folder / name).exists()}
