"""The cookbooks: linted, and the variables that `clustermgtctl render cookbook-variables` writes are the roles'."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from clustermgtd.settings import load
from clustermgtd.settings.cookbook import Machine, MachineKind, variables
from tests.architecture.source_tree import ROOT

COOKBOOKS = ROOT / "cookbooks"
ROLES = sorted(path for path in (COOKBOOKS / "roles").iterdir() if path.is_dir())
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.yaml"))


def run(*command: str) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=COOKBOOKS, capture_output=True, text=True, env=os.environ | {"PATH": path}, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_yamllint() -> None:
    run("yamllint", "--strict", ".")


def test_ansible_lint() -> None:
    run("ansible-lint", "--offline", "--strict", "--profile", "production")


def test_the_site_is_a_play() -> None:
    run("ansible-playbook", "--syntax-check", "-i", "head,compute,login,", "site.yml")


def declared(role: Path) -> dict[str, object]:
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())
    return dict(specs["argument_specs"]["main"]["options"])


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_are_what_the_argument_specs_say(role: Path) -> None:
    specs = declared(role)
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text()) or {}
    assert defaults == {name: spec["default"] for name, spec in specs.items() if "default" in spec}  # type: ignore[index,operator]
    for name, spec in specs.items():
        assert name.startswith(f"{role.name}_")
        assert spec["description"], name  # type: ignore[index]


def machines(path: Path) -> list[Machine]:
    settings = load(path)
    pools = () if settings.login_nodes is None else settings.login_nodes.pools
    return [
        Machine(settings, MachineKind.HEAD),
        *(Machine(settings, MachineKind.COMPUTE, queue.name) for queue in settings.scheduling.slurm_queues),
        *(Machine(settings, MachineKind.LOGIN, pool.name) for pool in pools),
    ]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_what_is_rendered_is_declared_by_a_role_and_is_yaml(example: Path) -> None:
    known = {name for role in ROLES for name in declared(role)}
    for machine in machines(example):
        rendered = variables(machine)
        assert set(rendered) <= known
        assert yaml.safe_load(yaml.safe_dump(rendered)) == rendered
