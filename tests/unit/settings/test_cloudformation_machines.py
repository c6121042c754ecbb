"""Head node, login pools, file systems and database of the template, and cluster.yaml's way to them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from clustermgtd.settings import Settings, SettingsError, loads
from clustermgtd.settings.cloudformation.configuration import unpacked
from clustermgtd.settings.cloudformation.parts import logical
from clustermgtd.settings.cookbook import Machine, MachineKind, variables
from clustermgtd.settings.section import Section
from tests.unit.settings.test_cloudformation import MINIMAL, NETWORKS, PARALLELCLUSTER, made_from, resources, texts


def made(name: str) -> dict[str, Any]:
    return made_from((NETWORKS / f"{name}.yaml").read_text())


def script(properties: dict[str, Any]) -> str:
    return str(properties["UserData"]["Fn::Base64"]["Fn::Sub"])


SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:made"
VALUES = {
    "AWS::EC2::SecurityGroup": "sg-00000000000000001",
    "AWS::EC2::Volume": "vol-00000000000000001",
    "AWS::IAM::InstanceProfile": "arn:aws:iam::123456789012:instance-profile/made",
    "AWS::SQS::Queue": "https://sqs.eu-central-1.amazonaws.com/123456789012/made",
    "AWS::SecretsManager::Secret": SECRET,
}
ADDRESS = {"Database.Endpoint.Address": "db.example.com", "Database.Endpoint.Port": "3306"}


def stored(template: dict[str, Any], **values: str) -> str:
    """The configuration parameter as CloudFormation would fill it in; what has no form is `made`."""

    def filled(piece: Any) -> str:
        if isinstance(piece, str):
            return piece
        ((how, what),) = piece.items()
        if how == "Fn::Sub":
            return re.sub(r"[$][{](.*?)[}]", lambda found: {**ADDRESS, **values}.get(found[1], "made"), what)
        id, *_ = [what] if isinstance(what, str) else what
        if id.startswith("Subnet") and id not in values:
            return "subnet-" + hashlib.sha256(id.encode()).hexdigest()[:17]
        kind = "AWS::Region" if id == "AWS::Region" else template["Resources"][id]["Type"]
        return values.get(what if isinstance(what, str) else ".".join(what)) or VALUES.get(kind, "made")

    (parameter,) = resources(template, "AWS::SSM::Parameter").values()
    return "".join(filled(piece) for piece in parameter["Value"]["Fn::Join"][1])


def completed(template: dict[str, Any], **values: str) -> Settings:
    """cluster.yaml as machines of the stack have it."""
    return loads(unpacked(stored(template, **{"AWS::Region": "eu-central-1"}, **values)))


def test_the_head_node_fetches_its_configuration_and_runs_the_cookbooks() -> None:
    (head,) = resources(made("private-compute"), "AWS::EC2::Instance").values()
    assert head["SubnetId"] == {"Ref": "SubnetPublic"}
    assert "parameter/clustermgtd/behind-nat/configuration" in script(head)
    assert "--machine head" in script(head)
    assert "-e @/etc/clustermgtd/variables.yml site.yml" in script(head)
    assert len(script(head)) < 16 * 1024


def test_a_proxy_is_known_before_anything_is_called() -> None:
    (head,) = resources(made("proxy"), "AWS::EC2::Instance").values()
    lines = script(head).splitlines()
    proxied = next(n for n, line in enumerate(lines) if line == "export https_proxy='http://proxy.example.com:3128'")
    assert proxied < next(n for n, line in enumerate(lines) if "fetch-config" in line)
    assert any("no_proxy=" in line and "169.254.169.254" in line for line in lines)


def test_the_stack_waits_for_the_head_node_s_word() -> None:
    of = made("one-public-subnet")
    assert of["Resources"]["Bootstrapped"]["Properties"]["Timeout"] == "1800"
    assert "'${Bootstrap}'" in script(resources(of, "AWS::EC2::Instance")["Head"])


def test_a_head_node_on_a_broken_host_is_recovered_unless_nobody_wants_that() -> None:
    (alarm,) = resources(made_from(MINIMAL), "AWS::CloudWatch::Alarm").values()
    assert alarm["MetricName"] == "StatusCheckFailed_System"
    without = made_from(MINIMAL + "  Infrastructure: {HeadNodeRecovery: none}\n")
    assert resources(without, "AWS::CloudWatch::Alarm") == {}


def test_without_an_image_there_is_no_template() -> None:
    text = MINIMAL.replace("  CustomAmi: ami-0123456789abcdef0\n", "")
    with pytest.raises(SettingsError, match=r"HeadNode\.Image\.CustomAmi.*has no image to boot"):
        made_from(text)


def test_what_was_made_is_in_the_machines_cluster_yaml() -> None:
    made_ids = {"StorageHome": "fs-00000000000000001", "StorageScratch": "fs-00000000000000002"}
    server = {"StorageScratch.DNSName": "fs-2.example.com", "StorageScratch.LustreMountName": "abcdefgh"}
    subnets = {"SubnetPublic": "subnet-00000000000000002", "SubnetPrivate": "subnet-00000000000000003"}
    settings = completed(made("private-compute"), **subnets, **made_ids, **server)
    (queue,) = settings.scheduling.slurm_queues
    assert queue.networking.subnet_ids == ("subnet-00000000000000003",)
    assert queue.networking.security_groups == (VALUES["AWS::EC2::SecurityGroup"],)
    assert queue.iam.instance_profile == VALUES["AWS::IAM::InstanceProfile"]
    assert settings.head_node.networking.subnet_id == "subnet-00000000000000002"
    assert settings.scheduling.slurm_settings.munge_key_secret_arn == SECRET
    for machine in (Machine(settings, MachineKind.HEAD), Machine(settings, MachineKind.COMPUTE, queue.name)):
        assert variables(machine)["shared_storage_resources"] == {
            "home": {"id": "fs-00000000000000001"},
            "apps": {"volume_ids": [VALUES["AWS::EC2::Volume"]]},
            "scratch": {"id": "fs-00000000000000002", "server": "fs-2.example.com", "path": "abcdefgh"},
        }


def test_machines_find_the_head_node_by_its_address() -> None:
    settings = completed(made("private-compute"), **{"Head.PrivateIp": "10.0.0.5"})
    (queue,) = settings.scheduling.slurm_queues
    pools = settings.login_nodes.pools if settings.login_nodes else ()
    assert variables(Machine(settings, MachineKind.HEAD))["slurm_address"] == "10.0.0.5"
    login = variables(Machine(settings, MachineKind.LOGIN, pools[0].name))
    assert (login["slurm_controllers"], login["shared_storage_head_address"]) == (["10.0.0.5"], "10.0.0.5")
    compute = variables(Machine(settings, MachineKind.COMPUTE, queue.name))
    assert compute["shared_storage_head_address"] == "10.0.0.5"


def test_in_a_private_zone_the_head_node_has_a_name_before_anybody_asks_for_it() -> None:
    template = made("several-zones")
    assert variables(Machine(completed(template), MachineKind.HEAD))["slurm_address"] == "head.three-zones.internal"
    assert template["Resources"]["Configuration"]["DependsOn"] == ["HeadName"]


def test_a_database_that_was_made_is_the_head_node_s_database() -> None:
    template = made("several-zones")
    (database,) = resources(template, "AWS::RDS::DBInstance").values()
    assert database["MasterUserPassword"] == {"Fn::Sub": "{{resolve:secretsmanager:${DatabasePassword}:SecretString}}"}
    rendered = variables(Machine(completed(template), MachineKind.HEAD))
    assert rendered["slurm_accounting"] == "head"
    assert {name: value for name, value in rendered.items() if name.startswith("slurmdbd_")} == {
        "slurmdbd_database": "remote",
        "slurmdbd_database_host": "db.example.com",
        "slurmdbd_database_port": 3306,
        "slurmdbd_database_user": "slurm",
        "slurmdbd_database_name": "three_zones",
        "slurmdbd_password_secret_arn": SECRET,
    }


def test_a_database_that_was_made_wants_tls_and_lets_slurmdbd_make_its_functions() -> None:
    template = made("several-zones")
    (database,) = resources(template, "AWS::RDS::DBInstance").values()
    (group,) = resources(template, "AWS::RDS::DBParameterGroup").values()
    assert database["DBParameterGroupName"] == {"Ref": "DatabaseParameters"}
    assert group["Family"] == "mariadb" + database["EngineVersion"].rpartition(".")[0]
    assert (
        group["Parameters"]["require_secure_transport"] == group["Parameters"]["log_bin_trust_function_creators"] == "1"
    )


DNS = "  SlurmSettings: {{Dns: {0}}}\n  SlurmQueues:\n"


def test_the_head_node_s_name_goes_into_the_zone_that_exists() -> None:
    text = MINIMAL.replace("  SlurmQueues:\n", DNS.format("{HostedZoneId: Z0123456789}"))
    of = made_from(text + "    PrivateZone: lab.example.com\n")
    (record,) = resources(of, "AWS::Route53::RecordSet").values()
    assert (record["HostedZoneId"], record["Name"]) == ("Z0123456789", "head.lab.example.com")
    assert resources(of, "AWS::Route53::HostedZone") == {}


@pytest.mark.parametrize(
    ("dns", "zone", "complaint"),
    [
        ("{HostedZoneId: Z0123456789}", "", r"Dns\.HostedZoneId: needs the name.*Network\.PrivateZone"),
        ("{DisableManagedDns: true}", "    PrivateZone: lab.example.com\n", r"Dns\.DisableManagedDns: contradicts"),
    ],
)
def test_names_that_cannot_be_made_as_they_are_wanted_are_refused(dns: str, zone: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        made_from(MINIMAL.replace("  SlurmQueues:\n", DNS.format(dns)) + zone)


SECRETS = {
    "Scheduling.SlurmSettings.MungeKeySecretArn": "MungeKeySecretArn: {0}munge-Ab1Cd2",
    "Scheduling.SlurmSettings.Database.PasswordSecretArn": (
        "Database: {{Uri: db, UserName: slurm, PasswordSecretArn: {0}database-Ab1Cd2}}"
    ),
    "DirectoryService.PasswordSecretArn": "{0}directory-Ab1Cd2",
}
EVERY_MACHINE = frozenset({"munge-Ab1Cd2", "directory-Ab1Cd2"})


def secret_keys(section: type[Section], at: str = "") -> Iterator[str]:
    """Places in cluster.yaml where a secret is named."""
    for name, field in section.model_fields.items():
        here = f"{at}.{field.alias or name}".lstrip(".")
        if "Secret" in here.rpartition(".")[2]:
            yield here
        for inner in sections_in(field.annotation):
            yield from secret_keys(inner, here)


def sections_in(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from sections_in(part)


def readable(role: dict[str, Any]) -> set[str]:
    """Names of secrets in the role's policies."""
    statements = [one for policy in role["Policies"] for one in policy["PolicyDocument"]["Statement"]]
    found = [one["Resource"] for one in statements if one["Action"] == "secretsmanager:GetSecretValue"]
    assert all(isinstance(arn, str) and "*" not in arn for arn in found)
    return {arn.rpartition(":")[2] for arn in found}


