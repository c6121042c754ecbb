"""What the agent is told, by command line, environment and user data."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustermgtd.node.arguments import AgentArguments, as_environment, parse
from clustermgtd.node.from_settings import agent_arguments, launch_specs, stored_variables
from clustermgtd.node.user_data import ENVIRONMENT_FILE, agent_environment, user_data
from clustermgtd.settings import loads

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
VALUES = st.text(st.characters(codec="ascii", exclude_categories=("Cc",)), max_size=30)


def test_the_command_line_wins_over_the_environment() -> None:
    environment = {"CLUSTERMGTD_NODE_TABLE": "from-environment", "CLUSTERMGTD_NODE_CONF_SERVER": "head:6817"}
    arguments = parse(["--table", "from-command-line"], environment)
    assert arguments.table == "from-command-line"
    assert arguments.conf_server == "head:6817"
    assert arguments.give_up_s == 600.0


def test_a_table_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse([], {})
    assert stopped.value.code == 2
    assert "CLUSTERMGTD_NODE_TABLE" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ["--conf-server", "head", "--conf-file", "/etc/slurm.conf"],
        ["--give-up-s", "0"],
        ["--give-up-s", "soon"],
        ["--processes-below", "all"],
    ],
)
def test_what_contradicts_itself_is_refused(argv: list[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--table", "t", *argv], {})


@given(table=VALUES.filter(bool), conf_server=VALUES, command=VALUES)
def test_user_data_carries_every_value(table: str, conf_server: str, command: str) -> None:
    arguments = AgentArguments(table=table, conf_server=conf_server, power_off_command=command, give_up_s=90)
    assert parse([], agent_environment(user_data(arguments))) == arguments


def test_other_peoples_user_data_holds_nothing_for_the_agent() -> None:
    assert agent_environment("#!/bin/sh\nCLUSTERMGTD_NODE_TABLE=no\n") == {}
    assert agent_environment("") == {}


def test_a_line_break_is_refused() -> None:
    with pytest.raises(ValueError, match="line break"):
        user_data(AgentArguments(table="a\nb"))


def test_user_data_is_a_script_that_a_shell_accepts() -> None:
    text = user_data(AgentArguments(table='it\'s $HOME `date` "quoted" \\'))
    assert ENVIRONMENT_FILE in text
    assert len(text) < 1024
    subprocess.run(["sh", "-n"], input=text, text=True, check=True, timeout=10)


def test_defaults_stay_out_of_user_data() -> None:
    assert agent_environment(user_data(AgentArguments(table="t"))) == {"CLUSTERMGTD_NODE_TABLE": "t"}
    assert as_environment(AgentArguments(table="t"))["CLUSTERMGTD_NODE_GIVE_UP_S"] == "600"


def test_cluster_yaml_says_what_a_queue_s_agents_are_told() -> None:
    text = (EXAMPLES / "minimal.yaml").read_text()
    assert agent_arguments(loads(text), "q1", "head-1") == AgentArguments(
        table="clustermgtd-cluster", region="eu-central-1", conf_server="head-1"
    )
    said = "ComputeSettings: {LocalStorage: {EphemeralVolume: {MountDir: /fast}}}"
    text = text.replace("- Name: q1\n", f"- Name: q1\n      {said}\n")
    text += """
Clustermgtd:
  NodeAgent:
    GiveUpSeconds: 90
    ConfServer: other:6817
    InterruptionHook: /opt/site/leave
    InterruptionHookSeconds: 60
    HealthCheck: {Program: /opt/site/health, IntervalSeconds: 30, DeadlineSeconds: 10}
    DeadManSwitch: {IdleSeconds: 600, JobSeconds: 7200, UnreadableSeconds: 3600}
"""
    assert agent_arguments(loads(text), "q1", "head-1") == AgentArguments(
        table="clustermgtd-cluster",
        region="eu-central-1",
        conf_server="other:6817",
        give_up_s=90,
        ephemeral_dir="/fast",
        interruption_hook="/opt/site/leave",
        interruption_hook_s=60,
        health_check="/opt/site/health",
        health_interval_s=30,
        health_deadline_s=10,
        dead_man_idle_s=600,
        dead_man_job_s=7200,
        dead_man_unreadable_s=3600,
    )
    off = text.replace("IdleSeconds: 600,", "Enabled: false,")
    assert agent_arguments(loads(off), "q1", "head-1").dead_man_idle_s == 0


BARE = (
    (EXAMPLES / "minimal.yaml").read_text()
    + """
SharedStorage:
  - Name: scratch
    MountDir: /scratch
    StorageType: FsxLustre
    FsxLustreSettings: {FileSystemId: fs-0123456789abcdef0}
Clustermgtd:
  NodeAgent: {ConfigureAtBoot: true}
  StorageResources:
    scratch: {Server: fs.example.com, Path: abcdefgh}
"""
)


def test_nodes_that_configure_themselves_find_what_the_cookbooks_need_under_the_digest_that_they_are_told() -> None:
    settings = loads(BARE)
    ((digest, text),) = stored_variables(settings, "head-1").items()
    assert agent_arguments(settings, "q1", "head-1").variables == digest
    found = json.loads(text)
    assert found["shared_storage_resources"] == {"scratch": {"server": "fs.example.com", "path": "abcdefgh"}}
    assert (found["shared_storage_head_address"], found["common_machine_kind"]) == ("head-1", "compute")


def test_other_variables_are_another_launch_template_and_another_file_is_not() -> None:
    (before,) = launch_specs(loads(BARE), "head-1").values()
    (after,) = launch_specs(loads(BARE.replace("fs.example.com", "other.example.com")), "head-1").values()
    (same,) = launch_specs(loads(BARE + "  PeriodSeconds: 7\n"), "head-1").values()
    assert after.user_data != before.user_data == same.user_data


def test_images_that_are_complete_are_told_nothing_and_nothing_is_stored() -> None:
    settings = loads(BARE.replace("ConfigureAtBoot: true", "ConfigureAtBoot: false"))
    assert stored_variables(settings, "head-1") == {}
    assert agent_arguments(settings, "q1", "head-1").variables == ""


def test_a_bare_instance_knows_its_proxy_before_it_asks_aws() -> None:
    proxy = "Proxy: {HttpProxyAddress: 'http://proxy.example.com:3128'}"
    text = BARE.replace("        SubnetIds:", f"        {proxy}\n        SubnetIds:", 1)
    (spec,) = launch_specs(loads(text), "head-1").values()
    assert 'https_proxy="http://proxy.example.com:3128"' in spec.user_data
    assert "169.254.169.254" in spec.user_data
