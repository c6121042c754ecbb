"""A whole lab for end-to-end tests: real slurmctld, slurmd and munge, the daemon, EC2 over its wire protocol."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from clustermgtd.lab import leftovers, lifecycle
from clustermgtd.lab.client import LabClient
from clustermgtd.lab.cluster_files import Chosen
from clustermgtd.lab.environment import NOBODYS_CREDENTIALS
from clustermgtd.lab.folder import LabFolder
from clustermgtd.lab.stage import Stage


def interruptible() -> None:
    """`preexec_fn` of a command that a test interrupts: a test run in the background inherits SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


CLUSTER = Path(__file__).with_name("cluster.yaml")
"""The lab's own cluster with shorter times, so that tests wait less for nodes to go."""


@dataclass
class Lab(Stage):
    """One lab that is up, for tests."""

    _clients: dict[str, Any] = field(default_factory=dict)

    def aws(self, service: str) -> Any:
        """A boto3 client of the lab's endpoints."""
        if service not in self._clients:
            state = self.client.state()
            self._clients[service] = boto3.client(
                service,
                region_name=state.region,
                endpoint_url=state.endpoint_url,
                aws_access_key_id=NOBODYS_CREDENTIALS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=NOBODYS_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
                config=Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 1}, proxies={}),
            )
        return self._clients[service]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


@contextlib.contextmanager
def running_lab(
    config: Path = CLUSTER, scenario: Path | None = None, *, has_failed: Callable[[], bool] = lambda: False
) -> Iterator[Lab]:
    """A lab in a folder of its own, taken down at the end; its slurmctld must never have met an unknown name.

    The folder's name is short because unix sockets are in it. It stays, with its logs, if something failed: if an
    exception comes through here, or `has_failed` says so at the end.
    """
    folder = LabFolder(Path(tempfile.mkdtemp(prefix="clmgtd-e2e-")))
    try:
        lifecycle.up(folder, Chosen(config, scenario), print, is_mine=True)
        lab = Lab(folder, LabClient(folder))
        try:
            yield lab
        finally:
            lab.close()
    finally:
        lifecycle.down(folder)
    assert leftovers.belonging_to(folder.path) == []
    assert "getaddrinfo() failed" not in folder.slurmctld_log.read_text(errors="replace")
    if not has_failed():
        shutil.rmtree(folder.path)