def test_every_secret_of_cluster_yaml_may_be_read_by_the_machines_that_need_it_and_by_no_other() -> None:
    assert set(secret_keys(Settings)) == set(SECRETS)
    prefix = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:"
    munge, database, directory = (text.format(prefix) for text in SECRETS.values())
    login = "{Name: p, InstanceType: c5.large, Networking: {SubnetIds: [subnet-0123456789abcdef0]}}"
    roles = resources(
        made_from(
            MINIMAL.replace("  SlurmQueues:\n", f"  SlurmSettings:\n    {munge}\n    {database}\n  SlurmQueues:\n")
            + f"LoginNodes: {{Pools: [{login}]}}\n"
            + "DirectoryService: {DomainName: example.com, DomainAddr: dc, DomainReadOnlyUser: cn=reader,"
            + f" PasswordSecretArn: {directory}}}\n"
        ),
        "AWS::IAM::Role",
    )
    assert {id: readable(role) for id, role in roles.items()} == {
        "HeadRole": {*EVERY_MACHINE, "database-Ab1Cd2"},
        "QueueQ1Role": {*EVERY_MACHINE},
        "LoginPRole": {*EVERY_MACHINE},
    }


def test_a_cluster_yaml_that_no_parameter_holds_is_refused() -> None:
    noise = "".join(f"# {hashlib.sha256(str(n).encode()).hexdigest()}\n" for n in range(500))
    with pytest.raises(SettingsError, match="a parameter of SSM holds 8192"):
        made_from(MINIMAL + noise)


