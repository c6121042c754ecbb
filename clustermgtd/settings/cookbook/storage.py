"""Variables of the role `shared_storage`: what each machine mounts, and what the head node exports."""

from __future__ import annotations

from clustermgtd.settings.cluster import Settings
from clustermgtd.settings.cookbook.machine import Machine, MachineKind
from clustermgtd.settings.storage import HOME, HOME_NAME, EbsSettings, EfsSettings, SharedStorage


def variables(machine: Machine) -> dict[str, object]:
    """File systems by name, kind, id and mount folder, what `Clustermgtd.StorageResources` adds to them, and the first
    head node's address, if cluster.yaml says it."""
    settings = machine.settings
    region = settings.region or ""
    heads = settings.clustermgtd.node_agent.controllers
    return {
        **({"shared_storage_head_address": heads[0]} if heads else {}),
        "shared_storage_resources": {
            name: {key: list(value) if isinstance(value, tuple) else value for key, value in given if value}
            for name, given in settings.clustermgtd.storage_resources.items()
        },
        "shared_storage_file_systems": _file_systems(settings),
        "shared_storage_is_head": machine.kind is MachineKind.HEAD,
        "shared_storage_region": region,
        "shared_storage_dns_suffix": "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com",
        "shared_storage_scratch_dir": _scratch_dir(machine),
    }


def _file_systems(settings: Settings) -> list[dict[str, object]]:
    found = [_file_system(storage) for storage in settings.shared_storage]
    if all(storage.mount_point != HOME for storage in settings.shared_storage):
        # HeadNode.SharedStorageType: on the head node's root volume, or on an EFS file system made for it
        kind = "Efs" if settings.head_node.shared_storage_type == "Efs" else "Home"
        found.append({"name": HOME_NAME, "kind": kind, "mount_dir": HOME})
    return found


def _file_system(storage: SharedStorage) -> dict[str, object]:
    found: dict[str, object] = {
        "name": storage.name,
        "kind": storage.storage_type,
        "mount_dir": storage.mount_point,
        "id": _id(storage),
    }
    if storage.storage_type == "Ebs" and storage.ebs_settings and storage.ebs_settings.raid:
        found["raid_level"] = storage.ebs_settings.raid.type
    if storage.storage_type == "Efs" and storage.efs_settings:
        efs = storage.efs_settings
        found["access_point"] = efs.access_point_id or ""
        found["is_tls"] = efs.encryption_in_transit
        found["is_iam"] = efs.iam_authorization
    return found


def _id(storage: SharedStorage) -> str:
    """Of what exists already; empty otherwise."""
    match storage.storage_type:
        case "Ebs":
            return (storage.ebs_settings or EbsSettings()).volume_id or ""
        case "Efs":
            return (storage.efs_settings or EfsSettings()).file_system_id or ""
        case "FsxLustre":
            return (storage.fsx_lustre_settings and storage.fsx_lustre_settings.file_system_id) or ""
        case "FsxOpenZfs":
            return storage.fsx_open_zfs_settings.volume_id if storage.fsx_open_zfs_settings else ""
        case "FsxOntap":
            return storage.fsx_ontap_settings.volume_id if storage.fsx_ontap_settings else ""
        case "FileCache":
            return storage.file_cache_settings.file_cache_id if storage.file_cache_settings else ""


def _scratch_dir(machine: Machine) -> str:
    match machine.kind:
        case MachineKind.HEAD:
            return machine.settings.head_node.local_storage.ephemeral_volume.mount_dir
        case MachineKind.COMPUTE:
            return machine.settings.local_storage_of(machine.group).ephemeral_volume.mount_dir
        case MachineKind.LOGIN:
            return ""
