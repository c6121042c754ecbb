"""The log group of the machines' logs."""

from __future__ import annotations

from clustermgtd.settings.cloudformation.parts import Part, Value, attribute, ref, tags
from clustermgtd.settings.cluster import Settings


def logs(settings: Settings) -> Part:
    """One group, kept as `Monitoring.Logs.CloudWatch` says; nothing if that is off."""
    wanted = settings.monitoring.logs.cloud_watch
    if not wanted.enabled:
        return Part()
    properties: dict[str, Value] = {"LogGroupName": f"/clustermgtd/{settings.cluster_name}", "Tags": tags(settings)}
    if wanted.retention_in_days:
        properties["RetentionInDays"] = wanted.retention_in_days
    return Part(
        {
            "Logs": {
                "Type": "AWS::Logs::LogGroup",
                "DeletionPolicy": wanted.deletion_policy,
                "UpdateReplacePolicy": wanted.deletion_policy,
                "Properties": properties,
            }
        },
        outputs={"LogGroup": ref("Logs")},
    )


def writing(settings: Settings) -> list[Value]:
    """What a machine that writes its logs there may do."""
    if not settings.monitoring.logs.cloud_watch.enabled:
        return []
    actions = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    return [{"Effect": "Allow", "Action": actions, "Resource": attribute("Logs", "Arn")}]
