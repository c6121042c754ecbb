"""The documented policies allow what is called, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import botocore.session
import pytest

import clustermgtd
from clustermgtd.settings.permissions import Policy, text

PACKAGE = Path(clustermgtd.__file__).parent
REFERENCE = PACKAGE.parent / "docs" / "reference" / "iam.md"
MADE_OF = {
    "TransactWriteItems": {"PutItem", "UpdateItem", "ConditionCheckItem"},
    "DeleteMessageBatch": {"DeleteMessage"},
}
"""Calls that are permitted by other actions."""
IMPLIED = {
    "ec2:RunInstances", "ec2:CreateTags", "iam:PassRole", "iam:CreateServiceLinkedRole", "dynamodb:TagResource",
}  # fmt: skip
"""Actions that EC2 and DynamoDB check for a call of another name."""


def test_the_page_shows_the_policies_that_roles_are_made_of() -> None:
    shown = re.findall(r"```json\n(.*?)```", REFERENCE.read_text(), re.DOTALL)
    assert shown == [text(policy) for policy in (Policy.DAEMON, Policy.NODE_AGENT, Policy.OPERATOR)]


def policies() -> list[dict[str, Any]]:
    return [json.loads(text) for text in re.findall(r"```json\n(.*?)```", REFERENCE.read_text(), re.DOTALL)]


def actions(policy: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    for statement in policy["Statement"]:
        named = statement["Action"]
        found |= {named} if isinstance(named, str) else set(named)
    return found


def called(folder: str) -> set[str]:
    """Every method of a botocore client that the sources of a folder name."""
    names = {
        re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower(): f"{service.replace('-', '')}:{operation}"
        for service in ("ec2", "dynamodb", "pricing", "service-quotas", "sqs")
        for operation in botocore.session.get_session().get_service_model(service).operation_names
    }
    text = "\n".join(path.read_text() for path in sorted((PACKAGE / folder).glob("*.py")))
    words = set(re.findall(r'"([a-z_]+)"|_client\.([a-z_]+)\(', text))
    used = {names[word] for pair in words for word in pair if word in names}
    expanded = set()
    for action in used:
        service, operation = action.split(":")
        expanded |= {f"{service}:{part}" for part in MADE_OF.get(operation, {operation})}
    return expanded


@pytest.mark.parametrize(("folder", "number", "implied"), [("adapters/aws", 0, IMPLIED), ("node", 1, set())])
def test_a_policy_allows_exactly_what_is_called(folder: str, number: int, implied: set[str]) -> None:
    assert called(folder)
    assert actions(policies()[number]) == called(folder) | implied


def test_nothing_is_allowed_on_everything_but_reading() -> None:
    for policy in policies():
        for statement in policy["Statement"]:
            if statement["Resource"] == "*":
                verbs = {action.partition(":")[2] for action in statement["Action"]}
                assert all(verb.startswith(("Describe", "Get")) for verb in verbs)


def test_the_policies_fit_the_size_that_iam_takes() -> None:
    for policy in policies():
        assert len(re.sub(r"\s", "", json.dumps(policy))) < 6144
