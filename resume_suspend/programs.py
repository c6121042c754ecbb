"""The executables that slurm.conf names: small shell scripts with interpreter, package and environment written in.

Slurm wants absolute paths to executables that nobody else may write, and starts them with a minimal environment.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

PROGRAMS = {
    "resume": "ResumeProgram",
    "suspend": "SuspendProgram",
    "resume_fail": "ResumeFailProgram",
    "start_gate": "PrologSlurmctld",
}
"""Script (and module) name, and the slurm.conf parameter it is for."""

_SCRIPT = """\
#!/bin/sh
# {parameter} of slurm.conf, for clustermgtd. Written by resume_suspend.programs: changes are lost.
{exports}exec {python} -I -S -c {start} "$@"
"""
_START = (
    "import sys; sys.path.append({root!r}); "
    "from resume_suspend.hook import run; from resume_suspend.{name} import main; run(main)"
)


def write_programs(
    directory: Path, python: Path, package_root: Path, environment: Mapping[str, str]
) -> dict[str, Path]:
    """Write the scripts into `directory` (made if missing) and return their absolute paths by name.

    `package_root` is the folder that holds the `resume_suspend` package; `python` any interpreter from 3.11 on. Both
    are made absolute, links are kept. `environment` (`CLUSTERMGTD_SOCKET`, `CLUSTERMGTD_SPOOL`, ...) wins over what
    Slurm sets. Scripts that are in use are replaced, not rewritten.

    Raises:
        ValueError: a name in `environment` is not one a shell can set.
        OSError: the folder cannot be written.
    """
    for name in environment:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name!r} cannot be the name of an environment variable")
    directory = Path(os.path.abspath(directory))  # noqa: PTH100 -- `resolve` would follow links
    directory.mkdir(parents=True, exist_ok=True)
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(environment.items()))
    written = {}
    for name, parameter in PROGRAMS.items():
        start = _START.format(root=os.path.abspath(package_root), name=name)  # noqa: PTH100 -- as above
        script = _SCRIPT.format(
            parameter=parameter,
            exports=exports,
            python=shlex.quote(os.path.abspath(python)),  # noqa: PTH100 -- a virtual environment's python is a link
            start=shlex.quote(start),
        )
        written[name] = _replace(directory / name, script)
    return written


def _replace(path: Path, script: str) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(script, encoding="utf-8")
    temporary.chmod(0o755)
    temporary.replace(path)
    return path