def test_what_cluster_yaml_wants_kept_is_kept() -> None:
    made_ = made("private-compute")["Resources"]
    policies = {id: made_[id]["DeletionPolicy"] for id in ("StorageHome", "StorageApps", "StorageScratch", "Logs")}
    assert policies == {
        "StorageHome": "Retain",
        "StorageApps": "Snapshot",
        "StorageScratch": "Delete",
        "Logs": "Retain",
    }


def test_an_array_has_as_many_volumes_as_it_wants_each_under_a_name_of_its_own() -> None:
    text = MINIMAL + (
        "SharedStorage:\n  - Name: data\n    MountDir: /data\n    StorageType: Ebs\n"
        "    EbsSettings:\n      Raid: {Type: 0, NumberOfVolumes: 3}\n"
    )
    of = made_from(text)
    assert len(resources(of, "AWS::EC2::Volume")) == 3
    attached = resources(of, "AWS::EC2::VolumeAttachment").values()
    assert len({one["Device"] for one in attached}) == 3


def test_efs_has_one_mount_target_in_each_zone() -> None:
    targets = resources(made("several-zones"), "AWS::EFS::MountTarget").values()
    expected = [logical("Subnet", name) for name in ("public-a", "private-b", "private-c")]
    assert [one["SubnetId"]["Ref"] for one in targets] == expected


