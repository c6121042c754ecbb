"""What a change of each key of cluster.yaml needs: one rule per key, beside the models.

`docs/reference/update-policy.md` is made from this table, the daemon's reload follows it, and
`clustermgtctl diff-config` applies it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Need(StrEnum):
    """What has to happen to running nodes for a change, from nothing to what cannot be had."""

    LIVE = "live"
    DRAIN = "drain"
    """Some nodes have to be empty of jobs: replaced, or gone."""
    FLEET_STOP = "fleet stop"
    """All nodes of a queue, or of the cluster, have to be gone for a while."""
    NOT_POSSIBLE = "not possible"

    @property
    def severity(self) -> int:
        """0 for `LIVE`, more for worse."""
        return list(Need).index(self)


class Rule(StrEnum):
    """How a change is taken over. `update_rules` says what each of them means."""

    RELOAD = "reload"
    RESTART = "restart"
    SLURM = "slurm.conf"
    SLURM_RESTART = "slurmctld"
    LAUNCHES = "launches"
    NODES = "nodes"
    TYPES = "types"
    MARKET = "market"
    SIZE = "size"
    MACHINES = "machines"
    HEAD = "head node"
    LOGIN = "login nodes"
    STACK = "stack"
    VOLUME = "volume"
    MEMORY = "memory"
    MUNGE = "munge"
    TABLE = "table"
    FIXED = "fixed"
    IDENTITY = "identity"
    NAME = "name"
    NONE = "none"


_R = Rule
READ_ONCE: Final = frozenset({_R.RESTART, _R.SLURM_RESTART, _R.TABLE, _R.IDENTITY})
"""Rules of keys that a running daemon does not take over: it refuses a reload that changes one."""

_SCRIPTS = "OnNodeStart.Script OnNodeStart.Args OnNodeStart.Sequence"
_SCRIPTS += " OnNodeConfigured.Script OnNodeConfigured.Args OnNodeConfigured.Sequence"
_UPDATED = "OnNodeUpdated.Script OnNodeUpdated.Args OnNodeUpdated.Sequence"
_TARGET = "CapacityReservationTarget.CapacityReservationId"
_TARGET += " CapacityReservationTarget.CapacityReservationResourceGroupArn"
_GROUP = "PlacementGroup.Enabled PlacementGroup.Id PlacementGroup.Name"

_TABLE: Final[Mapping[str, Mapping[Rule, str]]] = {
    "": {
        _R.IDENTITY: "Region",
        _R.NONE: "CustomS3Bucket AdditionalResources",
        _R.NODES: "Tags[] Tags[].Value",
        _R.NAME: "Tags[].Key",
        _R.MACHINES: "SharedStorage[]",
        _R.STACK: "Imds.ImdsSupport",
    },
    "Image": {_R.FIXED: "Os", _R.NODES: "CustomAmi"},
    "HeadNode": {
        _R.FIXED: "InstanceType DisableSimultaneousMultithreading SharedStorageType Image.CustomAmi",
        _R.STACK: "Ssh.AllowedIps Dcv.AllowedIps",
        _R.NODES: "Ssh.KeyName",
        _R.HEAD: "Dcv.Enabled Dcv.Port Imds.Secured",
    },
    "HeadNode.Networking": {
        _R.FIXED: "SubnetId ElasticIp",
        _R.STACK: "SecurityGroups AdditionalSecurityGroups",
        _R.HEAD: "Proxy.HttpProxyAddress",
    },
    "HeadNode.LocalStorage": {
        _R.VOLUME: "RootVolume.Size",
        _R.STACK: "RootVolume.VolumeType RootVolume.Iops RootVolume.Throughput RootVolume.DeleteOnTermination",
        _R.FIXED: "RootVolume.Encrypted EphemeralVolume.MountDir",
    },
    "HeadNode.CustomActions": {_R.NONE: _SCRIPTS, _R.HEAD: _UPDATED},
    "HeadNode.Iam": {_R.STACK: "InstanceProfile InstanceRole AdditionalIamPolicies S3Access"},
    "LoginNodes": {_R.LOGIN: "Pools[]"},
    "LoginNodes.Pools[]": {
        _R.NAME: "Name",
        _R.STACK: "Count GracetimePeriod Ssh.AllowedIps Dcv.AllowedIps",
        _R.LOGIN: "InstanceType Image.CustomAmi Ssh.KeyName Dcv.Enabled Dcv.Port",
    },
    "LoginNodes.Pools[].Networking": {
        _R.LOGIN: "SubnetIds SecurityGroups AdditionalSecurityGroups Proxy.HttpProxyAddress"
    },
    "LoginNodes.Pools[].CustomActions": {_R.LOGIN: f"{_SCRIPTS} {_UPDATED}"},
    "LoginNodes.Pools[].Iam": {_R.LOGIN: "InstanceProfile InstanceRole", _R.STACK: "AdditionalIamPolicies"},
    "Scheduling": {
        _R.FIXED: "Scheduler",
        _R.RELOAD: "ScalingStrategy",
        _R.SIZE: "SlurmQueues[]",
        _R.SLURM: "SlurmQueues",
    },
    "Scheduling.SlurmSettings": {
        _R.SLURM: "ScaledownIdletime CustomSlurmSettings CustomSlurmSettingsIncludeFile",
        _R.NONE: "QueueUpdateStrategy",
        _R.MEMORY: "EnableMemoryBasedScheduling",
        _R.MUNGE: "MungeKeySecretArn",
        _R.FIXED: "Dns.DisableManagedDns Dns.HostedZoneId Dns.UseEc2Hostnames",
    },
    "Scheduling.SlurmSettings.Database": {_R.HEAD: "Uri UserName PasswordSecretArn DatabaseName"},
    "Scheduling.SlurmSettings.ExternalSlurmdbd": {_R.HEAD: "Host Port"},
    "Scheduling.SlurmQueues[]": {
        _R.NAME: "Name Tags[].Key",
        _R.MARKET: "CapacityType",
        _R.LAUNCHES: "AllocationStrategy",
        _R.SLURM: "JobExclusiveAllocation CustomSlurmSettings HealthChecks.Gpu.Enabled",
        _R.SIZE: "ComputeResources[]",
        _R.NODES: f"{_TARGET} Image.CustomAmi Tags[] Tags[].Value",
    },
    "Scheduling.SlurmQueues[].ComputeSettings.LocalStorage": {
        _R.NODES: "RootVolume.Size RootVolume.Encrypted RootVolume.VolumeType RootVolume.Iops RootVolume.Throughput"
        " EphemeralVolume.MountDir",
    },
    "Scheduling.SlurmQueues[].CustomActions": {_R.NODES: _SCRIPTS},
    "Scheduling.SlurmQueues[].Iam": {
        _R.NODES: "InstanceProfile InstanceRole",
        _R.STACK: "AdditionalIamPolicies S3Access",
    },
    "Scheduling.SlurmQueues[].Networking": {
        _R.LAUNCHES: "SubnetIds",
        _R.NODES: f"SecurityGroups AdditionalSecurityGroups AssignPublicIp Proxy.HttpProxyAddress {_GROUP}",
    },
    "Scheduling.SlurmQueues[].ComputeResources[]": {
        _R.NAME: "Name Tags[].Key",
        _R.TYPES: "InstanceType Instances DisableSimultaneousMultithreading SchedulableMemory CustomSlurmSettings",
        _R.SIZE: "MinCount MaxCount",
        _R.LAUNCHES: "SpotPrice",
        _R.NODES: f"Efa.Enabled {_TARGET} Tags[] Tags[].Value",
        _R.NONE: "Efa.GdrSupport",
        _R.SLURM: "HealthChecks.Gpu.Enabled StaticNodePriority DynamicNodePriority",
    },
    "Scheduling.SlurmQueues[].ComputeResources[].Networking": {_R.NODES: _GROUP},
    "SharedStorage[]": {_R.NAME: "Name", _R.MACHINES: "MountDir", _R.FIXED: "StorageType"},
    "SharedStorage[].EbsSettings": {
        _R.VOLUME: "Size",
        _R.STACK: "VolumeType Iops Throughput DeletionPolicy",
        _R.FIXED: "Encrypted KmsKeyId SnapshotId Raid.Type Raid.NumberOfVolumes",
        _R.MACHINES: "VolumeId",
    },
    "SharedStorage[].EfsSettings": {
        _R.MACHINES: "FileSystemId AccessPointId EncryptionInTransit IamAuthorization",
        _R.STACK: "ThroughputMode ProvisionedThroughput DeletionPolicy",
        _R.FIXED: "Encrypted KmsKeyId PerformanceMode",
    },
    "SharedStorage[].FsxLustreSettings": {
        _R.MACHINES: "FileSystemId",
        _R.VOLUME: "StorageCapacity",
        _R.STACK: "AutoImportPolicy WeeklyMaintenanceStartTime AutomaticBackupRetentionDays DeletionPolicy"
        " DailyAutomaticBackupStartTime DataCompressionType PerUnitStorageThroughput DataRepositoryAssociations[]",
        _R.FIXED: "DeploymentType ImportPath ExportPath ImportedFileChunkSize CopyTagsToBackups BackupId KmsKeyId"
        " DriveCacheType StorageType",
    },
    "SharedStorage[].FsxLustreSettings.DataRepositoryAssociations[]": {
        _R.NAME: "Name",
        _R.STACK: "AutoExportPolicy AutoImportPolicy ImportedFileChunkSize",
        _R.FIXED: "DataRepositoryPath FileSystemPath BatchImportMetaDataOnCreate",
    },
    "SharedStorage[].FsxOpenZfsSettings": {_R.MACHINES: "VolumeId"},
    "SharedStorage[].FsxOntapSettings": {_R.MACHINES: "VolumeId"},
    "SharedStorage[].FileCacheSettings": {_R.MACHINES: "FileCacheId"},
    "Monitoring": {
        _R.NODES: "DetailedMonitoring",
        _R.MACHINES: "Logs.CloudWatch.Enabled Logs.Rotation.Enabled",
        _R.STACK: "Logs.CloudWatch.RetentionInDays Logs.CloudWatch.DeletionPolicy Dashboards.CloudWatch.Enabled"
        " Alarms.Enabled",
    },
    "AdditionalPackages": {_R.MACHINES: "IntelSoftware.IntelHpcPlatform"},
    "Iam": {_R.STACK: "PermissionsBoundary", _R.FIXED: "ResourcePrefix", _R.NONE: "Roles.LambdaFunctionsRole"},
    "DirectoryService": {
        _R.MACHINES: "DomainName DomainAddr PasswordSecretArn DomainReadOnlyUser LdapTlsCaCert LdapTlsReqCert"
        " LdapAccessFilter GenerateSshKeysForUsers AdditionalSssdConfigs",
    },
    "DeploymentSettings": {
        _R.NONE: "LambdaFunctionsVpcConfig.SecurityGroupIds LambdaFunctionsVpcConfig.SubnetIds",
        _R.MACHINES: "DisableSudoAccessForDefaultUser",
        _R.FIXED: "DefaultUserHome",
    },
    "DevSettings": {
        _R.NONE: "ClusterTemplate InstanceTypesData ComputeStartupTimeMetricEnabled NodePackage AwsBatchCliPackage"
        " AmiSearchFilters.Owner AmiSearchFilters.Tags[] AmiSearchFilters.Tags[].Value Cookbook.ChefCookbook"
        " Cookbook.ExtraChefAttributes",
        _R.NAME: "AmiSearchFilters.Tags[].Key",
        _R.STACK: "Timeouts.HeadNodeBootstrapTimeout",
        _R.SLURM: "Timeouts.ComputeNodeBootstrapTimeout",
    },
    "Clustermgtd": {
        _R.IDENTITY: "ClusterName",
        _R.TABLE: "Table",
        _R.RELOAD: "PeriodSeconds TierReturnSeconds JobTags Launch.* Termination.* Protection.* Governor.* Gangs.*"
        " Interruptions.* Health.*",
        _R.RESTART: "Hooks.* Metrics.* Log.* Prices.* Quotas.* Events.*",
        _R.SLURM: "ScaledownIdletimeSeconds ResumeTimeoutSeconds SuspendTimeoutSeconds Schedules.<name>.* Licenses",
        _R.TYPES: "CapacityTiers InstanceTypes.<name>.*",
        _R.NODES: "ScriptChecksums",
    },
    "Clustermgtd.Accounting": {_R.HEAD: "LocalDatabase"},
    "Clustermgtd.StorageResources.<name>": {_R.MACHINES: "VolumeIds Id Server Path"},
    "Clustermgtd.Queues.<name>": {
        _R.SLURM: "ScaledownIdletimeSeconds ResumeTimeoutSeconds SuspendTimeoutSeconds"
        " ComputeResources.<name>.ScaledownIdletimeSeconds",
        _R.TYPES: "CapacityTiers ComputeResources.<name>.CapacityTiers",
    },
    "Clustermgtd.Slurm": {
        _R.RESTART: "Backend PyslurmPython CommandDeadlineSeconds BinDir ConfFile NamesResolve"
        " StartGate.MaxWaiting StartGate.DeadlineSeconds StartGate.Prolog",
        _R.SLURM_RESTART: "CloudRegAddrs StartGate.Enabled",
    },
    "Clustermgtd.Offerings": {
        _R.RELOAD: "BanSeconds UnsupportedSeconds ConfigurationSeconds ForgetSeconds ProbeNodes HoldNodes",
        _R.RESTART: "SubnetRefreshSeconds",
    },
    "Clustermgtd.Network": {
        _R.FIXED: "VpcId Vpc.*",
        _R.STACK: "Subnets.<name>.* Outbound NatSubnetId PrivateZone",
    },
    "Clustermgtd.Infrastructure": {
        _R.STACK: "HeadNodeRecovery Database.InstanceClass Database.EngineVersion"
        " Database.Storage Database.StorageMax Database.MultiZone"
        " Database.BackupDays Database.DeletionPolicy",
        _R.FIXED: "Database.SubnetIds",
    },
    "Clustermgtd.CapacityBlocks": {_R.RELOAD: "DrainMinutes", _R.RESTART: "RefreshSeconds"},
    "Clustermgtd.NodeAgent": {
        _R.RELOAD: "ReportSeconds DeadManSwitch.HeartbeatSeconds",
        _R.NODES: "GiveUpSeconds ConfServer ConfigureAtBoot InterruptionHook InterruptionHookSeconds HealthCheck.*"
        " DeadManSwitch.Enabled DeadManSwitch.IdleSeconds DeadManSwitch.JobSeconds DeadManSwitch.UnreadableSeconds",
    },
}


def _flat() -> dict[str, Rule]:
    flat: dict[str, Rule] = {}
    for section, rules in _TABLE.items():
        for rule, keys in rules.items():
            for key in keys.split():
                pattern = f"{section}.{key}" if section else key
                assert pattern not in flat, pattern
                flat[pattern] = rule
    return flat


RULES: Final[Mapping[str, Rule]] = _flat()
"""Rule by path pattern: `[]` is any entry of a list whose entries have names (on its own: an entry that comes or goes),
`<name>` any key of a mapping, a final `*` everything below a section of one rule."""


def rule_of(pattern: str) -> Rule:
    """The rule of a key, as `config_diff.keys` spells it.

    Raises:
        KeyError: the table has none; a test makes sure that this cannot happen.
    """
    if pattern in RULES:
        return RULES[pattern]
    section = pattern
    while section:
        section = section.rpartition(".")[0]
        if f"{section}.*" in RULES:
            return RULES[f"{section}.*"]
    raise KeyError(pattern)
