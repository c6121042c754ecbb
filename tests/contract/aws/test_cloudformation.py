"""A template in an account that has nothing: the daemon's own code finds what was made."""

from __future__ import annotations

import asyncio
import json
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
from clustermgtd.settings.cloudformation.configuration import parameter_name, unpacked
from clustermgtd.settings.cookbook import Machine, MachineKind, variables
from clustermgtd.settings.policy import template_specs
from tests.contract.conftest import QUICK

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples" / "networks"


@dataclass
class Stack:
    """A stack in moto's CloudFormation, which makes EC2's resources in moto's EC2, not in the lab's."""

    text: str
    settings: Settings
    aws: Any
    outputs: dict[str, str]

    def ask(self, use: Callable[[AwsSession], Coroutine[Any, Any, Any]]) -> Any:
        """`use` with the daemon's session."""

        async def call() -> Any:
            async with AwsSession("us-east-1", endpoint_url=self.aws.endpoint_url) as session:
                return await use(session)

        return asyncio.run(call())


def cluster_yaml() -> str:
    """The example without what moto's CloudFormation cannot make: FSx, listeners of TCP, secrets."""
    text = (EXAMPLES / "private-compute.yaml").read_text().replace("eu-central-1", "us-east-1")
    for first, behind in (("LoginNodes:", "Scheduling:"), ("  - Name: scratch", "Clustermgtd:")):
        text = text[: text.index(first)] + text[text.index(behind) :]
    key = "arn:aws:secretsmanager:us-east-1:123456789012:secret:munge-AbCdEf"
    return text.replace("  Scheduler: slurm\n", f"  Scheduler: slurm\n  SlurmSettings:\n    MungeKeySecretArn: {key}\n")


@pytest.fixture(scope="module")
def stack(serve: Any) -> Iterator[Stack]:
    text = cluster_yaml()
    settings = loads(text)
    with serve(QUICK) as aws:
        stacks, s3 = aws.client("cloudformation"), aws.client("s3")
        s3.create_bucket(Bucket="templates")
        s3.put_object(Bucket="templates", Key="cluster.json", Body=json.dumps(template(settings, text)).encode())
        stacks.create_stack(
            StackName="cluster",
            TemplateURL="https://templates.s3.amazonaws.com/cluster.json",
            Capabilities=["CAPABILITY_IAM"],
        )
        (made,) = stacks.describe_stacks(StackName="cluster")["Stacks"]
        stacks.close()
        s3.close()
        assert made["StackStatus"] == "CREATE_COMPLETE"
        outputs = {one["OutputKey"]: one["OutputValue"] for one in made["Outputs"]}
        yield Stack(text, settings, aws, outputs)


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


@pytest.fixture(scope="module")
def completed(stack: Stack) -> Settings:
    """What the head node fetches when it boots."""
    ssm = stack.aws.client("ssm")
    value = ssm.get_parameter(Name=parameter_name(stack.settings))["Parameter"]["Value"]
    ssm.close()
    return loads(unpacked(value))


def test_the_head_node_s_cluster_yaml_names_what_was_made(stack: Stack, completed: Settings) -> None:
    settings = completed
    (queue,) = settings.scheduling.slurm_queues
    assert settings.clustermgtd.events.queue_url == stack.outputs["QueueUrl"]
    assert settings.clustermgtd.node_agent.conf_server == stack.outputs["HeadNodeAddress"]
    assert settings.region == "us-east-1"
    assert queue.networking.subnet_ids[0].startswith("subnet-")
    assert queue.networking.security_groups[0].startswith("sg-")
    assert str(queue.iam.instance_profile).startswith("arn:aws:iam::123456789012:instance-profile/")


def test_the_daemon_makes_launch_templates_from_it(completed: Settings) -> None:
    settings = completed
    (spec,) = template_specs(settings, "").values()
    (queue,) = settings.scheduling.slurm_queues
    assert spec.security_groups == queue.networking.security_groups
    assert spec.instance_profile == queue.iam.instance_profile


def test_the_cookbooks_learn_which_file_systems_were_made(stack: Stack, completed: Settings) -> None:
    efs = stack.aws.client("efs")
    (file_system,) = efs.describe_file_systems()["FileSystems"]
    efs.close()
    rendered: Any = variables(Machine(completed, MachineKind.HEAD))
    assert rendered["shared_storage_resources"]["home"] == {"id": file_system["FileSystemId"]}
    (volume,) = rendered["shared_storage_resources"]["apps"]["volume_ids"]
    assert volume.startswith("vol-")
    assert rendered["slurm_address"] == stack.outputs["HeadNodeAddress"]
