"""Head node, login pools, file systems and database of the template, and cluster.yaml's way to them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from clustermgtd.settings import SettingsError, loads
from clustermgtd.settings.cloudformation.configuration import unpacked
from clustermgtd.settings.cloudformation.parts import logical
from tests.unit.settings.test_cloudformation import MINIMAL, NETWORKS, PARALLELCLUSTER, made_from, resources, texts


def made(name: str) -> dict[str, Any]:
    return made_from((NETWORKS / f"{name}.yaml").read_text())


def script(properties: dict[str, Any]) -> str:
    return str(properties["UserData"]["Fn::Base64"]["Fn::Sub"])


def stored(template: dict[str, Any], **values: str) -> str:
    """The configuration parameter as CloudFormation would fill it in; what it does not know is `made`."""

    def filled(piece: Any) -> str:
        if isinstance(piece, str):
            return piece
        ((_, what),) = piece.items()
        return values.get(what if isinstance(what, str) else ".".join(what), "made")

    (parameter,) = resources(template, "AWS::SSM::Parameter").values()
    return "".join(filled(piece) for piece in parameter["Value"]["Fn::Join"][1])


def test_the_head_node_fetches_its_configuration_and_runs_the_cookbooks() -> None:
    (head,) = resources(made("private-compute"), "AWS::EC2::Instance").values()
    assert head["SubnetId"] == {"Ref": "SubnetPublic"}
    assert "parameter/clustermgtd/behind-nat/configuration" in script(head)
    assert "--machine head" in script(head)
    assert "-e @/etc/clustermgtd/made.yml site.yml" in script(head)
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


def test_what_was_made_is_in_the_head_node_s_cluster_yaml() -> None:
    template = made("private-compute")
    text, variables = unpacked(
        stored(
            template,
            **{
                "AWS::Region": "eu-central-1",
                "SubnetPrivate": "subnet-00000000000000001",
                "SubnetPublic": "subnet-00000000000000002",
                "ComputeGroup.GroupId": "sg-00000000000000001",
                "QueueQ1Profile.Arn": "arn:aws:iam::123456789012:instance-profile/q1",
                "MungeKey": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:munge",
                "Events": "https://sqs.eu-central-1.amazonaws.com/123456789012/behind-nat-events",
            },
        )
    )
    settings = loads(text)
    (queue,) = settings.scheduling.slurm_queues
    assert queue.networking.subnet_ids == ("subnet-00000000000000001",)
    assert queue.networking.security_groups == ("sg-00000000000000001",)
    assert queue.iam.instance_profile == "arn:aws:iam::123456789012:instance-profile/q1"
    assert settings.head_node.networking.subnet_id == "subnet-00000000000000002"
    assert settings.scheduling.slurm_settings.munge_key_secret_arn is not None
    assert variables["shared_storage_resources"] == {
        "home": {"id": "made"},
        "apps": {"volume_ids": ["made"]},
        "scratch": {"id": "made", "server": "made", "path": "made"},
    }


def test_a_database_that_was_made_is_the_head_node_s_database() -> None:
    template = made("several-zones")
    (database,) = resources(template, "AWS::RDS::DBInstance").values()
    assert database["MasterUserPassword"] == {"Fn::Sub": "{{resolve:secretsmanager:${DatabasePassword}:SecretString}}"}
    value = json.loads(stored(template))
    places = {".".join(map(str, place)): what for place, what in value["made"]}
    assert places["Scheduling.SlurmSettings.Database"]["UserName"] == "slurm"
    assert places["Clustermgtd.Infrastructure.Database"] is None


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
