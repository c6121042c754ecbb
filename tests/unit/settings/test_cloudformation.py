"""The template that is made from cluster.yaml."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint

from clustermgtd.adapters.aws.claim_table import EXPIRES_AT, KEY
from clustermgtd.adapters.aws.tags import CLUSTER
from clustermgtd.settings import loads
from clustermgtd.settings.cloudformation import template
from clustermgtd.settings.cloudformation.messages import PATTERNS
from clustermgtd.settings.permissions import Policy, statements

ROOT = Path(__file__).parents[3]
NETWORKS = ROOT / "docs" / "examples" / "networks"
VPC = "Clustermgtd:\n  Network:\n    VpcId: vpc-0123456789abcdef0\n"
MINIMAL = (ROOT / "docs" / "examples" / "minimal.yaml").read_text() + VPC
PARALLELCLUSTER = (ROOT / "docs" / "examples" / "parallelcluster.yaml").read_text() + VPC
TEMPLATES = {
    "minimal": MINIMAL,
    "parallelcluster": PARALLELCLUSTER,
    **{path.stem: path.read_text() for path in sorted(NETWORKS.glob("*.yaml"))},
}


def resources(made: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Properties of all resources of a type, by logical id."""
    return {id: one["Properties"] for id, one in made["Resources"].items() if one["Type"] == kind}


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def made_from(text: str) -> dict[str, Any]:
    return template(loads(text), text)


@pytest.mark.parametrize("name", TEMPLATES)
def test_cfn_lint_finds_nothing(name: str) -> None:
    found = lint(json.dumps(made_from(TEMPLATES[name])))
    assert [f"{one.rule.id} {one.message} at {one.path}" for one in found] == []


def test_nothing_that_is_made_looks_like_an_instance_of_the_daemon() -> None:
    made = made_from(PARALLELCLUSTER)
    everything = set(texts(made["Resources"]))
    assert "clustermgtd:stack" in everything
    assert CLUSTER not in everything


def actions(role: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    for policy in role["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            named = statement["Action"]
            found |= {named} if isinstance(named, str) else set(named)
    return found


def documented(policy: Policy) -> set[str]:
    found: set[str] = set()
    for statement in statements(policy, {}):
        named = statement["Action"]
        found |= {named} if isinstance(named, str) else set(named)
    return found


def test_the_daemon_may_do_what_is_documented_except_making_the_table_that_the_stack_makes() -> None:
    made = made_from(MINIMAL)
    table = {"dynamodb:CreateTable", "dynamodb:TagResource", "dynamodb:UpdateTimeToLive"}
    assert documented(Policy.DAEMON) - actions(resources(made, "AWS::IAM::Role")["HeadRole"]) == table


def test_the_table_has_the_daemon_s_key_forgets_by_itself_and_can_be_restored() -> None:
    (table,) = resources(made_from(MINIMAL), "AWS::DynamoDB::Table").values()
    assert table["TableName"] == "clustermgtd-cluster"
    assert table["KeySchema"] == [{"AttributeName": KEY, "KeyType": "HASH"}]
    assert table["TimeToLiveSpecification"] == {"AttributeName": EXPIRES_AT, "Enabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_no_placeholder_is_left_in_a_role() -> None:
    made = made_from(PARALLELCLUSTER)
    left = [text for text in texts(resources(made, "AWS::IAM::Role")) if re.search(r"\b(ACCOUNT|REGION|TABLE)\b", text)]
    assert left == []


def test_the_daemon_may_give_instances_the_roles_of_its_queues_and_no_other() -> None:
    made = made_from(PARALLELCLUSTER)
    (passing,) = [
        statement
        for policy in resources(made, "AWS::IAM::Role")["HeadRole"]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Action"] == "iam:PassRole"
    ]
    assert passing["Resource"] == [
        {"Fn::GetAtt": ["QueueGeneralRole", "Arn"]},
        "arn:aws:iam::123456789012:role/spot-nodes",
        {"Fn::GetAtt": ["QueueGpuRole", "Arn"]},
    ]


def test_buckets_of_cluster_yaml_are_in_the_role() -> None:
    (policy,) = resources(made_from(PARALLELCLUSTER), "AWS::IAM::Role")["HeadRole"]["Policies"]
    writing = [one for one in policy["PolicyDocument"]["Statement"] if "s3:PutObject" in one["Action"]]
    assert [one["Resource"] for one in writing] == [
        {"Fn::Sub": "arn:${AWS::Partition}:s3:::genomics-results/runs/*"},
    ]


def test_a_boundary_and_a_prefix_are_on_every_role() -> None:
    text = (
        MINIMAL + "Iam:\n  PermissionsBoundary: arn:aws:iam::123456789012:policy/bound\n  ResourcePrefix: /hpc/lab-\n"
    )
    made = resources(made_from(text), "AWS::IAM::Role")
    assert {role["PermissionsBoundary"] for role in made.values()} == {"arn:aws:iam::123456789012:policy/bound"}
    assert {role["Path"] for role in made.values()} == {"/hpc/"}
    assert sorted(role["RoleName"] for role in made.values()) == ["lab-cluster-Head", "lab-cluster-QueueQ1"]


def test_a_queue_that_cluster_yaml_names_is_used_and_none_is_made() -> None:
    text = MINIMAL + "  Events:\n    QueueUrl: https://sqs.eu-central-1.amazonaws.com/123456789012/mine\n"
    made = made_from(text)
    assert resources(made, "AWS::SQS::Queue") == {}
    assert resources(made, "AWS::Events::Rule") == {}
    assert any(text.endswith(":mine") for text in texts(resources(made, "AWS::IAM::Role")["HeadRole"]))


def test_the_rules_are_the_documented_ones() -> None:
    page = (ROOT / "docs" / "reference" / "events.md").read_text()
    shown = [json.loads(text) for text in re.findall(r"^\| [a-z ]+ \| `(\{.*\})` \|$", page, re.MULTILINE)]
    assert shown == [PATTERNS["instances"], PATTERNS["maintenance"]]
