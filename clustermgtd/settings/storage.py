"""`SharedStorage[]`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import Field

from clustermgtd.settings.common import DeletionPolicy, VolumeType, volume_findings
from clustermgtd.settings.section import AbsolutePath, Finding, Section, StorageName

HOME: Final = "/home"
HOME_NAME: Final = "cluster-home"
"""Name of the shared /home among the file systems, where no SharedStorage is mounted there."""
ImportedFileChunkSize = Annotated[int, Field(ge=1, le=512000)]


class Raid(Section):
    """Several EBS volumes as one array."""

    type: Literal[0, 1]
    """RAID level."""
    number_of_volumes: Annotated[int, Field(ge=2, le=5)] = 2
    """Volumes in the array."""


class EbsSettings(Section):
    """A volume of the head node, exported by NFS."""

    volume_type: VolumeType = "gp3"
    """EBS volume type."""
    iops: Annotated[int, Field(ge=100, le=256000)] | None = None
    """I/O operations a second; default: 3000 for gp3, 100 for io1 and io2."""
    size: Annotated[int, Field(ge=1, le=65536)] | None = None
    """GiB; default: 40, or the snapshot's."""
    throughput: Annotated[int, Field(ge=125, le=2000)] | None = None
    """MiB/s, gp3 only; default: 125."""
    encrypted: bool = True
    """Encrypt it."""
    kms_key_id: str | None = None
    """KMS key; default: the account's EBS key."""
    snapshot_id: Annotated[str, Field(pattern=r"^snap-([0-9a-z]{8}|[0-9a-z]{17})$")] | None = None
    """Start from this snapshot."""
    volume_id: Annotated[str, Field(pattern=r"^vol-([0-9a-z]{8}|[0-9a-z]{17})$")] | None = None
    """Use this volume instead of a new one."""
    raid: Raid | None = None
    deletion_policy: Literal["Delete", "Retain", "Snapshot"] | None = None
    """What becomes of it with the cluster; default: Delete, and nothing for VolumeId."""

    def findings(self) -> Iterator[Finding]:
        if self.iops is not None or self.volume_type not in ("io1", "io2"):
            yield from volume_findings(self.volume_type, self.iops, self.throughput)
        if self.volume_id and self.snapshot_id:
            yield Finding(("SnapshotId",), "VolumeId and SnapshotId cannot be given together")
        if self.volume_id and self.raid:
            yield Finding(("Raid",), "Raid makes new volumes and cannot use VolumeId")
        if self.volume_id and self.deletion_policy:
            yield Finding(("DeletionPolicy",), "an existing volume (VolumeId) is never deleted")
        if not self.encrypted and self.kms_key_id:
            yield Finding(("KmsKeyId",), "needs Encrypted: true")


class EfsSettings(Section):
    """An EFS file system."""

    file_system_id: Annotated[str, Field(pattern=r"^fs-([0-9a-z]{8}|[0-9a-z]{17})$")] | None = None
    """Use this file system instead of a new one."""
    encrypted: bool = False
    """Encrypt it at rest."""
    kms_key_id: str | None = None
    """KMS key; default: the account's EFS key."""
    performance_mode: Literal["generalPurpose", "maxIO"] = "generalPurpose"
    """EFS performance mode."""
    throughput_mode: Literal["bursting", "provisioned"] = "bursting"
    """EFS throughput mode."""
    provisioned_throughput: Annotated[int, Field(ge=1, le=1024)] | None = None
    """MiB/s, for ThroughputMode: provisioned."""
    access_point_id: Annotated[str, Field(pattern=r"^fsap-[0-9a-z]{17}$")] | None = None
    """Mount through this access point."""
    encryption_in_transit: bool = False
    """Mount with TLS."""
    iam_authorization: bool = False
    """Mount with the node's role."""
    deletion_policy: DeletionPolicy | None = None
    """What becomes of it with the cluster; default: Delete, and nothing for FileSystemId."""

    def findings(self) -> Iterator[Finding]:
        is_provisioned = self.throughput_mode == "provisioned"
        if is_provisioned and self.provisioned_throughput is None:
            yield Finding(("ThroughputMode",), "provisioned needs ProvisionedThroughput")
        if self.provisioned_throughput is not None and not is_provisioned:
            yield Finding(("ProvisionedThroughput",), "needs ThroughputMode: provisioned")
        if self.kms_key_id and not self.encrypted:
            yield Finding(("KmsKeyId",), "needs Encrypted: true")
        if self.iam_authorization and not self.encryption_in_transit:
            yield Finding(("IamAuthorization",), "needs EncryptionInTransit: true")
        if self.access_point_id and not self.encryption_in_transit:
            yield Finding(("AccessPointId",), "needs EncryptionInTransit: true")
        if self.file_system_id and self.deletion_policy:
            yield Finding(("DeletionPolicy",), "an existing file system (FileSystemId) is never deleted")


