"""Variables of the roles that make Slurm."""

from __future__ import annotations

from pathlib import Path

import pytest

from clustermgtd.settings import Settings, SettingsError, loads
from clustermgtd.settings.cookbook import Machine, MachineKind
from clustermgtd.settings.cookbook.slurm import variables

MINIMAL = (Path(__file__).parents[3] / "docs" / "examples" / "minimal.yaml").read_text()
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:one-Ab1Cd2"


def cluster(slurm_settings: str = "{}", own: str = "{}") -> Settings:
    text = MINIMAL.replace("  SlurmQueues:\n", f"  SlurmSettings: {slurm_settings}\n  SlurmQueues:\n")
    return loads(f"{text}Clustermgtd: {own}\n")


def head(slurm_settings: str = "{}", own: str = "{}") -> dict[str, object]:
    return variables(Machine(cluster(slurm_settings, own), MachineKind.HEAD))


def compute(slurm_settings: str = "{}", own: str = "{}") -> dict[str, object]:
    return variables(Machine(cluster(slurm_settings, own), MachineKind.COMPUTE, "q1"))


def test_only_the_head_node_makes_a_munge_key() -> None:
    assert head()["munge_makes_key"] is True
    assert compute()["munge_makes_key"] is False


def test_no_key_is_made_where_a_secret_holds_it() -> None:
    settings = f"{{MungeKeySecretArn: '{SECRET}'}}"
    assert (head(settings)["munge_key_secret_arn"], head(settings)["munge_makes_key"]) == (SECRET, False)
    assert compute(settings)["munge_key_secret_arn"] == SECRET


def test_nodes_and_partitions_are_the_text_of_render_slurm_conf() -> None:
    text = str(head(own="{Licenses: {matlab: 3, ansys: 1}}")["slurm_nodes_conf"])
    assert "PartitionName=q1 " in text
    assert "ResumeProgram=/usr/libexec/clustermgtd/resume\n" in text
    assert "Licenses=ansys:1,matlab:3\n" in text
    assert "enable_configless" in text


def test_compute_nodes_get_their_configuration_from_slurmctld() -> None:
    assert "slurm_nodes_conf" not in compute()


def test_without_a_database_there_is_no_accounting() -> None:
    assert head()["slurm_accounting"] == "none"
    assert head()["slurmdbd_database"] == "none"


def test_a_local_database_is_beside_slurmctld() -> None:
    rendered = head(own="{Accounting: {LocalDatabase: true}}")
    assert (rendered["slurm_accounting"], rendered["slurmdbd_database"]) == ("head", "local")


def test_a_database_server_has_a_host_a_port_and_a_secret() -> None:
    database = f"{{Uri: 'db.example.com', UserName: admin, PasswordSecretArn: '{SECRET}'}}"
    rendered = head(f"{{Database: {database}}}", "{ClusterName: my-cluster}")
    assert rendered["slurm_accounting"] == "head"
    assert {name: value for name, value in rendered.items() if name.startswith("slurmdbd_")} == {
        "slurmdbd_database": "remote",
        "slurmdbd_database_host": "db.example.com",
        "slurmdbd_database_port": 3306,
        "slurmdbd_database_user": "admin",
        "slurmdbd_database_name": "my_cluster",
        "slurmdbd_password_secret_arn": SECRET,
    }
    other = head(f"{{Database: {database.replace('.com', '.com:3307')}}}")
    assert other["slurmdbd_database_port"] == 3307


def test_an_external_slurmdbd_leaves_nothing_to_run_here() -> None:
    rendered = head("{ExternalSlurmdbd: {Host: dbd.example.com, Port: 6820}}")
    assert rendered["slurmdbd_database"] == "none"
    assert rendered["slurm_accounting"] == "external"
    assert (rendered["slurm_accounting_host"], rendered["slurm_accounting_port"]) == ("dbd.example.com", 6820)


def test_a_local_database_and_another_contradict_each_other() -> None:
    with pytest.raises(SettingsError, match=r"cannot be true together with .*ExternalSlurmdbd"):
        cluster("{ExternalSlurmdbd: {Host: dbd}}", "{Accounting: {LocalDatabase: true}}")


NEW = "{SubnetIds: [subnet-0123456789abcdef0, subnet-0123456789abcdef1]}"


@pytest.mark.parametrize(
    ("slurm_settings", "own", "other"),
    [
        ("{ExternalSlurmdbd: {Host: dbd}}", "", "Scheduling.SlurmSettings.ExternalSlurmdbd"),
        (
            f"{{Database: {{Uri: db, UserName: a, PasswordSecretArn: '{SECRET}'}}}}",
            "",
            "Scheduling.SlurmSettings.Database",
        ),
        ("{}", "Accounting: {LocalDatabase: true}, ", "Clustermgtd.Accounting.LocalDatabase"),
    ],
)
def test_a_database_that_is_to_be_made_and_another_contradict_each_other(
    slurm_settings: str, own: str, other: str
) -> None:
    with pytest.raises(SettingsError, match=f"Infrastructure.Database: cannot be given together with {other}.*drop"):
        cluster(slurm_settings, f"{{{own}Infrastructure: {{Database: {NEW}}}}}")


def test_an_image_for_a_cluster_whose_database_is_not_made_yet_gets_slurmdbd() -> None:
    rendered = head(own=f"{{Infrastructure: {{Database: {NEW}}}}}")
    assert (rendered["slurm_accounting"], rendered["slurmdbd_database"]) == ("head", "remote")


@pytest.mark.parametrize("uri", ["mysql://db.example.com", "db.example.com:port", "db.example.com/slurm"])
def test_a_database_server_that_is_no_host_is_refused(uri: str) -> None:
    with pytest.raises(SettingsError, match=r"Database\.Uri: must be host or host:port"):
        head(f"{{Database: {{Uri: '{uri}', UserName: admin, PasswordSecretArn: '{SECRET}'}}}}")


def test_gpus_are_listed_for_gres_conf() -> None:
    text = MINIMAL.replace("c5.xlarge\n          Min", "g5.12xlarge\n          Min")
    rendered = variables(Machine(loads(text), MachineKind.HEAD))
    assert rendered["slurm_gpus"] == [{"nodes": "q1-dy-c5-[1-9],q1-st-c5-1", "type": "a10g", "count": 4}]


def test_login_nodes_know_their_grace() -> None:
    pool = "{Name: p, InstanceType: c5.large, GracetimePeriod: 20, Networking: {SubnetIds: [subnet-0123456789abcdef0]}}"
    settings = loads(f"{MINIMAL}LoginNodes: {{Pools: [{pool}]}}\n")
    assert variables(Machine(settings, MachineKind.LOGIN, "p"))["login_node_grace_minutes"] == 20
