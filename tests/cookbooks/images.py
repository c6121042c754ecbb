"""Images: what `make-image` installs is all that a machine needs to boot without a package mirror and be configured.

Run by `make test-cookbooks`, in namespaces of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.cookbooks.commands import run
from tests.cookbooks.folders import FOLDERS, SUITES, base_folder
from tests.cookbooks.machines import Machine, Place
from tests.cookbooks.plays import COOKBOOKS
from tests.cookbooks.wheels import INSIDE, PIP_ARGUMENTS, wheels

HERE = Path(__file__).parent
SLURM_RELEASES = {"bookworm": "22.05", "trixie": "24.11"}
GROUPS = {"head": "", "compute": "q1", "login": "login"}
NOT_IN_THIS_KERNEL = {"run-rpc_pipefs.mount"}
MAKE_S = 3600.0
CONFIGURE_S = 1800.0
PACKAGES = "dpkg-query --show; /opt/clustermgtd/bin/pip --disable-pip-version-check freeze"
CONFIGURE = """
cd /opt/clustermgtd/cookbooks
printf '[{kind}]\\nlocalhost ansible_connection=local\\n' > /etc/clustermgtd/inventory
/opt/clustermgtd/bin/ansible-playbook -i /etc/clustermgtd/inventory --limit {kind} --tags configure \\
    -e @/etc/clustermgtd/variables.yml -e @/etc/clustermgtd/made.yml site.yml
"""
"""What the user data of a head or login node does, as `render cloudformation` writes it."""

pytestmark = pytest.mark.timeout(5400)


@pytest.mark.parametrize("kind", GROUPS)
@pytest.mark.parametrize("suite", SUITES)
def test_an_image_boots_and_is_configured_without_a_package_mirror(suite: str, kind: str, place: Place) -> None:
    base = (base_folder(suite),)
    layer = place.folder / "image"
    address = place.network.address(2)
    bundle = make_bundle(kind, place.folder, machine_variables(suite, kind, address))
    measured: dict[str, float] = {}
    with place.machine("image-1", address, base, {wheels(suite): INSIDE}, layer=layer) as builder:
        unpack(bundle, builder.root)
        script = "/var/tmp/clustermgtd-image/cookbooks/image/make-image"
        begun = time.monotonic()
        print(builder.run(f"sh {script} {kind} install {SLURM_RELEASES[suite]} {' '.join(PIP_ARGUMENTS)}", MAKE_S))
        measured["install"] = time.monotonic() - begun
        builder.run("rm -rf /var/tmp/clustermgtd-image")
        scripts = "/opt/clustermgtd/cookbooks/image"
        builder.run(f"sh {scripts}/clean-image && sh {scripts}/check-image {kind}")
        assert not secrets_in(builder.root)
    with place.machine(f"{kind}-1", address, (layer, *base)) as machine:
        cut_off(place, machine)
        measured["boot of the image"] = boot_s(machine)
        unpack(bundle, machine.root, "etc/clustermgtd")
        (machine.root / "etc/clustermgtd/munge.key").write_bytes(os.urandom(64))
        machine.run("mv /etc/clustermgtd/more.yml /etc/clustermgtd/made.yml")
        installed = machine.run(PACKAGES)
        begun = time.monotonic()
        print(machine.run(CONFIGURE.format(kind=kind), CONFIGURE_S))
        measured["configure"] = time.monotonic() - begun
        begun = time.monotonic()
        assert "changed=0" in machine.run(CONFIGURE.format(kind=kind), CONFIGURE_S)
        measured["configure again"] = time.monotonic() - begun
        assert machine.run(PACKAGES) == installed
        failed = machine.run("systemctl --failed --plain --no-legend | cut -d ' ' -f 1").split()
        assert set(failed) <= NOT_IN_THIS_KERNEL
    text = json.dumps({key: round(value, 1) for key, value in measured.items()}, indent=2)
    (FOLDERS / f"image-{kind}-{suite}.json").write_text(text)
    print(text)


def machine_variables(suite: str, kind: str, address: str) -> dict[str, object]:
    """Of machines that share their kernel with this one, and have no AWS."""
    kernel = yaml.safe_load((HERE / "variables.yml").read_text())[suite]
    head = {"common_hosts": {"head-1": address}}
    if kind == "head":
        return kernel | head | {"shared_storage_nfs_server": "ganesha", "munge_makes_key": False}
    return (
        kernel
        | head
        | {
            "slurm_controllers": [f"head-1({address})"],
            "shared_storage_head_address": "head-1",
            "shared_storage_stand_in_dir": "/stand-in",
        }
    )


def make_bundle(kind: str, folder: Path, variables: Mapping[str, object]) -> Path:
    more = folder / "more.yml"
    more.write_text(yaml.safe_dump(dict(variables)))
    environment = os.environ | {"CLUSTER": str(HERE / "cluster.yaml"), "PYTHON": sys.executable}
    subprocess.run(
        ["tools/image-bundle", kind, GROUPS[kind], str(more)], cwd=COOKBOOKS.parent, env=environment, check=True
    )
    name = "-".join(filter(None, (kind, GROUPS[kind])))
    return COOKBOOKS.parent / "build" / "image" / f"{name}.tar.gz"


def unpack(bundle: Path, root: Path, folder: str = "var/tmp/clustermgtd-image") -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    run("tar", "-xzf", str(bundle), "-C", str(root / folder))


def secrets_in(root: Path) -> list[Path]:
    """What an image must not hold."""
    wanted = ("etc/munge/munge.key", "etc/ssh/ssh_host_*", "root/.ssh/authorized_keys", "var/lib/apt/lists/*Packages*")
    found = [path for pattern in wanted for path in root.glob(pattern)]
    return found + [path for path in [root / "etc/machine-id"] if path.read_text()]


def cut_off(place: Place, machine: Machine) -> None:
    """From all but this machine: there is no package mirror and no package index any more."""
    run("ip", "-n", f"{place.network.name}-{machine.name}", "route", "delete", "default")


def boot_s(machine: Machine) -> float:
    """From systemd's start until it has reached its target, seconds."""
    said = machine.run("systemctl show --property=UserspaceTimestampMonotonic,FinishTimestampMonotonic")
    times = dict(line.split("=") for line in said.splitlines())
    return (int(times["FinishTimestampMonotonic"]) - int(times["UserspaceTimestampMonotonic"])) / 1e6
