"""The text of slurm.conf; that a real slurmctld takes it is tested in tests/integration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from clustermgtd.model.claim import LaunchTemplate
from clustermgtd.settings import Settings, load, loads
from clustermgtd.settings.policy import build_policy, template_keys
from clustermgtd.settings.slurm_conf import PROGRAMS, SlurmSite, render

MINIMAL = (Path(__file__).parents[3] / "docs" / "examples" / "minimal.yaml").read_text()
SITE = SlurmSite({name: Path("/opt/hooks") / name for name in PROGRAMS})


def lines_of(cluster: Settings, site: SlurmSite = SITE) -> dict[str, str]:
    """Lines by what they begin with, up to the first `=`; node lines by name."""
    lines = [line for line in render(cluster, site).splitlines() if line and not line.startswith("#")]
    return {
        line.split()[0] if line.startswith(("NodeName", "PartitionName")) else line.partition("=")[0]: line
        for line in lines
    }


def with_slurm_settings(text: str) -> Settings:
    return loads(MINIMAL.replace("  SlurmQueues:\n", f"  SlurmSettings: {text}\n  SlurmQueues:\n"))


def test_static_and_dynamic_nodes_are_lines_of_their_own() -> None:
    lines = lines_of(loads(MINIMAL))
    static, dynamic = lines["NodeName=q1-st-c5-1"], lines["NodeName=q1-dy-c5-[1-9]"]
    assert "CPUs=4 Sockets=1 CoresPerSocket=2 ThreadsPerCore=2 RealMemory=7782 State=CLOUD Weight=1 " in static
    assert static.endswith("Features=static,c5.xlarge,c5")
    assert "Weight=1000" in dynamic
    assert lines["SuspendExcNodes"] == "SuspendExcNodes=q1-st-c5-1"


def test_only_static_or_only_dynamic_nodes_make_one_line() -> None:
    dynamic = lines_of(loads(MINIMAL.replace("MinCount: 1", "MinCount: 0")))
    assert [name for name in dynamic if name.startswith("NodeName")] == ["NodeName=q1-dy-c5-[1-10]"]
    assert "SuspendExcNodes" not in dynamic
    static = lines_of(loads(MINIMAL.replace("MinCount: 1", "MinCount: 10")))
    assert [name for name in static if name.startswith("NodeName")] == ["NodeName=q1-st-c5-[1-10]"]


def test_without_multithreading_a_cpu_is_a_core() -> None:
    text = MINIMAL + "          DisableSimultaneousMultithreading: true\n"
    assert "CPUs=2 Sockets=1 CoresPerSocket=2 ThreadsPerCore=1" in lines_of(loads(text))["NodeName=q1-dy-c5-[1-9]"]


def test_the_least_memory_of_several_types_counts() -> None:
    text = MINIMAL.replace("InstanceType: c5.xlarge\n          Min", "Instances: [{InstanceType: m5.xlarge}, "
                           "{InstanceType: c5.xlarge}]\n          Min")  # fmt: skip
    line = lines_of(loads(text))["NodeName=q1-dy-c5-[1-9]"]
    assert "RealMemory=7782" in line
    assert "Features=dynamic,m5.xlarge,c5.xlarge,c5" in line


def test_ports_are_dealt_out_one_per_node_where_all_have_one_address() -> None:
    site = SlurmSite(SITE.programs, node_address="127.0.0.1", node_port_base=7000, extra_lines=("DebugFlags=Power",))
    lines = lines_of(loads(MINIMAL), site)
    assert lines["NodeName=q1-st-c5-1"].endswith("NodeAddr=127.0.0.1 Port=7000")
    assert lines["NodeName=q1-dy-c5-[1-9]"].endswith("NodeAddr=127.0.0.1 Port=[7001-7009]")
    assert lines["DebugFlags"] == "DebugFlags=Power"


def test_the_first_queue_is_the_default_partition_and_queues_have_their_own_times() -> None:
    cluster = load(Path(__file__).parents[3] / "docs" / "examples" / "clustermgtd.yaml")
    lines = lines_of(cluster)
    assert "Default=YES" in lines["PartitionName=day"]
    assert "SuspendTime=300 ResumeTimeout=900 SuspendTimeout=90" in lines["PartitionName=day"]
    assert "Default=NO" in lines["PartitionName=test"]
    assert "SuspendTime=30 " in lines["PartitionName=test"]


def test_slurm_looks_every_second_for_nodes_to_power_up() -> None:
    """A pass every 30 s is a median of 19 s from `sbatch` to the first call."""
    parameters = lines_of(loads(MINIMAL))["SlurmctldParameters"].partition("=")[2].split(",")
    assert {"power_save_interval=1", "power_save_min_interval=0"} <= set(parameters)


def test_the_start_gate_and_cloud_reg_addrs_can_be_switched_off() -> None:
    on = lines_of(loads(MINIMAL))
    assert on["PrologSlurmctld"] == "PrologSlurmctld=/opt/hooks/start_gate"
    assert "cloud_reg_addrs" in on["SlurmctldParameters"]
    text = MINIMAL + "Clustermgtd: {Slurm: {CloudRegAddrs: false, StartGate: {Enabled: false}}}\n"
    off = lines_of(loads(text))
    assert "PrologSlurmctld" not in off
    assert "cloud_reg_addrs" not in off["SlurmctldParameters"]


SECOND = """\
        - Name: big
          InstanceType: c5.xlarge
          MaxCount: 2
