"""Virtual machines: a Debian with a kernel and disks of its own, for what containers cannot do."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cookbooks.commands import CommandError, run
from tests.cookbooks.folders import FOLDERS, base_folder
from tests.cookbooks.machines import Image, Machine, Place, overlay

_INSTALL_S = 1800.0
_BOOT_S = 900.0
_STOP_S = 300.0
_ANSWER_S = 60
_MEMORY_MIB = 1024
_ROOT_SIZE = "4G"
_NETWORK = """
[Match]
Name=e*

[Network]
Address={address}/24
Gateway={gateway}
"""
_LINKS = """
# EC2's disks tell their kind in the name of the model, which is fixed here.
SUBSYSTEM!="block", GOTO="end"
ENV{ID_SERIAL_SHORT}=="vol*", ENV{kind}="Amazon_Elastic_Block_Store"
ENV{ID_SERIAL_SHORT}=="AWS*", ENV{kind}="Amazon_EC2_NVMe_Instance_Storage"
ENV{kind}=="", GOTO="end"
ENV{DEVTYPE}=="disk", SYMLINK+="disk/by-id/nvme-$env{kind}_$env{ID_SERIAL_SHORT}"
ENV{DEVTYPE}=="partition", SYMLINK+="disk/by-id/nvme-$env{kind}_$env{ID_SERIAL_SHORT}-part%n"
LABEL="end"
"""


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk of NVMe, as EC2 attaches them."""

    serial: str
    """`vol0123456789abcdef0` for volume `vol-0123456789abcdef0`, `AWS...` for one of the instance store."""
    file: Path

    @classmethod
    def new(cls, folder: Path, serial: str, size_mib: int) -> Disk:
        """A disk of zeros."""
        disk = cls(serial, folder / f"{serial}.raw")
        with disk.file.open("wb") as file:
            file.truncate(size_mib << 20)
        return disk


def accelerator() -> str:
    """`kvm` where the processor has it, `tcg` (emulation) elsewhere, also under a /dev/kvm without such a processor."""
    flags = set(Path("/proc/cpuinfo").read_text().split())
    return "kvm" if flags & {"vmx", "svm"} and os.access("/dev/kvm", os.R_OK | os.W_OK) else "tcg"


def kernel_image(place: Place, suite: str) -> Image:
    """The suite's base folder under a layer with Debian's kernel for clouds. Made if it is not there: minutes.

    Raises:
        CommandError: it cannot be made.
    """
    layer, stamp = FOLDERS / f"{suite}-kernel", FOLDERS / f"{suite}-kernel.made"
    image = (base_folder(suite),)
    with (FOLDERS / f"{suite}-kernel.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists():
            shutil.rmtree(layer, ignore_errors=True)
            with place.machine("kernel", place.network.address(9), image, layer=layer) as machine:
                install = "apt-get install --yes --no-install-recommends linux-image-cloud-amd64 initramfs-tools udev"
                machine.run(f"apt-get update && DEBIAN_FRONTEND=noninteractive {install}", _INSTALL_S)
            stamp.touch()
    return (layer, *image)


def make_root(place: Place, name: str, address: str, image: Image) -> None:
    """The root disk of a machine, with its kernel beside it, in the place's folder.

    Raises:
        CommandError: there is no room for it.
    """
    folder = place.folder / name
    with overlay(folder, image):
        root = folder / "root"
        place.prepare(root, name)
        network = _NETWORK.format(address=address, gateway=place.network.gateway)
        (root / "etc/systemd/network/ethernet.network").write_text(network)
        (root / "etc/udev/rules.d/70-ec2-disks.rules").write_text(_LINKS)
        run("systemctl", f"--root={root}", "enable", "systemd-networkd.service")
        for file in ("vmlinuz", "initrd.img"):
            shutil.copy(max((root / "boot").glob(f"{file}-*")), folder / file)
        run("mke2fs", "-q", "-t", "ext4", "-d", str(root), str(folder / "root.raw"), _ROOT_SIZE, timeout_s=_BOOT_S)


@contextlib.contextmanager
def virtual_machine(place: Place, name: str, address: str, disks: Sequence[Disk] = ()) -> Iterator[Machine]:
    """A machine switched on, by its root disk; switched off when the block ends. It may be switched on again.

    Raises:
        CommandError: it does not boot.
    """
    folder = place.folder / name
    tap = f"{place.network.name}t{address.rpartition('.')[2]}"
    command = [
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"),
        *("-accel", accelerator(), "-smp", "1", "-m", str(_MEMORY_MIB)),
        *("-chardev", f"file,id=console,path={folder / 'console.log'},append=on", "-serial", "chardev:console"),
        *("-kernel", str(folder / "vmlinuz"), "-initrd", str(folder / "initrd.img")),
        *("-append", "root=/dev/vda rw console=ttyS0 loglevel=4 mitigations=off net.ifnames=0 panic=5"),
        *("-netdev", f"tap,id=net,ifname={tap},script=no,downscript=no"),
        *("-device", f"virtio-net-pci,netdev=net,romfile=,mac=52:54:00:00:00:{int(address.rpartition('.')[2]):02x}"),
        *("-device", "virtio-rng-pci"),
        *("-drive", f"file={folder / 'root.raw'},format=raw,if=virtio,cache=unsafe,discard=unmap"),
    ]
    for number, disk in enumerate(disks):
        command += ["-drive", f"file={disk.file},format=raw,if=none,id=disk{number},cache=unsafe"]
        command += ["-device", f"nvme,serial={disk.serial},drive=disk{number}"]
    run("ip", "tuntap", "add", "dev", tap, "mode", "tap")
    try:
        run("ip", "link", "set", tap, "master", place.network.name, "up")
        with (folder / "qemu.log").open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            machine = Machine(name, address, folder, place.key, process, _ANSWER_S)
            wait_for_boot(machine)
            yield machine
        finally:
            if process.poll() is None:
                with contextlib.suppress(CommandError, subprocess.TimeoutExpired):
                    power_off(machine)
            process.kill()
            process.wait()
    finally:
        run("ip", "link", "delete", tap)


def wait_for_boot(machine: Machine) -> None:
    """Until systemd has started what it could.

    Raises:
        CommandError: not in time.
    """
    machine.wait_until(
        "systemctl is-system-running | grep --quiet -e running -e degraded || { sleep 1; false; }", _BOOT_S
    )


def reboot(machine: Machine) -> float:
    """Shut a machine down and boot it again: seconds until systemd has started what it could.

    Raises:
        CommandError: it does not come back.
    """
    began = time.monotonic()
    boot = machine.run("cat /proc/sys/kernel/random/boot_id").strip()
    machine.run("systemctl reboot --no-block")
    machine.wait_until(f"! grep --quiet {boot} /proc/sys/kernel/random/boot_id", _STOP_S + _BOOT_S)
    wait_for_boot(machine)
    return time.monotonic() - began


def power_off(machine: Machine) -> None:
    """Shut a machine down, in order.

    Raises:
        CommandError: it does not answer.
        subprocess.TimeoutExpired: it goes on running.
    """
    machine.run("systemctl poweroff --no-block")
    machine.process.wait(_STOP_S)
