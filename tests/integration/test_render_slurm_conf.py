"""What `render` writes is what a real slurmctld then says it has."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clustermgtd import settings
from clustermgtd.lab.slurm import SlurmControl
from clustermgtd.lab.slurm_files import PortReservation, slurm_release
from clustermgtd.settings.slurm_conf import PROGRAMS, SlurmSite, render

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        not Path("/usr/sbin/slurmctld").exists() and shutil.which("slurmctld") is None, reason="no slurmctld here"
    ),
]

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
NEVER_AND_OWN_TIMES = """
Clustermgtd:
  ScaledownIdletimeSeconds: -1
  ResumeTimeoutSeconds: 65533
  SuspendTimeoutSeconds: 61
  Queues:
    spot:
      ScaledownIdletimeSeconds: 7
      ResumeTimeoutSeconds: 77
      SuspendTimeoutSeconds: 17
"""


class Answers:
    """What slurmctld said, and its log."""

    def __init__(self, nodes: str, partitions: str, config: str, log: str) -> None:
        self._nodes = nodes
        self._partitions = partitions
        self._config = config
        self.log = log

    def node(self, name: str) -> dict[str, str]:
        return _fields(next(line for line in self._nodes.splitlines() if line.startswith(f"NodeName={name} ")))

    @property
    def node_count(self) -> int:
        return len(self._nodes.splitlines())

    def partition(self, name: str) -> dict[str, str]:
        lines = self._partitions.splitlines()
        return _fields(next(line for line in lines if line.startswith(f"PartitionName={name} ")))

    def config(self, key: str) -> str:
        match = re.search(rf"^{key}(?:\[0\])?\s*= (.*)$", self._config, re.MULTILINE)
        assert match, f"{key} is not in scontrol show config"
        return match[1].strip()


def _fields(line: str) -> dict[str, str]:
    return dict(re.findall(r"(\S+?)=(\S*)", line))


async def _ask(node_part: str, folder: Path, ports: PortReservation) -> Answers:
    control = SlurmControl(folder, ports=ports.slurm)
    control.write_conf(node_part)
    await control.start()
    try:
        return Answers(
            await control.run("scontrol", "-o", "show", "nodes"),
            await control.run("scontrol", "-o", "show", "partitions"),
            await control.run("scontrol", "show", "config"),
            control.paths.controller_log.read_text(),
        )
    finally:
        await control.stop()


def _answers_about(cluster: settings.Settings) -> Answers:
    with (
        tempfile.TemporaryDirectory(prefix="render-") as text,
        PortReservation.take(len(cluster.node_names) + 1) as ports,
    ):
        folder = Path(text)
        programs = {name: folder / name for name in PROGRAMS}
        for program in programs.values():
            program.write_text("#!/bin/sh\nexit 0\n")
            program.chmod(0o755)
        release = slurm_release()
        site = SlurmSite(programs, node_address="127.0.0.1", node_port_base=ports.slurm.first_node, release=release)
        return asyncio.run(_ask(render(cluster, site), folder, ports))


def _on_loopback() -> str:
    """The example, with the site's own nodes where nothing outside this machine is asked for."""
    text = (EXAMPLES / "parallelcluster.yaml").read_text()
    assert "10.20.0.[1-4]" in text
    return text.replace("10.20.0.[1-4]", "127.0.0.[11-14]")


@pytest.fixture(scope="module")
def example() -> Iterator[tuple[settings.Settings, Answers]]:
    cluster = settings.loads(_on_loopback())
    yield cluster, _answers_about(cluster)


def test_slurmctld_takes_every_line_without_complaint(example: tuple[settings.Settings, Answers]) -> None:
    _, answers = example
    complaints = [line for line in answers.log.splitlines() if re.search(r"error|fatal|unrecognized|ignor", line)]
    # at the first start there is no saved state, no slurmdbd, and Debian's PMIx plugin lacks its library
    unexpected = [line for line in complaints if not re.search(r"state|[Nn]o .*file|accounting|pmix", line)]
    assert unexpected == []