"""


def test_a_partition_s_suspend_time_is_its_longest_and_the_daemon_sees_to_the_shorter_ones() -> None:
    text = MINIMAL.rstrip("\n") + "\n" + SECOND + "Clustermgtd: {Queues: {q1: {ComputeResources: {big: OWN}}}}\n"
    shorter = loads(text.replace("OWN", "{ScaledownIdletimeSeconds: 45}"))
    longer = loads(text.replace("OWN", "{ScaledownIdletimeSeconds: 4500}"))
    never = loads(text.replace("OWN", "{ScaledownIdletimeSeconds: -1}"))
    assert "SuspendTime=600 " in lines_of(shorter)["PartitionName=q1"]
    assert "SuspendTime=4500 " in lines_of(longer)["PartitionName=q1"]
    assert "SuspendTime=315360000 " in lines_of(never)["PartitionName=q1"]
    assert idle_after_s(shorter) == {"big": 45.0}
    assert idle_after_s(longer) == {"c5": 600.0}
    assert idle_after_s(never) == {"c5": 600.0}
    assert idle_after_s(loads(MINIMAL)) == {}


def idle_after_s(cluster: Settings) -> dict[str, float]:
    templates = {key: LaunchTemplate("lt-1", "1") for key in template_keys(cluster)}
    return {str(key.name): time for key, time in build_policy(cluster, templates).idle_after_s.items()}


def test_never_scaling_down_does_not_switch_power_saving_off() -> None:
    lines = lines_of(with_slurm_settings("{ScaledownIdletime: -1}"))
    assert lines["SuspendTime"] == "SuspendTime=315360000"


def test_the_sites_settings_replace_ours_whatever_their_case_and_options_are_added() -> None:
    custom = "[{messagetimeout: 99, EnforcePartLimits: yes}, {PrivateData: jobs}, {NodeName: big, CPUs: 4}]"
    cluster = with_slurm_settings(f"{{CustomSlurmSettings: {custom}}}")
    lines = lines_of(cluster)
    assert lines["MessageTimeout"] == "MessageTimeout=99"
    assert lines["EnforcePartLimits"] == "EnforcePartLimits=YES"
    assert lines["PrivateData"] == "PrivateData=cloud,jobs"
    assert lines["NodeName=big"] == "NodeName=big CPUs=4"
    assert "messagetimeout" not in render(cluster, SITE)


def test_values_with_spaces_are_quoted_on_node_and_partition_lines() -> None:
    text = MINIMAL + '          CustomSlurmSettings: {Reason: "under test"}\n'
    assert ' Reason="under test" ' in lines_of(loads(text))["NodeName=q1-dy-c5-[1-9]"]


def test_programs_must_be_absolute_paths() -> None:
    with pytest.raises(ValueError, match="absolute path"):
        SlurmSite({**SITE.programs, "suspend": Path("suspend")})


@pytest.mark.parametrize(
    ("release", "is_written"), [((22, 5), True), ((23, 2), True), ((23, 11), False), ((26, 5), False)]
)
def test_a_release_is_not_told_what_it_finds_defunct(release: tuple[int, int], is_written: bool) -> None:
    text = render(loads(MINIMAL), replace(SITE, release=release))
    assert ("cloud_reg_addrs" in text, "NoAddrCache" in text) == (is_written, is_written)
