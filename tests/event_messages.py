"""EventBridge's events as AWS documents them, with everything in them that is not read. Ids and texts are made up."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

REGION = "us-east-1"
ACCOUNT = "123456789012"
AT = 1_700_000_000.0
_numbers = itertools.count(1)


def an_event(
    detail_type: str, detail: dict[str, Any], *, source: str = "aws.ec2", at: float = AT, **fields: Any
) -> dict[str, Any]:
    """Any event; `fields` replace those around `detail`."""
    return {
        "version": "0",
        "id": f"00000000-0000-0000-0000-{next(_numbers):012d}",
        "detail-type": detail_type,
        "source": source,
        "account": ACCOUNT,
        "time": iso(at),
        "region": REGION,
        "resources": [],
        "detail": detail,
    } | fields


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def mail_date(at: float) -> str:
    """As AWS Health writes times."""
    return format_datetime(datetime.fromtimestamp(at, UTC), usegmt=True)


def arn(instance: str) -> str:
    return f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{instance}"


def instance_id(number: int) -> str:
    return f"i-{number:017x}"


def spot_warning(instance: str, action: str = "terminate", **fields: Any) -> dict[str, Any]:
    detail = {"instance-id": instance, "instance-action": action}
    return an_event("EC2 Spot Instance Interruption Warning", detail, **({"resources": [arn(instance)]} | fields))


def rebalance(instance: str, **fields: Any) -> dict[str, Any]:
    return an_event("EC2 Instance Rebalance Recommendation", {"instance-id": instance}, **fields)


def state_change(instance: str, state: str, **fields: Any) -> dict[str, Any]:
    return an_event("EC2 Instance State-change Notification", {"instance-id": instance, "state": state}, **fields)


def reservation_interruption(instance: str, *, ends_at: float | None = None, **fields: Any) -> dict[str, Any]:
    detail = {"instance-id": instance, "instance-action": "terminate", "azId": "use1-az1"}
    if ends_at is not None:
        detail["instance-termination-time"] = iso(ends_at)
    fields = {"resources": arn(instance)} | fields
    return an_event("EC2 Capacity Reservation Instance Interruption Warning", detail, **fields)


def block_ending(reservation: str, *, ends_at: float | None = None, **fields: Any) -> dict[str, Any]:
    detail = {"capacity-reservation-id": reservation}
    if ends_at is not None:
        detail["end-date"] = iso(ends_at)
    return an_event("Capacity Block Reservation Expiration Warning", detail, **fields)


def fleet_change(instance: str, sub_type: str, **fields: Any) -> dict[str, Any]:
    description = json.dumps({"instanceType": "c5.large", "availabilityZone": "us-east-1a"})
    detail = {"instance-id": instance, "description": description, "sub-type": sub_type}
    return an_event("EC2 Fleet Instance Change", detail, source="aws.ec2fleet", **fields)


def health(*instances: str, starts_at: float = AT + 86_400.0, **detail: Any) -> dict[str, Any]:
    """A scheduled change of instances, with the words of AWS Health; `detail` replaces its fields."""
    code = detail.get("eventTypeCode", "AWS_EC2_PERSISTENT_INSTANCE_RETIREMENT_SCHEDULED")
    event_id = f"{code}_0123abcd-0000-1111-2222-333344445555"
    whole = {
        "eventArn": f"arn:aws:health:{REGION}::event/EC2/{code}/{event_id}",
        "service": "EC2",
        "eventTypeCode": code,
        "eventTypeCategory": "scheduledChange",
        "eventScopeCode": "ACCOUNT_SPECIFIC",
        "communicationId": "0123456789abcdef-1",
        "startTime": mail_date(starts_at),
        "lastUpdatedTime": mail_date(AT),
        "statusCode": "upcoming",
        "eventRegion": REGION,
        "eventDescription": [{"language": "en_US", "latestDescription": "What will happen is said here."}],
        "affectedEntities": [
            {"entityValue": i, "lastUpdatedTime": mail_date(AT), "status": "PENDING", "tags": {}} for i in instances
        ],
        "page": "1",
        "totalPages": "1",
        "affectedAccount": ACCOUNT,
    } | detail
    return an_event("AWS Health Event", whole, source="aws.health", resources=list(instances))