def test_every_node_exists_and_waits_in_the_cloud(example: tuple[settings.Settings, Answers]) -> None:
    cluster, answers = example
    assert answers.node_count == len(cluster.node_names) + 4, "ours, and the site's four own"
    for name in cluster.node_names:
        assert "CLOUD" in answers.node(name)["State"]


def test_nodes_have_the_cpus_memory_gpus_and_weight_of_their_compute_resource(
    example: tuple[settings.Settings, Answers],
) -> None:
    _, answers = example
    small = answers.node("general-st-c6i-small-2")
    assert (small["CPUTot"], small["CoresPerSocket"], small["ThreadsPerCore"]) == ("2", "1", "2")
    assert (small["RealMemory"], small["Weight"]) == ("3891", "1")
    assert small["AvailableFeatures"] == "static,c6i.large,c6i-small"
    large = answers.node("general-dy-c6i-large-20")
    assert (large["CPUTot"], large["CoresPerSocket"], large["ThreadsPerCore"]) == ("16", "16", "1")
    assert large["Weight"] == "2000"
    assert answers.node("spot-dy-flexible-200")["RealMemory"] == "14000"
    gpu = answers.node("gpu-dy-p4d-4")
    assert gpu["Gres"].startswith("gpu:a100:8")
    assert gpu["MemSpecLimit"] == "8192"


def test_nodes_on_one_machine_have_one_address_and_a_port_each(example: tuple[settings.Settings, Answers]) -> None:
    cluster, answers = example
    nodes = [answers.node(name) for name in cluster.node_names]
    assert {node["NodeAddr"] for node in nodes} == {"127.0.0.1"}
    assert len({node["Port"] for node in nodes[1:]}) == len(nodes) - 1


def test_partitions_have_their_nodes_and_the_sites_own_settings(example: tuple[settings.Settings, Answers]) -> None:
    _, answers = example
    general = answers.partition("general")
    assert (general["Default"], general["TotalNodes"]) == ("YES", "70")
    assert (general["MaxTime"], general["PriorityTier"]) == ("2-00:00:00", "10")
    gpu = answers.partition("gpu")
    assert gpu.get("Exclusive") == "NODE" or gpu["OverSubscribe"] == "EXCLUSIVE", "releases print it differently"
    assert answers.partition("onprem")["TotalNodes"] == "4"


def test_power_saving_and_scheduling_arrive(example: tuple[settings.Settings, Answers]) -> None:
    _, answers = example
    assert answers.config("SuspendTime") == "300 sec"
    assert answers.config("ResumeTimeout") == "1200 sec"
    assert answers.config("SuspendTimeout") == "120 sec"
    assert answers.config("ResumeRate").startswith("0 ")
    assert answers.config("SuspendExcNodes") == "general-st-c6i-small-[1-2]"
    assert ("cloud_reg_addrs" in answers.config("SlurmctldParameters")) == (slurm_release() < (23, 11))
    assert answers.config("SchedulerParameters").endswith("sched_min_interval=1000000,bf_max_job_test=2000")
    assert answers.config("PrologSlurmctld").endswith("/start_gate")
    assert answers.config("SelectTypeParameters") == "CR_CPU_MEMORY"
    assert answers.config("MaxJobCount") == "50000"


def test_power_saving_stays_on_when_nodes_never_idle_out_and_queues_have_times_of_their_own() -> None:
    answers = _answers_about(settings.loads(_on_loopback() + NEVER_AND_OWN_TIMES))
    assert answers.config("SuspendTime") == "315360000 sec"
    assert "power_save mode not enabled" not in answers.log
    assert answers.partition("general")["ResumeTimeout"] == "65533"
    spot = answers.partition("spot")
    assert (spot["SuspendTime"], spot["ResumeTimeout"], spot["SuspendTimeout"]) == ("7", "77", "17")