def test_a_new_efs_in_subnets_whose_zones_are_unknown_is_refused() -> None:
    text = (NETWORKS / "existing-network.yaml").read_text()
    text += "SharedStorage:\n  - {Name: home, MountDir: /home, StorageType: Efs}\n"
    with pytest.raises(SettingsError, match="needs to know which subnets share a zone"):
        made_from(text)


def test_login_nodes_are_behind_a_balancer_that_is_public_where_their_subnet_is() -> None:
    (balancer,) = resources(made("private-compute"), "AWS::ElasticLoadBalancingV2::LoadBalancer").values()
    assert (balancer["Type"], balancer["Scheme"]) == ("network", "internet-facing")
    (inside,) = resources(made_from(PARALLELCLUSTER), "AWS::ElasticLoadBalancingV2::LoadBalancer").values()
    assert inside["Scheme"] == "internal"
    (group,) = resources(made("private-compute"), "AWS::AutoScaling::AutoScalingGroup").values()
    assert (group["MinSize"], group["MaxSize"]) == ("2", "2")


def test_compute_nodes_read_no_secret_but_those_of_every_machine() -> None:
    role = resources(made("several-zones"), "AWS::IAM::Role")
    queue = next(properties for id, properties in role.items() if id.startswith("Queue"))
    assert "MungeKey" in set(texts(queue))
    assert "DatabasePassword" not in set(texts(queue))
    assert "DatabasePassword" in set(texts(role["HeadRole"]))
