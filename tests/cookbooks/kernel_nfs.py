"""The role shared_storage with the kernel's NFS server and client, real disks and arrays, on virtual machines.

Run by `make test-kernel-nfs`, in namespaces of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest

from clustermgtd.settings import loads
from clustermgtd.settings.cookbook import Machine as Description
from clustermgtd.settings.cookbook import MachineKind, variables
from tests.cookbooks.commands import CommandError, run
from tests.cookbooks.folders import SUITES
from tests.cookbooks.machines import Image, Machine, Place
from tests.cookbooks.plays import Host, play, role_playbook
from tests.cookbooks.virtual import Disk, kernel_image, make_root, power_off, reboot, virtual_machine

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MISSING = [
    name
    for name in ("qemu-system-x86_64", "mke2fs")
    if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None
]
FILE_SYSTEM = {"bookworm": "ext4", "trixie": "xfs"}
"""What new volumes get."""
INSTALL = ("--tags", "install")
CONFIGURE = ("--tags", "configure")
USER = 2001
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
SHARED_STORAGE = """
SharedStorage:
  - {Name: data, StorageType: Ebs, MountDir: /data}
  - {Name: stripes, StorageType: Ebs, MountDir: /stripes, EbsSettings: {Raid: {Type: 0, NumberOfVolumes: 2}}}
  - {Name: mirror, StorageType: Ebs, MountDir: /mirror, EbsSettings: {Raid: {Type: 1, NumberOfVolumes: 2}}}
"""
VOLUMES = {"data": ["vol-0d1"], "stripes": ["vol-0a1", "vol-0a2"], "mirror": ["vol-0b1", "vol-0b2"]}
MOUNTED = ("/data", "/home", "/mirror", "/stripes")
"""On a compute node."""
REPORT = (
    "PYTHONPATH=/opt/agent python3 -c 'from clustermgtd.node.shared_storage import mounted_at; print(mounted_at())'"
)
"""What the node agent asks before it starts slurmd."""
AT_AGENTS_START = """
[Unit]
ConditionPathExists=
[Service]
Type=oneshot
EnvironmentFile=
ExecStart=
ExecStart=/bin/sh -c 'findmnt --types nfs4 --noheadings --list --output TARGET > /run/at-agents-start; true'
"""

pytestmark = [
    pytest.mark.timeout(7200),
    pytest.mark.skipif(bool(MISSING), reason=f"programs are missing: {', '.join(MISSING)}"),
    pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="there is no /dev/net/tun"),
]


def storage_variables(kind: MachineKind, group: str = "") -> dict[str, object]:
    """Of the role alone, from cluster.yaml."""
    settings = loads((HERE / "cluster.yaml").read_text() + SHARED_STORAGE)
    described = variables(Description(settings, kind, group))
    return {name: value for name, value in described.items() if name.startswith("shared_storage_")}


def head_host(machine: Machine, suite: str) -> Host:
    here = {
        "shared_storage_resources": {name: {"volume_ids": ids} for name, ids in VOLUMES.items()},
        "shared_storage_file_system_type": FILE_SYSTEM[suite],
    }
    return Host(machine, "head", storage_variables(MachineKind.HEAD) | here)


def node_host(machine: Machine, place: Place) -> Host:
    here = {"shared_storage_head_address": place.network.address(2)}
    return Host(machine, "compute", storage_variables(MachineKind.COMPUTE, "q1") | here)


def installed_image(place: Place, suite: str) -> Image:
    """Made in a container, which is faster: a kernel, and what the role installs on a head node."""
    kernel = kernel_image(place, suite)
    layer = place.folder / "installed"
    with place.machine("image", place.network.address(9), kernel, layer=layer) as machine:
        machine.run("apt-get update", 600)
        play([head_host(machine, suite)], place.folder, role_playbook(place.folder, ["shared_storage"]), *INSTALL)
    return (layer, *kernel)


def new_disks(place: Place) -> list[Disk]:
    serials = [volume.replace("-", "") for volumes in VOLUMES.values() for volume in volumes]
    return [Disk.new(place.folder, serial, 512) for serial in serials]


def apply_twice(host: Host, place: Place) -> None:
    playbook = role_playbook(place.folder, ["shared_storage"])
    began = time.monotonic()
    play([host], place.folder, playbook, *CONFIGURE)
    print(f"{host.machine.name}: the play took {time.monotonic() - began:.0f} s", flush=True)
    assert play([host], place.folder, playbook, *CONFIGURE) == {host.machine.name: 0}


@pytest.mark.parametrize("suite", SUITES)
def test_a_kernel_serves_what_another_mounts(suite: str, place: Place) -> None:
    image = installed_image(place, suite)
    disks = new_disks(place)
    names = {"head-1": place.network.address(2), "node-1": place.network.address(3)}
    for name, address in names.items():
        make_root(place, name, address, image)
    with virtual_machine(place, "head-1", names["head-1"], disks) as head:
        head.run(f"useradd --uid {USER} --create-home alice")
        apply_twice(head_host(head, suite), place)
        served = head.run("cat /proc/fs/nfsd/versions; rpcinfo -p; exportfs -v; cat /proc/fs/nfsd/threads")
        print(served)
        for folder in MOUNTED:
            assert f"{folder} " in served
        assert "+4.2" in served
        assert json.loads(head.run("findmnt --json /data"))["filesystems"][0]["fstype"] == FILE_SYSTEM[suite]
        assert "raid0" in head.run("cat /proc/mdstat")
        assert "raid1" in head.run("cat /proc/mdstat")
        with virtual_machine(place, "node-1", names["node-1"]) as node:
            node.run(f"useradd --uid {USER} --no-create-home alice")
            apply_twice(node_host(node, place), place)
            check_mounts(head, node)
            check_boot(node)
            power_off(head)
            check_missing_server(node)
            with virtual_machine(place, "head-1", names["head-1"], disks) as again:
                again.run("systemctl is-active clustermgtd-storage.target")
                print(f"back after {waited(node, REPORT):.0f} s")
                assert again.run("cat /stripes/node /mirror/node") == "from the node\n" * 2
                assert node.run("cat /stripes/node /mirror/node") == "from the node\n" * 2


def check_mounts(head: Machine, node: Machine) -> None:
    """What one side writes the other reads, a boot mounts all before slurmd's place in it, and an end unmounts all."""
    options = node.run("findmnt --types nfs4 --noheadings --list --output TARGET,FSTYPE,OPTIONS")
    print(options)
    assert {line.split()[0] for line in options.splitlines()} == set(MOUNTED)
    for line in options.splitlines():
        given = line.split()[2].split(",")
        assert {"rw", "noatime", "vers=4.2", "hard", "timeo=600", "retrans=2", "proto=tcp"} <= set(given), line
    for folder in ("/data", "/home/alice", "/stripes", "/mirror"):
        node.run(f"runuser -u alice -- sh -c 'echo from the node > {folder}/node'")
        head.run(f"runuser -u alice -- sh -c 'echo from the head > {folder}/head'")
        assert head.run(f"stat --format '%u %U' {folder}/node; cat {folder}/node") == f"{USER} alice\nfrom the node\n"
        assert node.run(f"stat --format '%u %U' {folder}/head; cat {folder}/head") == f"{USER} alice\nfrom the head\n"
    before = node.run("systemctl show --property=Before clustermgtd-storage.target")
    assert {"slurmd.service", "clustermgtd-node.service"} <= set(before.strip().removeprefix("Before=").split())


