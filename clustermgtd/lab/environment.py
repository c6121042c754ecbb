"""Environments of a lab's processes and of its users' commands: no proxy, no real credentials, no foreign Slurm."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

_KEPT = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PYTHONPATH", "TERM", "TMPDIR", "TZ", "USER")
_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
NOBODYS_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIALABLABLABLABLAB0",
    "AWS_SECRET_ACCESS_KEY": "lab",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Enough for a signature that only the lab's endpoints accept; nothing is read from the user's files."""


def aws_variables(endpoint_url: str, region: str) -> dict[str, str]:
    """What makes every AWS client talk to the lab's endpoints, as nobody."""
    return {
        **NOBODYS_CREDENTIALS,
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def process_environment(source: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """For what the lab itself starts: a few harmless variables of `source`, a plain PATH, `extra`.

    Everything else stays outside: proxies, AWS settings, SLURM_*, SBATCH_* and whatever a site's shells set.
    """
    kept = {name: source[name] for name in _KEPT if name in source}
    return {**kept, "PATH": command_path(""), **NOBODYS_CREDENTIALS, **extra}


def user_variables(slurm_conf: Path, endpoint_url: str, region: str, path: str) -> dict[str, str]:
    """For people's commands: `lab env` prints them, `lab run` sets them."""
    return {**aws_variables(endpoint_url, region), "SLURM_CONF": str(slurm_conf), "PATH": command_path(path)}


def command_path(path: str) -> str:
    """PATH with this installation's console scripts first and the system's folders last."""
    folders = [str(Path(sys.executable).parent), *path.split(os.pathsep), *_PATH]
    return os.pathsep.join(dict.fromkeys(folder for folder in folders if folder))
