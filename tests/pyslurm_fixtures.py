"""Brokers for tests: over the real pyslurm where this Python has one, and over the fake one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from clustermgtd.adapters.slurm.broker_client import BrokerClient
from clustermgtd.adapters.slurm.broker_process import BrokerError, Hello, Launch
from clustermgtd.adapters.system.loop_clock import LoopClock

FAKE_PYSLURM = Path(__file__).parent / "fakes" / "pyslurm_package"
SKIPPED = (
    "no pyslurm here: the adapter over the real one was not tested; docs/how-to/pyslurm.md tells how to "
    "install it, `make test-pyslurm` runs this half"
)


PYTHON = os.environ.get("PYSLURM_PYTHON", sys.executable)
"""The Python that may have the real one."""


@cache
def has_pyslurm() -> bool:
    """The real one, found without importing it: libslurm may end the process."""
    asked = "import importlib.util, sys; sys.exit(importlib.util.find_spec('pyslurm') is None)"
    return subprocess.run([PYTHON, "-c", asked], check=False, timeout=60).returncode == 0


def real_launch(conf_file: Path, *, deadline_s: float = 20.0) -> Launch:
    """The broker with the real pyslurm."""
    return Launch(environment(conf_file), deadline_s, PYTHON)


@dataclass
class Heard:
    """A `BrokerObserver` that keeps what it was told."""

    served: list[tuple[Hello, str]] = field(default_factory=list)
    ended: list[tuple[BrokerError, float]] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)

    def broker_serves(self, hello: Hello, slurm: str) -> None:
        self.served.append((hello, slurm))

    def broker_ended(self, error: BrokerError, pause_s: float) -> None:
        self.ended.append((error, pause_s))

    def broker_lacks(self, operation: str, detail: str) -> None:
        self.lacking.append(operation)


def environment(conf_file: Path, **more: str) -> dict[str, str]:
    """A broker's, with the given slurm.conf."""
    return {**os.environ, "SLURM_CONF": str(conf_file), **more}


@asynccontextmanager
async def kept_broker(launch: Launch) -> AsyncIterator[tuple[BrokerClient, Heard]]:
    """A client whose broker is kept going; returns when the first one serves, or cannot."""
    heard = Heard()
    client = BrokerClient(launch, LoopClock(), heard)
    keeping = asyncio.create_task(client.run())
    try:
        async with asyncio.timeout(30):
            await client.tried.wait()
        yield client, heard
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


def fake_launch(world: Path, *, deadline_s: float = 10.0) -> Launch:
    """The broker with the fake pyslurm, which does what the file `world` says."""
    found = environment(world, FAKE_PYSLURM_WORLD=str(world), PYTHONPATH=str(FAKE_PYSLURM))
    return Launch(found, deadline_s)