def check_boot(node: Machine) -> None:
    """A boot unmounts all, and mounts all again before the agent's place in it, from which slurmd is started."""
    unit, dropins = "/etc/systemd/system/clustermgtd-node.service", "/etc/systemd/system/clustermgtd-node.service.d"
    node.run(f"cat > {unit} <<'END'\n{(ROOT / 'systemd/clustermgtd-node.service').read_text()}\nEND")
    node.run(f"mkdir {dropins}; cat > {dropins}/test.conf <<'END'\n{AT_AGENTS_START}\nEND")
    node.run("systemctl daemon-reload; systemctl enable clustermgtd-node.service")
    send_agent(node)
    print(f"the node booted in {reboot(node):.0f} s; " + node.run("systemd-analyze").strip())
    console = COLOURS.sub("", (node.folder / "console.log").read_text(errors="replace"))
    assert "Failed unmounting" not in console
    for folder in MOUNTED:
        assert f"Unmounted {folder[1:]}.mount" in console
    assert sorted(node.run("cat /run/at-agents-start").split()) == sorted(MOUNTED)
    assert float(node.run(REPORT)) > 0


def check_missing_server(node: Machine) -> None:
    """A boot without a server ends in time, and the agent can say which storage is missing and why."""
    print(f"the node booted without the head node in {reboot(node):.0f} s; " + node.run("systemd-analyze").strip())
    with pytest.raises(CommandError) as missing:
        node.run(REPORT)
    print(missing.value)
    for name, folder in (("data", "/data"), ("stripes", "/stripes"), ("mirror", "/mirror")):
        assert f"Shared storage {name} (Ebs at {folder}): mount" in str(missing.value)
    assert node.run("cat /run/at-agents-start") == ""


def send_agent(node: Machine) -> None:
    """The agent's module, without what a whole installation has."""
    node.run("mkdir --parents /opt/agent/clustermgtd/node")
    for file in ("errors.py", "node/shared_storage.py"):
        source, target = ROOT / "clustermgtd" / file, f"root@{node.address}:/opt/agent/clustermgtd/{file}"
        run("scp", *node.ssh_options, str(source), target)


def waited(node: Machine, command: str) -> float:
    """Seconds until it succeeded."""
    began = time.monotonic()
    node.wait_until(command, 300)
    return time.monotonic() - began
