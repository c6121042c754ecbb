"""Which way slurmctld is reached, as cluster.yaml says and as it is told."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from clustermgtd.adapters.slurm.backend import Backend
from clustermgtd.adapters.slurm.used_backend import UsedBackend
from clustermgtd.adapters.system.loop_clock import LoopClock
from clustermgtd.errors import ConfigurationError
from clustermgtd.model.ids import NodeName, QueueName
from clustermgtd.model.slurm_backend import SlurmBackend
from clustermgtd.settings.slurm_access import BackendChoice, SlurmAccess
from clustermgtd.telemetry.metrics import Metrics
from tests.pyslurm_fixtures import FAKE_PYSLURM
from tests.slurm_fixtures import until

WORLD = {"pyslurm": "24.11.0", "release": "24.11.5", "nodes": [], "jobs": [], "partitions": {"by-pyslurm": "UP"}}
CAPABLE = (
    "#!/bin/sh\ncase $* in *config) echo 'AccountingStorageType = (null)'; echo 'SLURM_VERSION = 24.11.5';;\n"
    "update*) echo 'slurm_update error: Invalid node name specified' >&2; exit 1;;\n"
    "*) echo 'PartitionName=q1 State=UP SuspendTime=60';; esac\n"
)
"""A scontrol of a Slurm that knows InstanceId."""


class Site:
    """A head node: Slurm's programs, and a Python with the fake pyslurm."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.program("scontrol", "#!/bin/sh\necho PartitionName=by-command-line State=UP\n")
        run = f"FAKE_PYSLURM_WORLD={folder}/world.json PYTHONPATH={FAKE_PYSLURM} exec {sys.executable}"
        self.program("python", f'#!/bin/sh\n{run} "$@"\n')
        self.world()

    def program(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)

    def world(self, **facts: Any) -> None:
        (self.folder / "world.json").write_text(json.dumps({**WORLD, **facts}))

    def backend(self, choice: BackendChoice) -> Backend:
        python = str(self.folder / "python")
        slurm = SlurmAccess(BinDir=str(self.folder), Backend=choice, PyslurmPython=python)  # type: ignore[call-arg]
        return Backend(slurm, LoopClock(), self.metrics.slurm)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"clustermgtd_{name}", labels)

    async def ended(self, why: str, count: int) -> None:
        """So many brokers were counted."""

        async def is_so() -> bool:
            return (self.value("slurm_broker_ends_total", why=why) or 0) >= count

        await until(is_so, f"{count} ended with {why}")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def play(backend: Backend, story: Callable[[], Awaitable[None]]) -> list[dict[str, Any]]:
    """What was logged about the backend."""

    async def run() -> None:
        keeping = asyncio.create_task(backend.run())
        try:
            await story()
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    with structlog.testing.capture_logs() as logged:
        asyncio.run(run())
    return [dict(line) for line in logged if line["event"] == "slurm_backend"]


async def asked_by(backend: Backend, wanted: str) -> None:
    async def is_asked() -> bool:
        return QueueName(wanted) in await backend.scheduler.partitions()

    await until(is_asked, f"asked {wanted}")


def test_auto_asks_pyslurm_where_it_fits_and_says_so_once(site: Site) -> None:
    backend = site.backend(BackendChoice.AUTO)
    (line,) = play(backend, lambda: asked_by(backend, "by-pyslurm"))
    assert (line["backend"], line["pyslurm"], line["slurm"]) == ("pyslurm", "24.11.0", "24.11.5")
    assert site.value("slurm_backend", backend="pyslurm") == 1
    assert site.value("slurm_backend", backend="command-line") == 0