class DataRepositoryAssociation(Section):
    """A link between a folder of the file system and a bucket."""

    name: StorageName
    """Unique in the file system."""
    data_repository_path: Annotated[str, Field(pattern=r"^s3://.+$")]
    """s3:// URL."""
    file_system_path: AbsolutePath
    """Folder in the file system."""
    batch_import_meta_data_on_create: bool = False
    """Import the bucket's listing at once."""
    imported_file_chunk_size: ImportedFileChunkSize = 1024
    """MiB per Lustre object."""
    auto_export_policy: Annotated[tuple[Literal["NEW", "CHANGED", "DELETED"], ...], Field(max_length=3)] = ()
    """What is written to the bucket."""
    auto_import_policy: Annotated[tuple[Literal["NEW", "CHANGED", "DELETED"], ...], Field(max_length=3)] = ()
    """What is read from the bucket."""


class FsxLustreSettings(Section):
    """An FSx for Lustre file system."""

    file_system_id: Annotated[str, Field(pattern=r"^fs-[0-9a-z]{17}$")] | None = None
    """Use this file system instead of a new one."""
    storage_capacity: Annotated[int, Field(ge=1)] | None = None
    """GiB; required for a new file system."""
    deployment_type: Literal["SCRATCH_1", "SCRATCH_2", "PERSISTENT_1", "PERSISTENT_2"] = "SCRATCH_2"
    """FSx deployment type."""
    per_unit_storage_throughput: Literal[12, 40, 50, 100, 125, 200, 250, 500, 1000] | None = None
    """MB/s per TiB; for persistent file systems."""
    import_path: Annotated[str, Field(pattern=r"^s3://.+$")] | None = None
    """Bucket to read from."""
    export_path: Annotated[str, Field(pattern=r"^s3://.+$")] | None = None
    """Bucket to write to."""
    imported_file_chunk_size: ImportedFileChunkSize | None = None
    """MiB per Lustre object; default: 1024."""
    auto_import_policy: Literal["NEW", "NEW_CHANGED", "NEW_CHANGED_DELETED"] | None = None
    """What follows the bucket."""
    weekly_maintenance_start_time: Annotated[str, Field(pattern=r"^[1-7]:([01]\d|2[0-3]):[0-5]\d$")] | None = None
    """`d:HH:MM`, d from 1 (Monday), UTC; put it in quotes."""
    automatic_backup_retention_days: Annotated[int, Field(ge=0, le=35)] | None = None
    """Days; 0 is no backups."""
    copy_tags_to_backups: bool | None = None
    """Tag backups as the file system."""
    daily_automatic_backup_start_time: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] | None = None
    """`HH:MM`, UTC; put it in quotes."""
    backup_id: Annotated[str, Field(pattern=r"^backup-[0-9a-f]{8,}$")] | None = None
    """Restore this backup."""
    kms_key_id: str | None = None
    """KMS key; default: the account's FSx key."""
    drive_cache_type: Literal["READ"] | None = None
    """For HDD file systems."""
    data_compression_type: Literal["LZ4"] | None = None
    """Compression."""
    storage_type: Literal["HDD", "SSD"] | None = None
    """Default: SSD."""
    deletion_policy: DeletionPolicy | None = None
    """What becomes of it with the cluster; default: Delete, and nothing for FileSystemId."""
    data_repository_associations: tuple[DataRepositoryAssociation, ...] = ()
    """Links to buckets."""

    def findings(self) -> Iterator[Finding]:
        is_persistent = self.deployment_type.startswith("PERSISTENT")
        if self.file_system_id:
            others = sorted(self.model_fields_set - {"file_system_id"})
            if others:
                names = ", ".join(FsxLustreSettings.model_fields[name].alias or name for name in others)
                yield Finding(("FileSystemId",), f"an existing file system is used as it is; remove {names}")
            return
        if self.storage_capacity is None and self.backup_id is None:
            yield Finding((), "a new file system needs StorageCapacity", "or name an existing one: FileSystemId")
        if self.per_unit_storage_throughput and not is_persistent:
            yield Finding(("PerUnitStorageThroughput",), f"cannot be set for DeploymentType {self.deployment_type}")
        if is_persistent and self.per_unit_storage_throughput is None:
            yield Finding(("DeploymentType",), f"{self.deployment_type} needs PerUnitStorageThroughput")
        if self.export_path and not self.import_path:
            yield Finding(("ExportPath",), "needs ImportPath")
        if self.auto_import_policy and not self.import_path:
            yield Finding(("AutoImportPolicy",), "needs ImportPath")
        if self.data_repository_associations and (self.import_path or self.export_path):
            yield Finding(("DataRepositoryAssociations",), "cannot be given together with ImportPath or ExportPath")


