"""Images: what `make-image` installs is all that a machine needs to boot without a package mirror and be configured.

Run by `make test-cookbooks`, in namespaces of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.cookbooks.cloud import Cloud
from tests.cookbooks.commands import run
from tests.cookbooks.folders import FOLDERS, SUITES, base_folder
from tests.cookbooks.machines import Machine, Place
from tests.cookbooks.plays import COOKBOOKS
from tests.cookbooks.wheels import INSIDE, PIP_ARGUMENTS, wheels

HERE = Path(__file__).parent
CLUSTER = HERE / "cluster.yaml"
QUEUE_URL = "https://sqs.us-east-1.amazonaws.com/123456789012/clustermgtd-events"
"""In cluster.yaml; replaced by the endpoints' own."""
SLURM_RELEASES = {"bookworm": "22.05", "trixie": "24.11"}
GROUPS = {"head": "", "compute": "q1", "login": "login"}
NOT_IN_THIS_KERNEL = {"run-rpc_pipefs.mount"}
MAKE_S = 3600.0
CONFIGURE_S = 1800.0
PACKAGES = "dpkg-query --show; /opt/clustermgtd/bin/pip --disable-pip-version-check freeze"
CONFIGURE = """
cd /opt/clustermgtd/cookbooks
printf '[{kind}]\\nlocalhost ansible_connection=local\\n' > /etc/clustermgtd/inventory
exec 2>&1
time -p /opt/clustermgtd/bin/ansible-playbook -i /etc/clustermgtd/inventory --limit {kind} --tags configure \\
    -e @/etc/clustermgtd/variables.yml -e @/etc/clustermgtd/more.yml site.yml
"""

SECRET = """#!/bin/sh
for last; do :; done
cp /stand-in/key "$last"
chmod 400 "$last"
"""
"""Stands in for `clustermgtctl secret`, which needs AWS."""

pytestmark = pytest.mark.timeout(5400)


@pytest.mark.parametrize("suite", SUITES)
def test_images_boot_and_are_configured_without_a_package_mirror(suite: str, place: Place) -> None:
    measured: dict[str, dict[str, float]] = {}
    addresses = {kind: place.network.address(number) for number, kind in enumerate(GROUPS, 2)}
    key = os.urandom(64)
    cloud = Cloud(place, {})
    with cloud.running(), contextlib.ExitStack() as machines:
        for kind, address in addresses.items():
            bundle = make_bundle(kind, place.folder, of_the_image(suite, kind))
            image = make_image(suite, kind, "install", bundle, place)
            machine = machines.enter_context(place.machine(f"{kind}-1", address, image))
            cut_off(place, machine)
            measured[kind] = {"boot of the image": boot_s(machine)}
            say(machine.run("systemd-analyze blame --no-pager | head -n 5"))
            describe(machine, cloud, bundle, of_the_cluster(suite, kind, addresses["head"], cloud), key)
            installed = machine.run(PACKAGES)
            measured[kind] |= configure(machine, kind, "configure")
            measured[kind] |= configure(machine, kind, "configure again")
            assert machine.run(PACKAGES) == installed
            failed = machine.run("systemctl --failed --plain --no-legend | cut -d ' ' -f 1").split()
            assert set(failed) <= NOT_IN_THIS_KERNEL
            if kind == "login":
                assert machine.run("sinfo --noheader --format=%P").strip() == "q1*"
    text = json.dumps(measured, indent=2)
    (FOLDERS / f"images-{suite}.json").write_text(text)
    say(text)


@pytest.mark.parametrize("suite", SUITES)
def test_an_image_of_a_cluster_needs_no_play_at_boot_and_no_key(suite: str, place: Place) -> None:
    key = os.urandom(64)
    variables = of_the_image(suite, "compute") | {
        "common_hosts": {"head-1": place.network.address(2)},
        "shared_storage_head_address": "head-1",
        "shared_storage_stand_in_dir": "/stand-in",
        "munge_key_secret_arn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:munge-Ab1Cd2",
        "munge_clustermgtctl": "/stand-in/clustermgtctl",
    }
    bundle = make_bundle("compute", place.folder, variables)
    layer, base = make_image(suite, "compute", "install,configure", bundle, place)
    stand_in = layer / "stand-in"
    stand_in.mkdir(exist_ok=True)
    (stand_in / "key").write_bytes(key)
    (stand_in / "clustermgtctl").write_text(SECRET)
    (stand_in / "clustermgtctl").chmod(0o755)
    with place.machine("compute-1", place.network.address(9), (layer, base)) as machine:
        machine.wait_until("systemctl is-active munge.service", 60)
        assert (machine.root / "etc/munge/munge.key").read_bytes() == key
        assert "Success" in machine.run("munge --no-input | unmunge")
        text = json.dumps({"boot of the image": boot_s(machine)})
        (FOLDERS / f"image-of-a-cluster-{suite}.json").write_text(text)
        say(text)


