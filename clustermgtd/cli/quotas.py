"""`clustermgtctl quotas`: the account's vCPU quotas, and what the cluster makes of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clustermgtd.cli import facts_command
from clustermgtd.cli.aws_facts import QuotaFacts, quota_facts
from clustermgtd.cli.command import Help, Subparsers
from clustermgtd.cli.facts_command import Answer, Question
from clustermgtd.cli.table import number, table
from clustermgtd.errors import ConfigurationError
from clustermgtd.model.offering import Market
from clustermgtd.model.quota import QuotaClass, QuotaKey, Quotas

_HELP = Help(
    name="quotas",
    summary="vCPU quotas: what the account may run, what runs, what the cluster would need",
    description="""\
Show, for each vCPU quota that the nodes of a cluster.yaml count in, what the account may run (QUOTA), what
this cluster's instances use now (IN-USE) and what it would need if every node ran (NEEDED). Others of the
account use the same quota. Reads Service Quotas and EC2, unless --offline.""",
    examples="""\
examples:
  clustermgtctl quotas cluster.yaml
  clustermgtctl quotas cluster.yaml --offline            only what the cluster would need
  clustermgtctl quotas cluster.yaml --output json > quotas.json
  clustermgtctl check-config other.yaml --quotas quotas.json

exit status: 0, 1 if the file is not accepted or something could not be read, 2 for a wrong command line""",
)


def register(subparsers: Subparsers) -> None:
    facts_command.register(subparsers, _HELP, "contact nothing", _answer)


def _answer(question: Question) -> Answer:
    facts = quota_facts(question.settings, online=question.online)
    if question.as_json:
        text = json.dumps({"cluster": question.settings.cluster_name, "quotas": _entries(facts)}, indent=2)
    else:
        headings = ("CLASS", "MARKET", "QUOTA", "IN-USE", "NEEDED", "NOTE")
        text = table(headings, [_row(entry) for entry in _entries(facts)], right=("QUOTA", "IN-USE", "NEEDED"))
    return Answer(text, facts.unread)


def _entries(facts: QuotaFacts) -> list[dict[str, Any]]:
    return [
        {
            "class": key.quota_class.value,
            "market": key.market.value,
            "quota": facts.quotas.get(key),
            "in_use": None if facts.in_use is None else facts.in_use.get(key, 0),
            "needed": facts.needed.get(key, 0),
        }
        for key in sorted(facts.needed.keys() | (facts.in_use or {}).keys())
    ]


def _row(entry: Mapping[str, Any]) -> list[str]:
    quota, needed = entry["quota"], entry["needed"]
    note = f"{needed - quota:,.0f} short" if quota is not None and needed > quota else ""
    numbers = [number(entry[name]) for name in ("quota", "in_use", "needed")]
    return [entry["class"], entry["market"], *numbers, note]


def given_quotas(path: Path) -> Quotas:
    """Quotas from a file that `clustermgtctl quotas --output json` wrote; entries without a number are left out.

    Raises:
        ConfigurationError: the file cannot be read or is something else.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["quotas"]
        return {
            QuotaKey(QuotaClass(entry["class"]), Market(entry["market"])): float(entry["quota"])
            for entry in entries
            if entry["quota"] is not None
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path}: not the output of `clustermgtctl quotas --output json`: {error}") from error


def shortfalls(facts: QuotaFacts) -> list[str]:
    """A sentence for each quota that the cluster needs more of."""
    return [
        f"if every node ran, {needed:,} vCPUs of class {key.quota_class} would be needed {key.market}; "
        f"the account's quota is {facts.quotas[key]:,.0f}"
        for key, needed in sorted(facts.needed.items())
        if key in facts.quotas and needed > facts.quotas[key]
    ]
