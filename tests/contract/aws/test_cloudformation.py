"""A template in an account that has nothing: the daemon's own code finds what was made."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clustermgtd.adapters.aws.claim_table import ensure_table
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.adapters.aws.sqs_notice_queue import SqsNoticeQueue
from clustermgtd.model.notice import NoticeKind
from clustermgtd.settings import Settings, loads
from clustermgtd.settings.cloudformation import template
from tests.contract.conftest import QUICK

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "minimal.yaml"


@dataclass
class Stack:
    """A stack that was made from the minimal cluster."""

    settings: Settings
    name: str
    aws: Any
    outputs: dict[str, str]

    def ask(self, use: Callable[[AwsSession], Coroutine[Any, Any, Any]]) -> Any:
        """`use` with the daemon's session."""

        async def call() -> Any:
            async with AwsSession("us-east-1", endpoint_url=self.aws.endpoint_url) as session:
                return await use(session)

        return asyncio.run(call())


@pytest.fixture(scope="module")
def stack(serve: Any) -> Iterator[Stack]:
    cluster = f"c{uuid.uuid4().hex[:8]}"
    text = EXAMPLE.read_text().replace("eu-central-1", "us-east-1")
    settings = loads(f"{text}Clustermgtd:\n  ClusterName: {cluster}\n  Network: {{VpcId: vpc-0123456789abcdef0}}\n")
    with serve(QUICK) as aws:
        stacks = aws.client("cloudformation")
        stacks.create_stack(
            StackName=cluster, TemplateBody=json.dumps(template(settings)), Capabilities=["CAPABILITY_IAM"]
        )
        (made,) = stacks.describe_stacks(StackName=cluster)["Stacks"]
        stacks.close()
        assert made["StackStatus"] == "CREATE_COMPLETE"
        outputs = {one["OutputKey"]: one["OutputValue"] for one in made["Outputs"]}
        yield Stack(settings, cluster, aws, outputs)


def test_the_daemon_takes_the_table_as_it_is(stack: Stack) -> None:
    async def start(session: AwsSession) -> dict[str, int]:
        await ensure_table(session, stack.settings.clustermgtd.table_name, {})
        return dict(session.calls)

    # moto makes a table without its time to live, which the daemon then asks for
    assert "dynamodb:create_table" not in stack.ask(start)


def test_what_ec2_announces_arrives_in_the_queue_of_the_stack(stack: Stack) -> None:
    ec2 = stack.aws.client("ec2")
    launched = ec2.run_instances(
        ImageId="ami-1", InstanceType="c5.xlarge", SubnetId="subnet-0000000000000000a", MinCount=1, MaxCount=1
    )
    instance = launched["Instances"][0]["InstanceId"]
    ec2.terminate_instances(InstanceIds=[instance])
    ec2.close()

    async def receive(session: AwsSession) -> set[tuple[str, NoticeKind]]:
        queue = SqsNoticeQueue(session, stack.outputs["QueueUrl"], 120)
        found: set[tuple[str, NoticeKind]] = set()
        async with asyncio.timeout(60):
            while (instance, NoticeKind.STATE_CHANGE) not in found:
                received = await queue.receive(10)
                found |= {(id, notice.kind) for one in received for notice in one.notices for id in notice.instances}
                await queue.delete([message.receipt for message in received])
        return found

    assert (instance, NoticeKind.STATE_CHANGE) in stack.ask(receive)


def test_a_message_that_comes_back_too_often_is_put_aside(stack: Stack) -> None:
    sqs = stack.aws.client("sqs")
    asked = sqs.get_queue_attributes(QueueUrl=stack.outputs["QueueUrl"], AttributeNames=["All"])["Attributes"]
    dead = sqs.get_queue_attributes(QueueUrl=stack.outputs["DeadLetterQueueUrl"], AttributeNames=["QueueArn"])
    sqs.close()
    assert json.loads(asked["RedrivePolicy"])["deadLetterTargetArn"] == dead["Attributes"]["QueueArn"]
    assert asked["MessageRetentionPeriod"] == "3600"


def test_the_roles_trust_ec2_and_are_in_their_profiles(stack: Stack) -> None:
    iam = stack.aws.client("iam")
    profiles = iam.list_instance_profiles()["InstanceProfiles"]
    iam.close()
    roles = [role for profile in profiles for role in profile["Roles"]]
    assert len(roles) == 2
    for role in roles:
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"]["Service"] == "ec2.amazonaws.com"
