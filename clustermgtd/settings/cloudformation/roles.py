"""IAM roles and instance profiles: what docs/reference/iam.md allows, and what cluster.yaml adds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clustermgtd.settings.cloudformation.messages import queue_name
from clustermgtd.settings.cloudformation.parts import (
    Part,
    Resource,
    Value,
    attribute,
    logical,
    ref,
    sub,
    substituted,
    tags,
    without_none,
)
from clustermgtd.settings.cluster import Settings
from clustermgtd.settings.common import AdditionalIamPolicy, BaseIam, Iam, S3Access
from clustermgtd.settings.permissions import Policy, statements

_MADE_BY_THE_STACK = frozenset({"dynamodb:CreateTable", "dynamodb:TagResource", "dynamodb:UpdateTimeToLive"})
"""The daemon needs these only where nobody makes the table for it."""


@dataclass(frozen=True, slots=True)
class Grants:
    """What machines of one kind may do, beside what cluster.yaml gives them."""

    statements: tuple[Value, ...] = ()
    """Of one inline policy."""


def roles(settings: Settings, head: Grants, compute: Grants, login: Grants) -> Part:
    """A role for the head node, for each queue and each login pool, unless cluster.yaml names one.

    The head node's copy of cluster.yaml names the queues' instance profiles.
    """
    resources: dict[str, Resource] = {}
    made: dict[tuple[str | int, ...], Value] = {}
    passed: list[Value] = []
    for index, queue in enumerate(settings.scheduling.slurm_queues):
        id = logical("Queue", queue.name)
        own = (*_agent(settings), *compute.statements, *_s3(queue.iam.s3_access))
        resources |= _machine(settings, id, queue.iam, own)
        passed.append(_role_arn(id, queue.iam))
        if queue.iam.instance_profile is None:
            place = ("Scheduling", "SlurmQueues", index, "Iam")
            made[place] = {"InstanceProfile": attribute(f"{id}Profile", "Arn")}
    for pool in () if settings.login_nodes is None else settings.login_nodes.pools:
        resources |= _machine(settings, logical("Login", pool.name), pool.iam, login.statements)
    iam = settings.head_node.iam
    own = (*_daemon(settings, passed), *head.statements, *_s3(iam.s3_access))
    resources |= _machine(settings, "Head", iam, own)
    return Part(resources, made=made)


def profile_of(id: str, iam: BaseIam) -> Value:
    """The name of the instance profile, for an instance or a launch template."""
    if iam.instance_profile is not None:
        return iam.instance_profile.rpartition("/")[2]
    return ref(f"{id}Profile")


def _machine(settings: Settings, id: str, iam: BaseIam, own: Iterable[Value]) -> Mapping[str, Resource]:
    """Nothing if cluster.yaml gives a profile; a profile alone if it gives a role."""
    if iam.instance_profile is not None:
        return {}
    given = iam.instance_role
    path, prefix = _prefix(settings)
    role = given.rpartition("/")[2] if given else ref(f"{id}Role")
    profile: Resource = {
        "Type": "AWS::IAM::InstanceProfile",
        "Properties": without_none({"Roles": [role], "Path": path}),
    }
    if given is not None:
        return {f"{id}Profile": profile}
    policies = [{"PolicyName": "clustermgtd", "PolicyDocument": {"Version": "2012-10-17", "Statement": [*own]}}]
    properties = {
        "AssumeRolePolicyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"Service": _ec2_service()}, "Action": "sts:AssumeRole"},
            ],
        },
        "RoleName": f"{prefix}{settings.cluster_name}-{id}"[:64] if prefix else None,
        "Path": path,
        "PermissionsBoundary": settings.iam.permissions_boundary,
        "ManagedPolicyArns": _arns(iam.additional_iam_policies) or None,
        "Policies": policies if policies[0]["PolicyDocument"]["Statement"] else None,  # type: ignore[index]
        "Tags": tags(settings),
    }
    return {f"{id}Role": {"Type": "AWS::IAM::Role", "Properties": without_none(properties)}, f"{id}Profile": profile}


def _ec2_service() -> Value:
    return sub("ec2.${AWS::URLSuffix}")


def _prefix(settings: Settings) -> tuple[str | None, str]:
    """Path and beginning of the name, from `Iam.ResourcePrefix`: `/path/`, `name-`, or both together."""
    given = settings.iam.resource_prefix or ""
    path, slash, name = given.rpartition("/")
    return (path + slash) or None, name


def _arns(policies: Iterable[AdditionalIamPolicy]) -> list[Value]:
    return [policy.policy for policy in policies]


def _role_arn(id: str, iam: Iam) -> Value:
    """Of a profile that is given, only its name is known: its role is expected to have the same."""
    if iam.instance_profile is not None:
        return iam.instance_profile.replace(":instance-profile/", ":role/", 1)
    return iam.instance_role or attribute(f"{id}Role", "Arn")


def _daemon(settings: Settings, passed: list[Value]) -> list[Value]:
    found: list[Value] = []
    for statement in statements(Policy.DAEMON, _names(settings)):
        actions = statement["Action"]
        if isinstance(actions, list):
            statement["Action"] = [action for action in actions if action not in _MADE_BY_THE_STACK]
        placed = _placed(statement)
        if actions == "iam:PassRole":
            placed["Resource"] = passed
        found.append(placed)
    return found


def _agent(settings: Settings) -> list[Value]:
    return [_placed(statement) for statement in statements(Policy.NODE_AGENT, _names(settings))]


def _placed(statement: Mapping[str, Value]) -> dict[str, Value]:
    """A documented statement, in whatever partition, Region and account the stack is."""
    placed = substituted(_in_partition(dict(statement)))
    assert isinstance(placed, dict)
    return placed


def _in_partition(value: Value) -> Value:
    if isinstance(value, str):
        return value.replace("arn:aws:", "arn:${AWS::Partition}:")
    if isinstance(value, list):
        return [_in_partition(item) for item in value]
    if isinstance(value, dict):
        return {key: _in_partition(item) for key, item in value.items()}
    return value


def _names(settings: Settings) -> dict[str, str]:
    url = settings.clustermgtd.events.queue_url
    return {
        "REGION": "${AWS::Region}",
        "ACCOUNT": "${AWS::AccountId}",
        "CLUSTER": settings.cluster_name,
        "TABLE": settings.clustermgtd.table_name,
        "QUEUE": url.rpartition("/")[2] if url else queue_name(settings),
    }


def _s3(buckets: Iterable[S3Access]) -> list[Value]:
    """Listing a bucket, and reading (and writing) what is in it."""
    found: list[Value] = []
    for bucket in buckets:
        arn = f"arn:${{AWS::Partition}}:s3:::{bucket.bucket_name}"
        key = (bucket.key_name or "*").lstrip("/")
        actions = ["s3:GetObject", "s3:GetObjectVersion"]
        if bucket.enable_write_access:
            actions += ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:ListMultipartUploadParts", "s3:PutObject"]
        found += [
            {"Effect": "Allow", "Action": ["s3:GetBucketLocation", "s3:ListBucket"], "Resource": sub(arn)},
            {"Effect": "Allow", "Action": actions, "Resource": sub(f"{arn}/{key}")},
        ]
    return found
