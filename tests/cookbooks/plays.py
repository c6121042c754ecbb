"""Ansible over machines."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.cookbooks.machines import Machine

COOKBOOKS = Path(__file__).parents[2] / "cookbooks"
_RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)
_PLAY_S = 3600.0


class PlayError(Exception):
    """A play failed; the message is its output."""


@dataclass(frozen=True, slots=True)
class Host:
    """A machine, its group in the inventory and its variables."""

    machine: Machine
    group: str
    variables: Mapping[str, object]


def play(hosts: Sequence[Host], folder: Path, playbook: Path, *options: str) -> dict[str, int]:
    """Run a playbook; its output goes to standard output and to `folder`/play.log.

    Returns:
        How many tasks changed something, by host.

    Raises:
        PlayError: a task failed, or a host could not be reached.
    """
    inventory = folder / "inventory.yml"
    inventory.write_text(yaml.safe_dump(_inventory(hosts)))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), str(playbook), *options]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"ANSIBLE_CONFIG": str(COOKBOOKS / "ansible.cfg"), "PATH": path}
    with (folder / "play.log").open("w+", errors="replace") as log:
        code = subprocess.run(
            command, cwd=COOKBOOKS, env=environment, stdout=log, stderr=log, timeout=_PLAY_S, check=False
        ).returncode
        log.seek(0)
        said = log.read()
    print(said, flush=True)
    if code != 0:
        raise PlayError(said)
    return {match[1]: int(match[2]) for match in _RECAP.finditer(said)}


def role_playbook(folder: Path, roles: Sequence[str]) -> Path:
    """A playbook that applies roles to every host."""
    playbook = folder / "roles.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "all", "become": True, "roles": list(roles)}]))
    return playbook


def _inventory(hosts: Sequence[Host]) -> dict[str, object]:
    groups: dict[str, dict[str, dict[str, object]]] = {}
    for host in hosts:
        groups.setdefault(host.group, {"hosts": {}})["hosts"][host.machine.name] = {
            "ansible_host": host.machine.address,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(host.machine.key),
            "ansible_ssh_common_args": " ".join(host.machine.ssh_options[2:]),
            **host.variables,
        }
    return {"all": {"children": groups}}
