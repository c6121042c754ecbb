"""The front: every service at one address, and what moto alone does not give."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from clustermgtd.lab.ec2.scenario import Scenario

SUBNET = "subnet-0000000000000000a"


@contextmanager
def clients(aws: Any, *services: str, **config: Any) -> Iterator[Any]:
    made = [aws.client(service, **config) for service in services]
    try:
        yield made[0] if len(made) == 1 else made
    finally:
        for client in made:
            client.close()


def wait_until(condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "not within the deadline"
        time.sleep(0.05)
    return value


def test_sts_says_who_is_calling(aws_endpoints: Any) -> None:
    with clients(aws_endpoints, "sts") as sts:
        assert sts.get_caller_identity()["Account"] == "123456789012"


def test_a_conditional_write_has_exactly_one_winner_however_many_try(aws_endpoints: Any) -> None:
    table = f"t-{uuid.uuid4()}"
    with clients(aws_endpoints, "dynamodb", max_pool_connections=50) as dynamodb:
        dynamodb.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "Id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "Id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )

        def put(key: str) -> int:
            try:
                dynamodb.put_item(
                    TableName=table, Item={"Id": {"S": key}}, ConditionExpression="attribute_not_exists(Id)"
                )
            except dynamodb.exceptions.ConditionalCheckFailedException:
                return 0
            return 1

        with ThreadPoolExecutor(50) as pool:
            winners = [sum(pool.map(put, [f"key-{n}"] * 50)) for n in range(10)]
        assert winners == [1] * 10


def test_concurrent_additions_to_a_counter_are_all_counted(aws_endpoints: Any) -> None:
    table = f"t-{uuid.uuid4()}"
    with clients(aws_endpoints, "dynamodb", max_pool_connections=20) as dynamodb:
        dynamodb.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "Id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "Id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )

        def add(_: int) -> None:
            dynamodb.update_item(
                TableName=table,
                Key={"Id": {"S": "counter"}},
                UpdateExpression="ADD n :one",
                ExpressionAttributeValues={":one": {"N": "1"}},
            )

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(add, range(300)))
        item = dynamodb.get_item(TableName=table, Key={"Id": {"S": "counter"}}, ConsistentRead=True)["Item"]
        assert item["n"] == {"N": "300"}


def test_a_long_poll_ends_as_soon_as_a_message_arrives_and_does_not_hold_up_the_sender(aws_endpoints: Any) -> None:
    with clients(aws_endpoints, "sqs") as sqs:
        url = sqs.create_queue(QueueName=f"q-{uuid.uuid4()}")["QueueUrl"]
        assert url.startswith(aws_endpoints.endpoint_url)
        received: list[Any] = []

        def receive() -> None:
            received.extend(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20).get("Messages", []))

        poller = threading.Thread(target=receive)
        poller.start()
        sqs.send_message(QueueUrl=url, MessageBody="hello")
        poller.join(15)
        assert [m["Body"] for m in received] == ["hello"]


def test_a_long_poll_whose_client_went_away_swallows_no_message(aws_endpoints: Any) -> None:
    with clients(aws_endpoints, "sqs") as sqs, clients(aws_endpoints, "sqs", read_timeout=1) as impatient:
        url = sqs.create_queue(QueueName=f"q-{uuid.uuid4()}")["QueueUrl"]
        with pytest.raises(Exception, match="Read timeout"):
            impatient.receive_message(QueueUrl=url, WaitTimeSeconds=20)
        sqs.send_message(QueueUrl=url, MessageBody="hello")
        assert [m["Body"] for m in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]] == ["hello"]


@pytest.fixture
def ec2_events(aws_endpoints: Any) -> Iterator[Callable[[str], list[Any]]]:
    """EC2's events as they arrive over a rule in a queue: `ec2_events(instance_id)` waits for the next ones."""
    name = f"r-{uuid.uuid4()}"
    with clients(aws_endpoints, "sqs", "events") as (sqs, events):
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        events.put_rule(Name=name, EventPattern=json.dumps({"source": ["aws.ec2"]}))
        events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])

        def receive(instance_id: str) -> list[Any]:
            answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10, MaxNumberOfMessages=10)
            bodies = [json.loads(m["Body"]) for m in answer.get("Messages", [])]
            for message in answer.get("Messages", []):
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return [b for b in bodies if b["detail"]["instance-id"] == instance_id]

        yield receive
        events.remove_targets(Rule=name, Ids=["queue"])
        events.delete_rule(Name=name)
        sqs.delete_queue(QueueUrl=url)


