"""A network for machines: a bridge of this machine, with a way out through it."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.cookbooks.commands import CommandError, run

_NETWORKS_MAX = 100
_METADATA_ADDRESS = "169.254.169.254"
METADATA_PORT = 8169
"""Where the metadata service of the machines listens, on the gateway's address."""


@dataclass(frozen=True, slots=True)
class Network:
    """`10.77.N.0/24`; this machine is `.1`, and there the metadata service's usual address leads to `METADATA_PORT`."""

    number: int

    @property
    def name(self) -> str:
        return f"clm{self.number}"

    @property
    def cidr(self) -> str:
        return f"10.77.{self.number}.0/24"

    @property
    def aws_port(self) -> int:
        """Of AWS, on the gateway's address and on this machine's loopback."""
        return 14_500 + self.number

    @property
    def gateway(self) -> str:
        return self.address(1)

    def address(self, host: int) -> str:
        return f"10.77.{self.number}.{host}"


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """The first network that nobody holds. What a process that was killed left of it is removed first.

    Raises:
        CommandError: this machine cannot make one.
    """
    with contextlib.ExitStack() as stack:
        mine, lock = _first_free()
        stack.enter_context(lock)
        _remove(mine)
        stack.callback(_remove, mine)
        run("ip", "link", "add", mine.name, "type", "bridge")
        run("ip", "address", "add", f"{mine.gateway}/24", "dev", mine.name)
        run("ip", "link", "set", mine.name, "up")
        # the AWS endpoints listen on the loopback address
        run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1", f"net.ipv4.conf.{mine.name}.route_localnet=1")
        metadata = f"{mine.gateway}:{METADATA_PORT}"
        rules = f"""
            table ip {mine.name} {{
                chain out {{
                    type nat hook postrouting priority 100;
                    ip saddr {mine.cidr} oifname != "{mine.name}" masquerade
                }}
                chain in {{
                    type nat hook prerouting priority -100;
                    iifname "{mine.name}" ip daddr {_METADATA_ADDRESS} tcp dport 80 dnat to {metadata}
                    iifname "{mine.name}" ip daddr {mine.gateway} tcp dport {mine.aws_port} dnat to 127.0.0.1
                }}
            }}
        """
        run("nft", "-f", "-", text=rules)
        yield mine


def _first_free() -> tuple[Network, IO[str]]:
    for number in itertools.islice(itertools.count(), _NETWORKS_MAX):
        candidate = Network(number)
        lock = Path(f"/run/clustermgtd-{candidate.name}.lock").open("w")  # noqa: SIM115 -- held as long as the network
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return candidate, lock
    raise CommandError(f"all {_NETWORKS_MAX} networks are in use")


def _remove(mine: Network) -> None:
    namespaces = [("ip", "netns", "delete", path.name) for path in Path("/run/netns").glob(f"{mine.name}-*")]
    for command in (*namespaces, ("ip", "link", "delete", mine.name), ("nft", "delete", "table", "ip", mine.name)):
        with contextlib.suppress(CommandError):  # it is not there
            run(*command)
