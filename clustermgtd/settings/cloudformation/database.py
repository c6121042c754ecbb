"""The database of Slurm's accounting, in RDS (`Clustermgtd.Infrastructure.Database`)."""

from __future__ import annotations

from clustermgtd.settings.cloudformation.parts import Part, attribute, ref, sub, tags
from clustermgtd.settings.cloudformation.secrets import DATABASE_PASSWORD, DATABASE_USER
from clustermgtd.settings.cloudformation.vpc import subnet_id
from clustermgtd.settings.cluster import Settings

_PARAMETERS = {
    "innodb_lock_wait_timeout": "900",
    # slurmdbd makes stored functions, which the binary log (backups) otherwise keeps for users of more rights
    "log_bin_trust_function_creators": "1",
    "max_allowed_packet": str(16 * 1024 * 1024),
    "require_secure_transport": "1",
}
"""Slurm's advice for its database, and TLS for everybody who connects."""


def database(settings: Settings) -> Part:
    """MariaDB, reachable from the head node alone; the head node's cluster.yaml gets it as its Database."""
    wanted = settings.clustermgtd.infrastructure.database
    if wanted is None:
        return Part()
    return Part(
        resources={
            "DatabaseSubnets": {
                "Type": "AWS::RDS::DBSubnetGroup",
                "Properties": {
                    "DBSubnetGroupDescription": f"Accounting of cluster {settings.cluster_name}",
                    "SubnetIds": [subnet_id(subnet) for subnet in wanted.subnet_ids],
                    "Tags": tags(settings),
                },
            },
            "DatabaseParameters": {
                "Type": "AWS::RDS::DBParameterGroup",
                "Properties": {
                    "Description": f"Accounting of cluster {settings.cluster_name}",
                    "Family": "mariadb" + wanted.engine_version.rpartition(".")[0],
                    "Parameters": dict(_PARAMETERS),
                    "Tags": tags(settings),
                },
            },
            "Database": {
                "Type": "AWS::RDS::DBInstance",
                "DeletionPolicy": wanted.deletion_policy,
                "UpdateReplacePolicy": wanted.deletion_policy,
                "Properties": {
                    "Engine": "mariadb",
                    "EngineVersion": wanted.engine_version,
                    "DBParameterGroupName": ref("DatabaseParameters"),
                    "DBInstanceClass": wanted.instance_class,
                    "AllocatedStorage": str(wanted.storage),
                    "MaxAllocatedStorage": wanted.storage_max,
                    "StorageType": "gp3",
                    "StorageEncrypted": True,
                    "MasterUsername": DATABASE_USER,
                    "MasterUserPassword": sub(f"{{{{resolve:secretsmanager:${{{DATABASE_PASSWORD}}}:SecretString}}}}"),
                    "DBSubnetGroupName": ref("DatabaseSubnets"),
                    "VPCSecurityGroups": [attribute("DatabaseGroup", "GroupId")],
                    "MultiAZ": wanted.is_multi_zone,
                    "BackupRetentionPeriod": wanted.backup_days,
                    "PubliclyAccessible": False,
                    "CopyTagsToSnapshot": True,
                    "Tags": tags(settings, "accounting"),
                },
            },
        },
        made={
            ("Scheduling", "SlurmSettings", "Database"): {
                "Uri": sub("${Database.Endpoint.Address}:${Database.Endpoint.Port}"),
                "UserName": DATABASE_USER,
                "PasswordSecretArn": ref(DATABASE_PASSWORD),
            },
            # made by now: the head node's cluster.yaml has a Database
            ("Clustermgtd", "Infrastructure", "Database"): None,
        },
    )
