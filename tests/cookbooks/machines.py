"""Machines: a Debian folder under an overlay, booted with systemd in a container with an address of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cookbooks.commands import CommandError, run
from tests.cookbooks.network import Network

_BOOT_S = 90.0
_STOP_S = 30.0
_POLL_S = 0.2
Image = tuple[Path, ...]
"""Layers of a file system, the upper ones first."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that runs."""

    name: str
    address: str
    folder: Path
    """With `root`, its file system, and `console.log`."""
    key: Path
    process: subprocess.Popen[bytes]
    answer_s: int = 5
    """Longest wait for ssh to answer."""

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def ssh_options(self) -> tuple[str, ...]:
        return (
            *("-i", str(self.key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
            *("-o", "LogLevel=ERROR", "-o", f"ConnectTimeout={self.answer_s}", "-o", "BatchMode=yes"),
        )

    def run(self, command: str, timeout_s: float = 60.0) -> str:
        """Standard output of a shell command, as root in the machine.

        Raises:
            CommandError: it failed.
        """
        return run("ssh", *self.ssh_options, f"root@{self.address}", command, timeout_s=timeout_s)

    def wait_until(self, command: str, timeout_s: float) -> str:
        """Run a command until it succeeds.

        Raises:
            CommandError: it still fails after `timeout_s`.
        """
        give_up_at = time.monotonic() + timeout_s
        while True:
            try:
                return self.run(command)
            except CommandError:
                if self.process.poll() is not None or time.monotonic() > give_up_at:
                    raise
            time.sleep(_POLL_S)


@dataclass(frozen=True, slots=True)
class Place:
    """Where machines are made."""

    network: Network
    folder: Path

    @property
    def key(self) -> Path:
        """The private key that opens every machine."""
        key = self.folder / "key"
        if not key.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        return key

    @contextlib.contextmanager
    def machine(
        self,
        name: str,
        address: str,
        image: Image,
        binds: Mapping[Path, str] | None = None,
        *,
        wait: bool = True,
        layer: Path | None = None,
    ) -> Iterator[Machine]:
        """A machine booted from an image, which stays as it is; gone when the block ends.

        Args:
            name: its host name.
            address: of the network.
            image: the Debian to boot.
            binds: folders of this machine, and where they appear in it.
            wait: until ssh answers.
            layer: where that what it wrote is kept after its end, as a layer for other images.

        Raises:
            CommandError: it does not boot.
        """
        with contextlib.ExitStack() as stack:
            folder = self.folder / name
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            if layer is not None:
                stack.callback((folder / "upper").rename, layer)
            stack.enter_context(overlay(folder, image))
            self.prepare(folder / "root", name)
            namespace = stack.enter_context(self._namespace(name, address))
            process = stack.enter_context(_boot(folder, f"{self.network.name}-{name}", namespace, binds or {}))
            machine = Machine(name, address, folder, self.key, process)
            if wait:
                machine.wait_until(
                    "systemctl is-system-running --wait || systemctl is-system-running | grep degraded", _BOOT_S
                )
            yield machine

    def prepare(self, root: Path, name: str) -> None:
        """Into a machine's file system: its name, resolver and key."""
        (root / "etc/hostname").write_text(f"{name}\n")
        (root / "etc/machine-id").write_text("")
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        # nobody needs these files after a power failure
        (root / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")
        # an image has none; on EC2 cloud-init makes them
        run("ssh-keygen", "-A", "-f", str(root))
        ssh = root / "root/.ssh"
        ssh.mkdir(mode=0o700, parents=True, exist_ok=True)
        (ssh / "authorized_keys").write_text(self.key.with_suffix(".pub").read_text())

    @contextlib.contextmanager
    def _namespace(self, name: str, address: str) -> Iterator[Path]:
        namespace = f"{self.network.name}-{name}"
        outside = f"{self.network.name}v{address.rpartition('.')[2]}"
        run("ip", "netns", "add", namespace)
        try:
            run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", namespace)
            run("ip", "link", "set", outside, "master", self.network.name, "up")
            inside = ("ip", "-n", namespace)
            run(*inside, "address", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                run(*inside, "link", "set", device, "up")
            run(*inside, "route", "add", "default", "via", self.network.gateway)
            yield Path("/run/netns") / namespace
        finally:
            run("ip", "netns", "delete", namespace)


@contextlib.contextmanager
def overlay(folder: Path, image: Image) -> Iterator[None]:
    """An image at `folder`/root; what is written goes to `folder`/upper."""
    for part in ("upper", "work", "root"):
        (folder / part).mkdir(parents=True)
    options = f"lowerdir={':'.join(map(str, image))},upperdir={folder / 'upper'},workdir={folder / 'work'}"
    run("mount", "-t", "overlay", "overlay", "-o", options, str(folder / "root"))
    try:
        yield
    finally:
        run("umount", "--lazy", str(folder / "root"))


@contextlib.contextmanager
def _boot(folder: Path, name: str, namespace: Path, binds: Mapping[Path, str]) -> Iterator[subprocess.Popen[bytes]]:
    """systemd-nspawn without a machine manager, so that the machine outside needs no systemd."""
    command = [
        *(
            "systemd-nspawn",
            "--quiet",
            "--boot",
            "--register=no",
            "--keep-unit",
            "--console=pipe",
            "--kill-signal=SIGRTMIN+4",
        ),
        *(f"--directory={folder / 'root'}", f"--machine={name}", f"--network-namespace-path={namespace}"),
        "--resolv-conf=off",
        # nfs-ganesha opens what it exports by handle
        "--system-call-filter=name_to_handle_at open_by_handle_at",
        *(f"--bind={outside}:{inside}" for outside, inside in binds.items()),
    ]
    # a systemd without support for version 1 of control groups boots too
    environment = os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
    with (folder / "console.log").open("wb") as console:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
