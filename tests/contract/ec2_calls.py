"""EC2 calls in the tests' words."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

A, B, C = (f"subnet-0000000000000000{z}" for z in "abc")
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")


def refusal(call: Callable[..., Any], **parameters: Any) -> tuple[str, int]:
    """Code and HTTP status of the error that a call ends with."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    response = caught.value.response
    assert response["ResponseMetadata"]["RequestId"]
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def make_template(client: Any, **data: Any) -> str:
    name = f"lt-{uuid.uuid4()}"
    client.create_launch_template(LaunchTemplateName=name, LaunchTemplateData={"ImageId": "ami-0abc", **data})
    return name


def fleet(template: str, *overrides: dict[str, Any], count: int = 1, market: str = "on-demand", **more: Any) -> Any:
    """CreateFleet's parameters."""
    return {
        "Type": "instant",
        "LaunchTemplateConfigs": [
            {
                "LaunchTemplateSpecification": {"LaunchTemplateName": template, "Version": "$Latest"},
                "Overrides": list(overrides),
            }
        ],
        "TargetCapacitySpecification": {"TotalTargetCapacity": count, "DefaultTargetCapacityType": market},
        **more,
    }


def pool(instance_type: str, subnet: str = A, **more: Any) -> dict[str, Any]:
    return {"InstanceType": instance_type, "SubnetId": subnet, **more}


def ids_of(reply: Any) -> list[str]:
    return [id for group in reply["Instances"] for id in group["InstanceIds"]]


def counts_of(reply: Any) -> dict[tuple[str, str], int]:
    return {
        (
            group["InstanceType"],
            group["LaunchTemplateAndOverrides"]["Overrides"]["SubnetId"],
        ): len(group["InstanceIds"])
        for group in reply["Instances"]
    }


def errors_of(reply: Any) -> list[tuple[str, str]]:
    return [(e["LaunchTemplateAndOverrides"]["Overrides"]["InstanceType"], e["ErrorCode"]) for e in reply["Errors"]]


def instances(client: Any, **parameters: Any) -> list[Any]:
    pages = client.get_paginator("describe_instances").paginate(**parameters)
    return [i for page in pages for r in page["Reservations"] for i in r["Instances"]]


def tagged(value: str) -> list[dict[str, Any]]:
    return [{"ResourceType": "instance", "Tags": [{"Key": "test", "Value": value}]}]


def by_tag(value: str) -> list[dict[str, Any]]:
    return [{"Name": "tag:test", "Values": [value]}]


def wait_for_state(client: Any, id: str, state: str) -> Any:
    deadline = time.monotonic() + 15
    while True:
        (found,) = instances(client, InstanceIds=[id])
        if found["State"]["Name"] == state:
            return found
        assert time.monotonic() < deadline, found["State"]
        time.sleep(0.05)
