"""File systems of `SharedStorage` that are made with the cluster: EBS, EFS, FSx for Lustre."""

from __future__ import annotations

from collections.abc import Mapping

from clustermgtd.settings.cloudformation.parts import (
    Part,
    Resource,
    Value,
    attribute,
    logical,
    ref,
    tags,
    without_none,
)
from clustermgtd.settings.cloudformation.vpc import subnet_id
from clustermgtd.settings.cluster import Settings
from clustermgtd.settings.network import NEW
from clustermgtd.settings.problem import Problem, SettingsError
from clustermgtd.settings.storage import HOME, HOME_NAME, EbsSettings, EfsSettings, FsxLustreSettings, SharedStorage

_EBS_GIB = 40
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_DEVICES = (*(f"/dev/sd{end}" for end in _LETTERS[5:]), *(f"/dev/xvdb{end}" for end in _LETTERS))
"""Names for attachments; on Nitro instances the name means nothing, the volume's id does."""


def storage(settings: Settings) -> Part:
    """What cluster.yaml gives no id of."""
    resources: dict[str, Resource] = {}
    known: dict[str, Value] = {}
    devices = iter(_DEVICES)
    for one in settings.shared_storage:
        if one.is_existing:
            if one.storage_type == "Ebs" and one.ebs_settings and one.ebs_settings.volume_id:
                attached = _attachment(one.ebs_settings.volume_id, next(devices))
                resources[logical("Storage", one.name) + "Attachment"] = attached
                known[one.name] = {"VolumeIds": [one.ebs_settings.volume_id]}
            continue
        id = logical("Storage", one.name)
        match one.storage_type:
            case "Ebs":
                volumes = _volumes(settings, one, id)
                resources |= volumes
                for volume in volumes:
                    resources[f"{volume}Attachment"] = _attachment(ref(volume), next(devices))
                known[one.name] = {"VolumeIds": [ref(volume) for volume in volumes]}
            case "Efs":
                resources |= _efs(settings, one.name, id, one.efs_settings or EfsSettings())
                known[one.name] = {"Id": ref(id)}
            case _:
                assert one.fsx_lustre_settings is not None
                resources |= _lustre(settings, one.name, id, one.fsx_lustre_settings)
                known[one.name] = {"Id": ref(id), "Server": attribute(id, "DNSName"), "Path": _lustre_path(id)}
    if _needs_home(settings):
        resources |= _efs(settings, "home", "Home", EfsSettings.model_validate({"Encrypted": True}))
        known[HOME_NAME] = {"Id": ref("Home")}
    return Part(resources, made={("Clustermgtd", "StorageResources"): known} if known else {})


def has_network_file_system(settings: Settings) -> bool:
    """Some file system that is made takes connections: it needs a security group."""
    new = {one.storage_type for one in settings.shared_storage if not one.is_existing}
    return bool(new - {"Ebs"}) or _needs_home(settings)


def client_statements(settings: Settings) -> list[Value]:
    """EFS file systems that are mounted with the node's role."""
    found: list[Value] = []
    for one in settings.shared_storage:
        efs = one.efs_settings
        if efs is None or not efs.iam_authorization:
            continue
        arn = "arn:${AWS::Partition}:elasticfilesystem:${AWS::Region}:${AWS::AccountId}:file-system/"
        resource: Value = {"Fn::Sub": f"{arn}{efs.file_system_id}"}
        if efs.file_system_id is None:
            resource = attribute(logical("Storage", one.name), "Arn")
        actions = [f"elasticfilesystem:Client{what}" for what in ("Mount", "RootAccess", "Write")]
        found.append({"Effect": "Allow", "Action": actions, "Resource": resource})
    return found


def _needs_home(settings: Settings) -> bool:
    is_given = any(one.mount_point == HOME for one in settings.shared_storage)
    return settings.head_node.shared_storage_type == "Efs" and not is_given


def _kept(policy: str | None) -> dict[str, Value]:
    chosen = policy or "Delete"
    return {"DeletionPolicy": chosen, "UpdateReplacePolicy": chosen}


def _volumes(settings: Settings, one: SharedStorage, id: str) -> dict[str, Resource]:
    """In the head node's zone; several for an array."""
    ebs = one.ebs_settings or EbsSettings()
    size = ebs.size or (None if ebs.snapshot_id else _EBS_GIB)
    iops = ebs.iops or (100 if ebs.volume_type in ("io1", "io2") else None)
    properties = without_none(
        {
            "AvailabilityZone": attribute("Head", "AvailabilityZone"),
            "VolumeType": ebs.volume_type,
            "Size": size,
            "Iops": iops,
            "Throughput": ebs.throughput,
            "Encrypted": ebs.encrypted,
            "KmsKeyId": ebs.kms_key_id,
            "SnapshotId": ebs.snapshot_id,
            "Tags": tags(settings, one.name),
        }
    )
    count = ebs.raid.number_of_volumes if ebs.raid else 1
    names = [id] if count == 1 else [f"{id}Disk{number}" for number in range(count)]
    volume: Resource = {"Type": "AWS::EC2::Volume", **_kept(ebs.deletion_policy), "Properties": properties}
    return dict.fromkeys(names, volume)


def _attachment(volume: Value, device: str) -> Resource:
    return {
        "Type": "AWS::EC2::VolumeAttachment",
        "Properties": {"InstanceId": ref("Head"), "VolumeId": volume, "Device": device},
    }


