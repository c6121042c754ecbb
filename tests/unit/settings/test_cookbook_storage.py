"""SharedStorage of cluster.yaml as the role `shared_storage` gets it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from clustermgtd.settings import loads
from clustermgtd.settings.cookbook import Machine, MachineKind
from clustermgtd.settings.cookbook.storage import variables

SUBNET = "subnet-0123456789abcdef0"
HEX = "0123456789abcdef0"


def rendered(
    *storages: dict[str, object], kind: MachineKind = MachineKind.HEAD, group: str = "", **head: object
) -> dict[str, Any]:
    tree = {
        "Region": "eu-central-1",
        "Image": {"Os": "rocky9"},
        "HeadNode": {"InstanceType": "c5.xlarge", "Networking": {"SubnetId": SUBNET}, **head},
        "Scheduling": {
            "Scheduler": "slurm",
            "SlurmQueues": [
                {
                    "Name": "q1",
                    "Networking": {"SubnetIds": [SUBNET]},
                    "ComputeSettings": {"LocalStorage": {"EphemeralVolume": {"MountDir": "/local"}}},
                    "ComputeResources": [{"Name": "c5", "InstanceType": "c5.xlarge"}],
                }
            ],
        },
        "LoginNodes": {
            "Pools": [{"Name": "login", "InstanceType": "c5.xlarge", "Networking": {"SubnetIds": [SUBNET]}}]
        },
        "SharedStorage": list(storages),
    }
    return variables(Machine(loads(yaml.safe_dump(tree)), kind, group))


def file_systems(*storages: dict[str, object], **head: object) -> list[dict[str, object]]:
    found: list[dict[str, object]] = rendered(*storages, **head)["shared_storage_file_systems"]
    return found


HOME = {"Name": "home", "MountDir": "/home", "StorageType": "Ebs"}


@pytest.mark.parametrize(
    ("storage_type", "settings", "expected"),
    [
        ("Ebs", {"VolumeId": f"vol-{HEX}"}, {"id": f"vol-{HEX}"}),
        ("Ebs", {"Size": 100}, {"id": ""}),
        ("Ebs", {"Raid": {"Type": 0}}, {"id": "", "raid_level": 0}),
        (
            "Efs",
            {
                "FileSystemId": f"fs-{HEX}",
                "EncryptionInTransit": True,
                "IamAuthorization": True,
                "AccessPointId": f"fsap-{HEX}",
            },
            {"id": f"fs-{HEX}", "access_point": f"fsap-{HEX}", "is_tls": True, "is_iam": True},
        ),
        ("Efs", {"Encrypted": True}, {"id": "", "access_point": "", "is_tls": False, "is_iam": False}),
        ("FsxLustre", {"FileSystemId": f"fs-{HEX}"}, {"id": f"fs-{HEX}"}),
        ("FsxLustre", {"StorageCapacity": 1200}, {"id": ""}),
        ("FsxOpenZfs", {"VolumeId": f"fsvol-{HEX}"}, {"id": f"fsvol-{HEX}"}),
        ("FsxOntap", {"VolumeId": f"fsvol-{HEX}"}, {"id": f"fsvol-{HEX}"}),
        ("FileCache", {"FileCacheId": f"fc-{HEX}"}, {"id": f"fc-{HEX}"}),
    ],
)
def test_each_kind_of_storage(storage_type: str, settings: dict[str, object], expected: dict[str, object]) -> None:
    storage = {
        "Name": "data",
        "MountDir": "data/",
        "StorageType": storage_type,
        f"{storage_type}Settings": settings,
    }
    found, _ = file_systems(storage, HOME)
    assert found == {"name": "data", "kind": storage_type, "mount_dir": "/data"} | expected


def test_storage_without_settings_is_made_with_the_cluster() -> None:
    assert [found["id"] for found in file_systems(HOME)] == [""]


def test_home_is_the_head_nodes_unless_a_storage_is_mounted_there() -> None:
    data = HOME | {"Name": "data", "MountDir": "/data"}
    assert file_systems(data)[1:] == [{"name": "cluster-home", "kind": "Home", "mount_dir": "/home"}]
    assert file_systems(data, SharedStorageType="Efs")[1:] == [
        {"name": "cluster-home", "kind": "Efs", "mount_dir": "/home"}
    ]
    assert [found["name"] for found in file_systems(HOME, SharedStorageType="Efs")] == ["home"]


def test_all_machines_mount_the_same_and_one_of_them_exports() -> None:
    head = rendered(HOME)
    compute = rendered(HOME, kind=MachineKind.COMPUTE, group="q1")
    login = rendered(HOME, kind=MachineKind.LOGIN, group="login")
    key = "shared_storage_file_systems"
    assert head[key] == compute[key] == login[key]
    assert [one["shared_storage_is_head"] for one in (head, compute, login)] == [True, False, False]


def test_the_instance_store_is_where_the_machines_section_says() -> None:
    key = "shared_storage_scratch_dir"
    head = {"LocalStorage": {"EphemeralVolume": {"MountDir": "/fast"}}}
    assert rendered(**head)[key] == "/fast"
    assert rendered(kind=MachineKind.COMPUTE, group="q1")[key] == "/local"
    assert rendered(kind=MachineKind.LOGIN, group="login")[key] == ""
