"""The IAM policies of docs/reference/iam.md, one JSON file each, for whoever makes roles from them.

Placeholders in resources: `REGION`, `ACCOUNT`, `CLUSTER`, `TABLE`, `QUEUE` and `COMPUTE-ROLE`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from importlib.resources import files
from typing import Any, Final

_PLACEHOLDER: Final = re.compile(r"COMPUTE-ROLE|REGION|ACCOUNT|CLUSTER|TABLE|QUEUE")


class Policy(StrEnum):
    """Whose policy; the file's name."""

    DAEMON = "daemon"
    NODE_AGENT = "node-agent"
    OPERATOR = "operator"


def text(policy: Policy) -> str:
    """The policy as it is documented, placeholders included."""
    return files(__name__).joinpath(f"{policy}.json").read_text(encoding="utf-8")


def statements(policy: Policy, values: Mapping[str, str]) -> list[dict[str, Any]]:
    """The statements, in the file's order. `values` gives each placeholder's text; others stay as they are."""
    filled = _PLACEHOLDER.sub(lambda found: values.get(found[0], found[0]), text(policy))
    found: list[dict[str, Any]] = json.loads(filled)["Statement"]
    return found