def collect(receive: Callable[[str], list[Any]], instance_id: str, count: int) -> list[Any]:
    found: list[Any] = []
    while len(found) < count:
        new = receive(instance_id)
        assert new, f"only {found}"
        found += new
    return sorted(found, key=lambda e: e["time"])


def test_a_state_change_reaches_a_queue_through_a_rule(
    aws_endpoints: Any, ec2: Any, ec2_events: Callable[[str], list[Any]]
) -> None:
    id = ec2.run_instances(ImageId="ami-1", InstanceType="c5.large", MinCount=1, MaxCount=1)["Instances"][0][
        "InstanceId"
    ]
    events = collect(ec2_events, id, 2)
    assert {e["detail-type"] for e in events} == {"EC2 Instance State-change Notification"}
    assert [e["detail"]["state"] for e in events] == ["pending", "running"]
    assert {e["source"] for e in events} == {"aws.ec2"}
    assert events[0]["resources"] == [f"arn:aws:ec2:us-east-1:123456789012:instance/{id}"]


def test_a_spot_reclaim_warns_then_takes_the_instance(
    aws_endpoints: Any, ec2: Any, ec2_events: Callable[[str], list[Any]]
) -> None:
    id = ec2.run_instances(
        ImageId="ami-1", InstanceType="c5.large", MinCount=1, MaxCount=1, InstanceMarketOptions={"MarketType": "spot"}
    )["Instances"][0]["InstanceId"]
    control(aws_endpoints, "rebalance", instance_id=id)
    control(aws_endpoints, "spot-reclaim", instance_id=id, notice_s=0.5)
    events = collect(ec2_events, id, 5)
    details = {(e["detail-type"], e["detail"].get("state") or e["detail"].get("instance-action")) for e in events}
    assert ("EC2 Instance Rebalance Recommendation", None) in details
    assert ("EC2 Spot Instance Interruption Warning", "terminate") in details
    assert ("EC2 Instance State-change Notification", "shutting-down") in details
    wait_until(lambda: aws_endpoints.model(lambda m: m.instance(id)).state == "terminated")
    assert aws_endpoints.model(lambda m: m.instance(id)).state_reason_code == "Server.SpotInstanceTermination"


def control(aws: Any, verb: str, **parameters: Any) -> Any:
    body = json.dumps(parameters).encode()
    with urllib.request.urlopen(f"{aws.endpoint_url}/lab/ec2/{verb}", data=body, timeout=10) as reply:
        return json.load(reply)


def test_the_lab_can_kill_an_instance_and_see_the_state_of_all(aws_endpoints: Any, ec2: Any) -> None:
    id = ec2.run_instances(ImageId="ami-1", InstanceType="c5.large", MinCount=1, MaxCount=1)["Instances"][0][
        "InstanceId"
    ]
    control(aws_endpoints, "kill", instance_id=id)
    with urllib.request.urlopen(f"{aws_endpoints.endpoint_url}/lab/ec2/state", timeout=10) as reply:
        state = json.load(reply)
    assert [i["state"] for i in state["instances"] if i["id"] == id] == ["terminated"]
    assert state["calls"]["RunInstances"] >= 1


def test_a_wrong_control_is_refused_with_the_reason(aws_endpoints: Any) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        control(aws_endpoints, "spot-reclaim", instance="i-1")
    with caught.value as error:
        assert error.code == 400
        assert {p["loc"][0] for p in json.load(error)["error"]} == {"instance", "instance_id"}


