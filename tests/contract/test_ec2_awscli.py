"""The aws command-line client against the endpoints: few calls, because each one starts a program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clustermgtd.lab.aws.cli import environment

pytestmark = pytest.mark.awscli
AWS = Path(sys.executable).with_name("aws")


def aws(endpoints: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = environment(endpoints.endpoint_url, "us-east-1")
    return subprocess.run(
        [str(AWS), *arguments, "--output", "json"],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "AWS_MAX_ATTEMPTS": "1", "AWS_PAGER": "", **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def answer(endpoints: Any, *arguments: str) -> Any:
    done = aws(endpoints, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def test_a_fleet_is_launched_found_and_terminated_with_the_command_line_client(aws_endpoints: Any) -> None:
    created = answer(
        aws_endpoints,
        *("ec2", "create-launch-template", "--launch-template-name", "by-hand"),
        *("--launch-template-data", json.dumps({"ImageId": "ami-0123", "InstanceType": "c5.large"})),
    )
    template = created["LaunchTemplate"]["LaunchTemplateId"]
    configs = [
        {
            "LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "$Latest"},
            "Overrides": [{"InstanceType": "c5.xlarge", "SubnetId": "subnet-0000000000000000a"}],
        }
    ]
    fleet = answer(
        aws_endpoints,
        *("ec2", "create-fleet", "--type", "instant", "--client-token", "by-hand"),
        *("--launch-template-configs", json.dumps(configs)),
        *("--target-capacity-specification", "TotalTargetCapacity=7,DefaultTargetCapacityType=on-demand"),
        *("--tag-specifications", "ResourceType=instance,Tags=[{Key=who,Value=by-hand}]"),
    )
    ids = fleet["Instances"][0]["InstanceIds"]
    assert len(ids) == 7
    query = "Reservations[].Instances[].InstanceId"
    found = answer(
        aws_endpoints,
        *("ec2", "describe-instances", "--filters", "Name=tag:who,Values=by-hand"),
        *("--page-size", "5", "--query", query),
    )
    assert found == ids
    gone = answer(aws_endpoints, "ec2", "terminate-instances", "--instance-ids", *ids)
    assert {i["CurrentState"]["Name"] for i in gone["TerminatingInstances"]} == {"shutting-down"}


def test_a_refusal_is_shown_with_ec2s_code(aws_endpoints: Any) -> None:
    done = aws(aws_endpoints, "ec2", "terminate-instances", "--instance-ids", "i-0123456789abcdef0")
    assert done.returncode != 0
    assert "(InvalidInstanceID.NotFound) when calling the TerminateInstances operation" in done.stderr


def test_another_service_is_reached_at_the_same_address(aws_endpoints: Any) -> None:
    assert answer(aws_endpoints, "sts", "get-caller-identity")["Account"] == "123456789012"
