"""The lab's folder, its cluster.yaml, its scenario, its environments."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from clustermgtd import settings
from clustermgtd.errors import ConfigurationError, NotFoundError
from clustermgtd.lab import leftovers
from clustermgtd.lab.client import LabClient, parse_jobs
from clustermgtd.lab.cluster_files import Chosen, cluster_text, localise, scenario_for
from clustermgtd.lab.environment import process_environment, user_variables
from clustermgtd.lab.folder import LabFolder, LabPhase, LabState, default_folder


def test_the_labs_own_cluster_has_an_on_demand_and_a_spot_queue(tmp_path: Path) -> None:
    raw = localise(cluster_text(Chosen()), LabFolder(tmp_path), metrics_port=12345)
    loaded = settings.loads(yaml.safe_dump(raw))
    assert [queue.name for queue in loaded.scheduling.slurm_queues] == ["ondemand", "spot"]
    assert len(loaded.node_names) == 32
    assert loaded.clustermgtd.metrics.port == 12345
    assert loaded.clustermgtd.hooks.socket_path == str(tmp_path / "hooks.sock")


def test_a_sites_own_settings_stay_but_for_paths_and_ports(tmp_path: Path) -> None:
    text = "Region: eu-west-1\nClustermgtd:\n  PeriodSeconds: 7\n  Metrics: {Port: 9840}\n  Hooks: {SpoolDir: /x}\n"
    raw = localise(text, LabFolder(tmp_path), metrics_port=1)
    assert raw["Region"] == "eu-west-1"
    assert raw["Clustermgtd"]["PeriodSeconds"] == 7
    assert raw["Clustermgtd"]["Metrics"]["Port"] == 1
    assert raw["Clustermgtd"]["Hooks"]["SpoolDir"] == str(tmp_path / "spool")


@pytest.mark.parametrize("text", ["- a list\n", "a: [\n", ""])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cluster\.yaml"):
        localise(text, LabFolder(tmp_path), metrics_port=1)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        cluster_text(Chosen(config=tmp_path / "nowhere.yaml"))


def test_the_scenario_is_moved_to_the_clusters_region_and_gets_its_subnets() -> None:
    scenario = scenario_for(Chosen(), "eu-west-1", ["subnet-1", "subnet-2", "subnet-0000000000000000a"])
    assert scenario.region == "eu-west-1"
    zones = {name: scenario.subnets[name].zone for name in ("subnet-1", "subnet-2", "subnet-0000000000000000a")}
    assert zones == {"subnet-1": "eu-west-1a", "subnet-2": "eu-west-1b", "subnet-0000000000000000a": "eu-west-1a"}
    assert len({spec.cidr for spec in scenario.subnets.values()}) == len(scenario.subnets)


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigurationError, match="not a lab's folder"):
        LabFolder(tmp_path).make()
    assert not LabFolder(tmp_path).is_lab()


def test_a_state_survives_being_written_and_is_not_running_when_its_process_is_gone(tmp_path: Path) -> None:
    folder = LabFolder(tmp_path / "lab")
    folder.make()
    folder.make()
    assert folder.read_state() is None
    me = leftovers.identify(os.getpid())
    assert me is not None
    state = LabState(LabPhase.READY, me.pid, me.started_ticks, ("one", "two"), "http://x", ports={"aws": 1})
    folder.write_state(state)
    assert folder.read_state() == state
    assert state.is_running
    assert not LabState(LabPhase.READY, me.pid, me.started_ticks + 1).is_running


def test_without_a_lab_a_client_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="clustermgtd lab up"):
        LabClient(LabFolder(tmp_path)).environment()


def test_the_default_folder_is_per_user(tmp_path: Path) -> None:
    assert default_folder({"XDG_RUNTIME_DIR": str(tmp_path)}) == tmp_path / "clustermgtd" / "lab"
    assert default_folder({"XDG_CACHE_HOME": "/c"}) == Path("/c/clustermgtd/lab")


def test_the_labs_processes_see_no_proxy_no_credentials_and_no_other_slurm() -> None:
    source = {"HOME": "/h", "http_proxy": "p", "AWS_PROFILE": "work", "SLURM_CONF": "/etc/slurm", "LD_PRELOAD": "x"}
    environment = process_environment(source, {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    assert environment["HOME"] == "/h"
    assert not {"http_proxy", "AWS_PROFILE", "SLURM_CONF", "LD_PRELOAD"} & environment.keys()
    assert environment["AWS_SHARED_CREDENTIALS_FILE"] == "/dev/null"


def test_users_are_pointed_at_the_lab_without_its_marker() -> None:
    """A shell with the marker would be ended by `lab down`."""
    variables = user_variables(Path("/lab/slurm.conf"), "http://127.0.0.1:1", "eu-west-1", "/home/me/bin:/usr/bin")
    assert variables["SLURM_CONF"] == "/lab/slurm.conf"
    assert "/home/me/bin" in variables["PATH"].split(":")
    assert not {leftovers.LAB_MARKER, leftovers.INSTANCE_MARKER} & variables.keys()


def test_jobs_are_read_from_scontrol() -> None:
    text = (
        "JobId=3 ArrayJobId=2 ArrayTaskId=1 JobName=array JobState=RUNNING Reason=None NodeList=q-[1-2] X\n"
        "JobId=1 JobName=one node UserId=me(1) JobState=PENDING Reason=Resources NodeList=(null)\n"
        "No jobs in the system\n"
    )
    one, array = parse_jobs(text)
    assert (one.id, one.array, one.state, one.reason, one.nodes) == (1, 1, "PENDING", "Resources", "")
    assert (array.id, array.array, array.state, array.nodes) == (3, 2, "RUNNING", "q-[1-2]")