def test_a_bucket_can_be_emptied_while_clients_call(serve: Any) -> None:
    with serve(Scenario()) as aws, clients(aws, "ec2") as ec2:
        ec2.describe_regions()
        control(aws, "throttle", kind="request", bucket="non-mutating", size=0)
        with pytest.raises(ClientError, match="RequestLimitExceeded"):
            ec2.describe_regions()
        control(aws, "throttle", kind="request", bucket="non-mutating")
        ec2.describe_regions()
        with pytest.raises(urllib.error.HTTPError) as caught:
            control(aws, "throttle", kind="request", bucket="everything", size=0)
        caught.value.close()


def test_a_new_capacity_counts_from_the_next_launch_on(aws_endpoints: Any, ec2: Any) -> None:
    request = {"ImageId": "ami-1", "InstanceType": "x1.16xlarge", "SubnetId": SUBNET, "MinCount": 1, "MaxCount": 1}
    control(aws_endpoints, "set-capacity", instance_type="x1.16xlarge", zone="us-east-1a", capacity=0)
    with pytest.raises(ClientError, match="InsufficientInstanceCapacity"):
        ec2.run_instances(**request)
    control(aws_endpoints, "set-capacity", instance_type="x1.16xlarge", zone="us-east-1a")
    assert ec2.run_instances(**request)["Instances"]


def test_other_services_answer_too(aws_endpoints: Any) -> None:
    with clients(aws_endpoints, "ssm", "route53", "s3", "iam", "cloudformation") as (ssm, route53, s3, iam, stacks):
        ssm.put_parameter(Name="/lab/a", Value="1", Type="String")
        assert ssm.get_parameter(Name="/lab/a")["Parameter"]["Value"] == "1"
        zone = route53.create_hosted_zone(Name="lab.internal", CallerReference=str(uuid.uuid4()))
        assert zone["HostedZone"]["Name"] == "lab.internal."
        bucket = f"b-{uuid.uuid4()}"
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="a b/c", Body=b"x" * 100_000)
        assert len(s3.get_object(Bucket=bucket, Key="a b/c")["Body"].read()) == 100_000
        assert iam.list_roles()["Roles"] == []
        template = {"Resources": {"Q": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "from-a-stack"}}}}
        stacks.create_stack(StackName=f"s-{uuid.uuid4()}", TemplateBody=json.dumps(template))
    with clients(aws_endpoints, "sqs") as sqs:
        assert sqs.get_queue_url(QueueName="from-a-stack")["QueueUrl"]


def test_an_error_of_another_service_comes_through_as_it_is(aws_endpoints: Any) -> None:
    with clients(aws_endpoints, "dynamodb") as dynamodb, pytest.raises(ClientError) as caught:
        dynamodb.describe_table(TableName="nowhere")
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"


SERVER = "import sys; from clustermgtd.lab.aws.cli import run; sys.exit(run(0, sys.argv[1] if sys.argv[1:] else None))"


@contextmanager
def command(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", SERVER, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_command_serves_until_it_is_told_to_stop_and_leaves_nothing(tmp_path: Any) -> None:
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text("boot_delay_s: 1\nbuckets: unlimited\n")
    with command(str(scenario)) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("http://127.0.0.1:")
        assert "AWS_ENDPOINT_URL=http://127.0.0.1:" in line
        children = children_of(process.pid)
        assert children
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert not any(is_running(child) for child in children)


def test_moto_ends_when_its_parent_is_killed_without_warning() -> None:
    with command() as process:
        assert process.stdout is not None
        process.stdout.readline()
        children = children_of(process.pid)
        assert children
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        wait_until(lambda: not any(is_running(child) for child in children))


def test_a_wrong_scenario_is_refused_with_the_key_that_is_wrong(tmp_path: Any) -> None:
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text("boot_delay: 1\n")
    done = subprocess.run([sys.executable, "-c", SERVER, str(scenario)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "boot_delay: Extra inputs are not permitted" in done.stderr
