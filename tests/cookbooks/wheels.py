"""clustermgtd and what it needs as wheels, so that machines install it without a package index."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from packaging.markers import Marker

from tests.cookbooks.commands import run
from tests.cookbooks.folders import FOLDERS

_ROOT = Path(__file__).parents[2]
_PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
_PINNED = re.compile(r"^([A-Za-z0-9._-]+==[^\s\\]+)(?: ; ([^\\]*))?", re.MULTILINE)
_DOWNLOAD_S = 900.0
_WANTED = ("clustermgtd", "ansible-core")
INSIDE = "/opt/wheels"
"""Where a machine sees them."""
PIP_ARGUMENTS = ("--no-index", "--find-links", INSIDE)


def wheels(suite: str) -> Path:
    """A folder with the working tree's wheel and those that requirements.lock pins, for the suite's Python.

    Those of ansible-core are among them, which images hold.

    Raises:
        CommandError: they cannot be had.
    """
    folder = FOLDERS / f"wheels-{suite}"
    folder.mkdir(parents=True, exist_ok=True)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    for old in folder.glob("clustermgtd-*.whl"):
        old.unlink()
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(_ROOT), timeout_s=_DOWNLOAD_S)
    constraints = FOLDERS / f"constraints-{suite}.txt"
    pins = "\n".join([f"# for {' '.join(_WANTED)}", *_pins(_PYTHONS[suite])]) + "\n"
    if not (constraints.exists() and constraints.read_text() == pins):
        downloads = FOLDERS / f"downloads-{suite}"
        shutil.rmtree(downloads, ignore_errors=True)
        new = FOLDERS / f"constraints-{suite}.new"
        new.write_text(pins)
        run(
            *(*pip, "download", "--only-binary=:all:", "--python-version", _PYTHONS[suite]),
            *("--find-links", str(folder), "-c", str(new), "-d", str(downloads), *_WANTED),
            timeout_s=_DOWNLOAD_S,
        )
        for wheel in downloads.glob("*.whl"):
            if not wheel.name.startswith("clustermgtd-"):
                shutil.move(wheel, folder / wheel.name)
        new.rename(constraints)
    return folder


def _pins(python: str) -> list[str]:
    """requirements.lock for a Python: pip itself takes the markers to be about the one that runs it."""
    lock = (_ROOT / "requirements.lock").read_text()
    there = {"python_version": python, "python_full_version": f"{python}.0"}
    return [pin for pin, marker in _PINNED.findall(lock) if not marker or Marker(marker.strip()).evaluate(there)]