def _efs(settings: Settings, name: str, id: str, efs: EfsSettings) -> dict[str, Resource]:
    """With a mount target in each subnet that is in a zone of its own."""
    properties = without_none(
        {
            "Encrypted": efs.encrypted,
            "KmsKeyId": efs.kms_key_id,
            "PerformanceMode": efs.performance_mode,
            "ThroughputMode": efs.throughput_mode,
            "ProvisionedThroughputInMibps": efs.provisioned_throughput,
            "FileSystemTags": tags(settings, name),
        }
    )
    made: dict[str, Resource] = {
        id: {"Type": "AWS::EFS::FileSystem", **_kept(efs.deletion_policy), "Properties": properties}
    }
    for number, subnet in enumerate(_one_per_zone(settings, name)):
        made[f"{id}Target{number}"] = {
            "Type": "AWS::EFS::MountTarget",
            "Properties": {
                "FileSystemId": ref(id),
                "SubnetId": subnet_id(subnet),
                "SecurityGroups": [attribute("StorageGroup", "GroupId")],
            },
        }
    return made


def _one_per_zone(settings: Settings, name: str) -> list[str]:
    """Subnets of head, compute and login nodes, one of each zone: EFS takes one mount target per zone.

    Raises:
        SettingsError: several of them exist, and only AWS knows whether they share a zone.
    """
    head = settings.head_node.networking.subnet_id
    queues = [subnet for queue in settings.scheduling.slurm_queues for subnet in queue.networking.subnet_ids]
    pools = () if settings.login_nodes is None else settings.login_nodes.pools
    every = dict.fromkeys([head, *queues, *(subnet for pool in pools for subnet in pool.networking.subnet_ids)])
    if len(every) > 1 and any(not subnet.startswith(NEW) for subnet in every):
        message = f"{name}: a new EFS file system needs to know which subnets share a zone"
        hint = "make it yourself and give its FileSystemId, or use new subnets (Clustermgtd.Network.Subnets) only"
        raise SettingsError([Problem("SharedStorage", message, suggestion=hint)])
    known = settings.clustermgtd.network.subnets
    found: dict[str, str] = {}
    for subnet in every:
        zone = known[subnet.removeprefix(NEW)].zone if subnet.startswith(NEW) else subnet
        found.setdefault(zone, subnet)
    return [*found.values()]


def _lustre(settings: Settings, name: str, id: str, lustre: FsxLustreSettings) -> dict[str, Resource]:
    """In the first queue's first subnet: near the nodes that use it."""
    configuration = without_none(
        {
            "DeploymentType": lustre.deployment_type,
            "PerUnitStorageThroughput": lustre.per_unit_storage_throughput,
            "ImportPath": lustre.import_path,
            "ExportPath": lustre.export_path,
            "ImportedFileChunkSize": lustre.imported_file_chunk_size,
            "AutoImportPolicy": lustre.auto_import_policy,
            "WeeklyMaintenanceStartTime": lustre.weekly_maintenance_start_time,
            "AutomaticBackupRetentionDays": lustre.automatic_backup_retention_days,
            "CopyTagsToBackups": lustre.copy_tags_to_backups,
            "DailyAutomaticBackupStartTime": lustre.daily_automatic_backup_start_time,
            "DriveCacheType": lustre.drive_cache_type,
            "DataCompressionType": lustre.data_compression_type,
        }
    )
    properties = without_none(
        {
            "FileSystemType": "LUSTRE",
            "StorageCapacity": lustre.storage_capacity,
            "StorageType": lustre.storage_type,
            "BackupId": lustre.backup_id,
            "KmsKeyId": lustre.kms_key_id,
            "SubnetIds": [subnet_id(settings.scheduling.slurm_queues[0].networking.subnet_ids[0])],
            "SecurityGroupIds": [attribute("StorageGroup", "GroupId")],
            "LustreConfiguration": configuration,
            "Tags": tags(settings, name),
        }
    )
    made: dict[str, Resource] = {
        id: {"Type": "AWS::FSx::FileSystem", **_kept(lustre.deletion_policy), "Properties": properties}
    }
    for link in lustre.data_repository_associations:
        made[logical(f"{id}Link", link.name)] = {
            "Type": "AWS::FSx::DataRepositoryAssociation",
            "Properties": _link(settings, id, link.model_dump(by_alias=True)),
        }
    return made


def _link(settings: Settings, id: str, link: Mapping[str, Value]) -> dict[str, Value]:
    policies = {
        name.removesuffix("Policy"): {"Events": list(events)}
        for name in ("AutoExportPolicy", "AutoImportPolicy")
        if isinstance(events := link[name], tuple) and events
    }
    return {
        "FileSystemId": ref(id),
        "DataRepositoryPath": link["DataRepositoryPath"],
        "FileSystemPath": link["FileSystemPath"],
        "BatchImportMetaDataOnCreate": link["BatchImportMetaDataOnCreate"],
        "ImportedFileChunkSize": link["ImportedFileChunkSize"],
        **({"S3": {f"{name}Policy": events for name, events in policies.items()}} if policies else {}),
        "Tags": tags(settings, str(link["Name"])),
    }


def _lustre_path(id: str) -> Value:
    return attribute(id, "LustreMountName")