class FsxVolumeSettings(Section):
    """An existing FSx for OpenZFS or ONTAP volume."""

    volume_id: Annotated[str, Field(pattern=r"^fsvol-[0-9a-f]{17}$")]
    """Id of the volume."""


class FileCacheSettings(Section):
    """An existing Amazon File Cache."""

    file_cache_id: Annotated[str, Field(pattern=r"^fc-[0-9a-f]{8,18}$")]
    """Id of the cache."""


SETTINGS_OF = {
    "Ebs": "EbsSettings",
    "Efs": "EfsSettings",
    "FsxLustre": "FsxLustreSettings",
    "FsxOpenZfs": "FsxOpenZfsSettings",
    "FsxOntap": "FsxOntapSettings",
    "FileCache": "FileCacheSettings",
}
"""Which settings belong to which StorageType."""

_OF_THE_SYSTEM = (
    "bin boot dev etc lib lib64 media mnt opt opt/parallelcluster opt/parallelcluster/shared "
    "opt/parallelcluster/shared_login_nodes opt/slurm opt/intel proc root run sbin srv sys tmp usr var"
)
RESERVED_DIRS = frozenset({"/", *(f"/{name}" for name in _OF_THE_SYSTEM.split())})
"""Mounting over these would hide the system's own files."""


class StorageResource(Section):
    """What ParallelCluster's keys do not say about a file system; AWS's Describe calls show it."""

    volume_ids: tuple[str, ...] = ()
    """EBS volumes: one, or those of an array in their order."""
    id: str = ""
    """File system id."""
    server: str = ""
    """DNS name of what FSx or File Cache serves it with."""
    path: str = ""
    """MountName, VolumePath or JunctionPath there."""


class SharedStorage(Section):
    """One shared file system."""

    mount_dir: Annotated[str, Field(min_length=1)]
    """Where every node mounts it; a relative path is taken from `/`."""
    name: StorageName
    """Unique in the cluster."""
    storage_type: Literal["Ebs", "Efs", "FsxLustre", "FsxOpenZfs", "FsxOntap", "FileCache"]
    """Kind of storage."""
    ebs_settings: EbsSettings | None = None
    efs_settings: EfsSettings | None = None
    fsx_lustre_settings: FsxLustreSettings | None = None
    fsx_open_zfs_settings: FsxVolumeSettings | None = None
    fsx_ontap_settings: FsxVolumeSettings | None = None
    file_cache_settings: FileCacheSettings | None = None

    def findings(self) -> Iterator[Finding]:
        wanted = SETTINGS_OF[self.storage_type]
        given = self.given(
            "ebs_settings",
            "efs_settings",
            "fsx_lustre_settings",
            "fsx_open_zfs_settings",
            "fsx_ontap_settings",
            "file_cache_settings",
        )
        for name in given:
            if name != wanted:
                yield Finding((name,), f"does not belong to StorageType {self.storage_type}", f"it takes {wanted}")
        if wanted not in given and self.storage_type not in ("Ebs", "Efs"):
            yield Finding(("StorageType",), f"{self.storage_type} needs {wanted}")
        if self.mount_point in RESERVED_DIRS:
            yield Finding(("MountDir",), f"{self.mount_point} belongs to the system and cannot be mounted over")
        if ".." in self.mount_point.split("/"):
            yield Finding(("MountDir",), "must not hold `..`")

    @property
    def mount_point(self) -> str:
        """The absolute path."""
        return "/" + self.mount_dir.strip("/")

    @property
    def is_existing(self) -> bool:
        """The file system was made by others and stays when the cluster goes."""
        ebs, efs, lustre = self.ebs_settings, self.efs_settings, self.fsx_lustre_settings
        match self.storage_type:
            case "Ebs":
                return ebs is not None and ebs.volume_id is not None
            case "Efs":
                return efs is not None and efs.file_system_id is not None
            case "FsxLustre":
                return lustre is not None and lustre.file_system_id is not None
            case _:
                return True


def storage_findings(storages: tuple[SharedStorage, ...]) -> Iterator[Finding]:
    """Limits on the number of file systems of a kind; locations from the list."""
    limits = {"Ebs": (5, 5), "Efs": (1, 20), "Fsx": (1, 20)}
    counts: dict[tuple[str, bool], int] = {}
    for index, storage in enumerate(storages):
        kind = storage.storage_type if storage.storage_type in ("Ebs", "Efs") else "Fsx"
        key = (kind, storage.is_existing and kind != "Ebs")
        counts[key] = counts.get(key, 0) + 1
        limit = limits[kind][1 if storage.is_existing else 0]
        if counts[key] == limit + 1:
            which = "" if kind == "Ebs" else "existing " if storage.is_existing else "new "
            yield Finding((index,), f"at most {limit} {which}{kind} file systems can be mounted")
