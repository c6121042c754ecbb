"""Secrets that are made with the cluster, and who may read which."""

from __future__ import annotations

from clustermgtd.settings.cloudformation.parts import Part, Resource, Value, ref, tags
from clustermgtd.settings.cluster import Settings

MUNGE_KEY = "MungeKey"
DATABASE_PASSWORD = "DatabasePassword"  # noqa: S105 - a logical id
DATABASE_USER = "slurm"
_MUNGE_CHARACTERS = 128
"""Letters and digits are base64, and 128 of them are 96 bytes; munge takes 32 to 1024."""
_PASSWORD_CHARACTERS = 40


def secrets(settings: Settings) -> Part:
    """munge's key unless cluster.yaml names one, and the password of a database that is made."""
    resources: dict[str, Resource] = {}
    made: dict[tuple[str | int, ...], Value] = {}
    at = ("Scheduling", "SlurmSettings")
    if settings.scheduling.slurm_settings.munge_key_secret_arn is None:
        resources[MUNGE_KEY] = _secret(settings, "munge's key, in base64", _MUNGE_CHARACTERS)
        made[(*at, "MungeKeySecretArn")] = ref(MUNGE_KEY)
    if settings.clustermgtd.infrastructure.database is not None:
        resources[DATABASE_PASSWORD] = _secret(settings, "password of Slurm's accounting", _PASSWORD_CHARACTERS)
    return Part(resources, made=made)


def of_every_machine(settings: Settings) -> list[Value]:
    """ARNs of what head, login and compute nodes read."""
    slurm = settings.scheduling.slurm_settings
    found: list[Value] = [slurm.munge_key_secret_arn or ref(MUNGE_KEY)]
    if settings.directory_service is not None:
        found.append(settings.directory_service.password_secret_arn)
    return found


def of_the_head_node(settings: Settings) -> list[Value]:
    """ARNs of what the head node alone reads."""
    if settings.clustermgtd.infrastructure.database is not None:
        return [ref(DATABASE_PASSWORD)]
    database = settings.scheduling.slurm_settings.database
    return [database.password_secret_arn] if database is not None else []


def _secret(settings: Settings, description: str, characters: int) -> Resource:
    return {
        "Type": "AWS::SecretsManager::Secret",
        "UpdateReplacePolicy": "Delete",
        "DeletionPolicy": "Delete",
        "Properties": {
            "Description": f"Cluster {settings.cluster_name}: {description}",
            "GenerateSecretString": {"PasswordLength": characters, "ExcludePunctuation": True},
            "Tags": tags(settings),
        },
    }
