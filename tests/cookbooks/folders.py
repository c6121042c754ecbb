"""Debian folders that machines boot from, made once."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from tests.cookbooks.commands import CommandError, run

FOLDERS = Path(os.environ.get("COOKBOOK_FOLDERS") or Path(__file__).parents[2] / "build" / "cookbooks").resolve()
SUITES = ("bookworm", "trixie")
_PACKAGES = "systemd-sysv,dbus,openssh-server,python3,python3-apt,iproute2,ca-certificates,procps"
_DEBOOTSTRAP_S = 1800.0


def base_folder(suite: str) -> Path:
    """A Debian with systemd, ssh and Python, and nothing of a cluster. Made if it is not there, which takes minutes.

    Raises:
        CommandError: it cannot be made.
    """
    folder = FOLDERS / suite
    FOLDERS.mkdir(parents=True, exist_ok=True)
    with (FOLDERS / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = FOLDERS / f"{suite}.made"
        if not stamp.exists():
            shutil.rmtree(folder, ignore_errors=True)
            run(
                "debootstrap",
                "--variant=minbase",
                f"--include={_PACKAGES}",
                suite,
                str(folder),
                _mirror(),
                timeout_s=_DEBOOTSTRAP_S,
            )
            stamp.touch()
    return folder


def _mirror() -> str:
    found = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Identifier: Packages", "Label: Debian")
    if not found:
        raise CommandError("this machine's apt knows no Debian mirror: run apt-get update")
    return found.splitlines()[0]
