"""The queue of what AWS announces, and the rules that fill it (docs/reference/events.md)."""

from __future__ import annotations

from clustermgtd.settings.cloudformation.parts import Part, Resource, Value, attribute, ref, sub, tags
from clustermgtd.settings.cluster import Settings

RETENTION_S = 3600
"""Older announcements are of no use."""
DEAD_LETTER_RETENTION_S = 14 * 86_400
RECEIVES_MAX = 20
"""A message that comes back so often, because the daemon did not live to store its effect, is put aside."""

PATTERNS: dict[str, dict[str, Value]] = {
    "instances": {
        "source": ["aws.ec2"],
        "detail-type": [
            "EC2 Spot Instance Interruption Warning",
            "EC2 Instance Rebalance Recommendation",
            "EC2 Instance State-change Notification",
            "EC2 Capacity Reservation Instance Interruption Warning",
            "EC2 Interruptible Capacity Reservation Instance Interruption Warning",
            "Capacity Block Reservation Expiration Warning",
            "EC2 Capacity Block Reservation Expiration Warning",
        ],
    },
    "maintenance": {
        "source": ["aws.health"],
        "detail-type": ["AWS Health Event"],
        "detail": {"service": ["EC2"], "eventTypeCategory": ["scheduledChange"]},
    },
}
"""Of EventBridge's rules, by the end of the rule's name."""


def queue_name(settings: Settings) -> str:
    return f"{settings.cluster_name}-events"


def messages(settings: Settings) -> Part:
    """One queue per cluster, what could not be delivered or used beside it, and two rules. Nothing if cluster.yaml
    names a queue."""
    if settings.clustermgtd.events.queue_url is not None:
        return Part()
    resources: dict[str, Resource] = {
        "DeadLetters": _queue(settings, f"{queue_name(settings)}-dead", DEAD_LETTER_RETENTION_S),
        "Events": _queue(settings, queue_name(settings), RETENTION_S),
        "EventsPolicy": _policy(settings),
    }
    properties = resources["Events"]["Properties"]
    assert isinstance(properties, dict)
    properties["RedrivePolicy"] = {
        "deadLetterTargetArn": attribute("DeadLetters", "Arn"),
        "maxReceiveCount": RECEIVES_MAX,
    }
    for name, pattern in PATTERNS.items():
        resources[f"{name.capitalize()}Rule"] = {
            "Type": "AWS::Events::Rule",
            "DependsOn": ["EventsPolicy"],
            "Properties": {
                "Name": f"{settings.cluster_name}-{name}",
                "EventPattern": pattern,
                "Targets": [
                    {
                        "Id": "queue",
                        "Arn": attribute("Events", "Arn"),
                        "DeadLetterConfig": {"Arn": attribute("DeadLetters", "Arn")},
                    }
                ],
            },
        }
    return Part(
        resources,
        outputs={"QueueUrl": ref("Events"), "DeadLetterQueueUrl": ref("DeadLetters")},
        made={("Clustermgtd", "Events", "QueueUrl"): ref("Events")},
    )


def _queue(settings: Settings, name: str, retention_s: int) -> Resource:
    return {
        "Type": "AWS::SQS::Queue",
        "UpdateReplacePolicy": "Delete",
        "DeletionPolicy": "Delete",
        "Properties": {
            "QueueName": name,
            "MessageRetentionPeriod": retention_s,
            "SqsManagedSseEnabled": True,
            "Tags": tags(settings),
        },
    }


def _policy(settings: Settings) -> Resource:
    """EventBridge may write, by these rules only: who can write to the queue can have nodes drained."""
    rules = f"arn:${{AWS::Partition}}:events:${{AWS::Region}}:${{AWS::AccountId}}:rule/{settings.cluster_name}-*"
    return {
        "Type": "AWS::SQS::QueuePolicy",
        "Properties": {
            "Queues": [ref("Events"), ref("DeadLetters")],
            "PolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "events.amazonaws.com"},
                        "Action": "sqs:SendMessage",
                        "Resource": [attribute("Events", "Arn"), attribute("DeadLetters", "Arn")],
                        "Condition": {"ArnLike": {"aws:SourceArn": sub(rules)}},
                    }
                ],
            },
        },
    }