def make_image(suite: str, kind: str, steps: str, bundle: Path, place: Place) -> tuple[Path, Path]:
    """What was written on top of a Debian, and that Debian."""
    base = base_folder(suite)
    layer = place.folder / f"{kind}-image"
    pip = " ".join(PIP_ARGUMENTS)
    with place.machine("image-1", place.network.address(8), (base,), {wheels(suite): INSIDE}, layer=layer) as builder:
        unpack(bundle, builder.root)
        script = "/var/tmp/clustermgtd-image/cookbooks/image/make-image"
        say(builder.run(f"sh {script} {kind} {steps} {SLURM_RELEASES[suite]} {pip}", MAKE_S))
        builder.run("rm -rf /var/tmp/clustermgtd-image")
        scripts = "/opt/clustermgtd/cookbooks/image"
        builder.run(f"sh {scripts}/clean-image && sh {scripts}/check-image {kind}")
        assert not secrets_in(builder.root)
    return (layer, base)


def configure(machine: Machine, kind: str, what: str) -> dict[str, float]:
    """What the user data of a head or login node does, as `render cloudformation` writes it, with what stands in here.

    Returns:
        Seconds that it took, and those of a processor.
    """
    said = machine.run(CONFIGURE.format(kind=kind), CONFIGURE_S)
    say(said)
    if what == "configure again":
        assert "changed=0 " in said
    times = dict(re.findall(r"^(real|user|sys) ([\d.]+)$", said, re.MULTILINE))
    return {what: float(times["real"]), f"{what}, of a processor": float(times["user"]) + float(times["sys"])}


def say(text: str) -> None:
    print(text, flush=True)


def of_the_image(suite: str, kind: str) -> dict[str, object]:
    """Variables of the roles that an image is made with: of machines that share their kernel with this one."""
    kernel = yaml.safe_load((HERE / "variables.yml").read_text())[suite]
    return dict(kernel | ({"shared_storage_nfs_server": "ganesha"} if kind == "head" else {}))


def of_the_cluster(suite: str, kind: str, head: str, cloud: Cloud) -> dict[str, object]:
    """Those that a machine is told when it boots."""
    variables = {"common_environment": cloud.environment, "common_hosts": {"head-1": head}, "munge_makes_key": False}
    if kind == "head":
        variables |= {"monitoring_ec2_endpoint": cloud.environment["AWS_ENDPOINT_URL"]}
    else:
        variables |= {
            "slurm_controllers": [f"head-1({head})"],
            "shared_storage_head_address": "head-1",
            "shared_storage_stand_in_dir": "/stand-in",
        }
    return of_the_image(suite, kind) | variables


def make_bundle(kind: str, folder: Path, variables: Mapping[str, object]) -> Path:
    more = folder / "more.yml"
    more.write_text(yaml.safe_dump(dict(variables)))
    environment = os.environ | {"CLUSTER": str(CLUSTER), "PYTHON": sys.executable}
    subprocess.run(
        ["tools/image-bundle", kind, GROUPS[kind], str(more)], cwd=COOKBOOKS.parent, env=environment, check=True
    )
    name = "-".join(filter(None, (kind, GROUPS[kind])))
    return COOKBOOKS.parent / "build" / "image" / f"{name}.tar.gz"


def describe(machine: Machine, cloud: Cloud, bundle: Path, variables: Mapping[str, object], key: bytes) -> None:
    """What user data fetches: cluster.yaml, and the variables of this kind of machine."""
    folder = machine.root / "etc/clustermgtd"
    folder.mkdir(exist_ok=True)
    (folder / "cluster.yaml").write_text(CLUSTER.read_text().replace(QUEUE_URL, cloud.queue_url))
    (folder / "more.yml").write_text(yaml.safe_dump(dict(variables)))
    (folder / "munge.key").write_bytes(key)
    run("tar", "-xzf", str(bundle), "-C", str(folder), "./variables.yml")


def unpack(bundle: Path, root: Path) -> None:
    folder = "var/tmp/clustermgtd-image"
    (root / folder).mkdir(parents=True)
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