def test_auto_asks_pyslurm_although_slurm_has_instance_ids_and_pyslurm_does_not_tell_them(site: Site) -> None:
    row = ["n1", "IDLE+CLOUD", ["q1"], "10.0.0.1", "n1", ""]
    site.world(nodes=[row])
    site.program("scontrol", CAPABLE)
    backend = site.backend(BackendChoice.AUTO)

    async def story() -> None:
        await asked_by(backend, "by-pyslurm")
        node = (await backend.scheduler.some_nodes([NodeName("n1")]))[NodeName("n1")]
        assert (node.address, node.instance_id) == ("10.0.0.1", "")

    with structlog.testing.capture_logs() as logged:
        asyncio.run(backend.tell_capabilities())
    assert [line["has_instance_ids"] for line in logged] == [True]
    play(backend, story)
    assert backend.used == UsedBackend(SlurmBackend.PYSLURM, "pyslurm 24.11.0 fits Slurm 24.11.5")


def test_auto_asks_the_command_line_where_there_is_no_pyslurm(site: Site) -> None:
    site.world(missing="No module named 'pyslurm'")
    backend = site.backend(BackendChoice.AUTO)

    async def story() -> None:
        await backend.check()
        await asked_by(backend, "by-command-line")
        await site.ended("not-importable", 1)

    (line,) = play(backend, story)
    assert (line["backend"], line["log_level"]) == ("command-line", "info")
    assert "No module named" in line["error"]
    assert site.value("slurm_backend", backend="command-line") == 1


def test_the_same_trouble_is_told_once_however_often_it_is_tried(site: Site) -> None:
    site.world(pyslurm="25.11.2")
    backend = site.backend(BackendChoice.AUTO)

    async def story() -> None:
        await site.ended("other-release", 2)

    (line,) = play(backend, story)
    assert (line["log_level"], line["why"]) == ("warning", "other-release")
    assert "pyslurm 25.11.2 is not for Slurm 24.11.5" in line["error"]


def test_command_line_starts_no_broker(site: Site) -> None:
    site.program("python", f"#!/bin/sh\ntouch {site.folder}/started\n")
    backend = site.backend(BackendChoice.COMMAND_LINE)
    (line,) = play(backend, lambda: asked_by(backend, "by-command-line"))
    assert line["backend"] == "command-line"
    assert not (site.folder / "started").exists()


@pytest.mark.parametrize(
    ("facts", "said"), [({"missing": "No module named 'pyslurm'"}, "No module"), ({"pyslurm": "22.5.3"}, "22.5.3")]
)
def test_pyslurm_that_is_demanded_and_not_there_is_a_configuration_error(
    site: Site, facts: dict[str, str], said: str
) -> None:
    site.world(**facts)
    backend = site.backend(BackendChoice.PYSLURM)
    with pytest.raises(ConfigurationError, match=rf"Clustermgtd.Slurm.Backend: pyslurm: .*{said}.*docs/how-to"):
        play(backend, backend.check)


def test_pyslurm_that_is_demanded_may_wait_for_slurmctld(site: Site) -> None:
    site.world(trouble={"config.get": ["error", 1800, "Unable to contact slurm controller (connect failure)"]})
    backend = site.backend(BackendChoice.PYSLURM)

    async def story() -> None:
        await backend.check()
        assert QueueName("by-command-line") in await backend.scheduler.partitions()
        site.world()
        await asked_by(backend, "by-pyslurm")

    assert [line["backend"] for line in play(backend, story)] == ["command-line", "pyslurm"]


def test_what_slurm_can_do_is_logged_or_that_it_did_not_say(site: Site) -> None:
    backend = site.backend(BackendChoice.COMMAND_LINE)
    with structlog.testing.capture_logs() as logged:
        asyncio.run(backend.tell_capabilities())
        site.program("scontrol", CAPABLE)
        asyncio.run(backend.tell_capabilities())
    unknown, known = logged
    assert (unknown["event"], known["event"]) == ("slurm_capabilities_unknown", "slurm_capabilities")
    assert "SLURM_VERSION" in unknown["error"]
    assert (known["release"], known["has_instance_ids"], known["has_accounting"]) == ("24.11.5", True, False)
