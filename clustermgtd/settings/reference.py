"""docs/reference/cluster-yaml.md, made from the models so that it cannot be out of date.

python -m clustermgtd.settings.reference > docs/reference/cluster-yaml.md
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from enum import Enum
from typing import Any

from pydantic_core import PydanticUndefined

from clustermgtd.settings.cluster import Settings
from clustermgtd.settings.custom_slurm import COMPUTE_RESOURCE_OWNED, GLOBAL_OWNED, QUEUE_OWNED
from clustermgtd.settings.schema import json_schema
from clustermgtd.settings.section import FORMS, Section
from clustermgtd.settings.suggest import sections

_HEAD = """\
# cluster.yaml

<!-- Made by `python -m clustermgtd.settings.reference`; changes made here are lost. -->

One file describes a cluster. It is ParallelCluster 3's configuration file, with our own settings under
`Clustermgtd`. `clustermgtctl check-config FILE` checks it, `clustermgtctl config-schema` prints its JSON Schema.

* Keys and enumerated values are case-sensitive, unknown keys are errors. Types are strict: a number in quotes is not
  a number, and a number where text is wanted has to be put in quotes.
* A key is written once. Anchors, aliases and `<<` work.
* The daemon itself acts on `Scheduling`, `Tags`, `Image.CustomAmi`, `HeadNode.Ssh.KeyName`,
  `Monitoring.DetailedMonitoring`, `DevSettings.Timeouts` and `Clustermgtd`. Other keys are read and checked, and are
  for what installs the head node and the images.
* ParallelCluster's limits of 50 queues and 50 compute resources are not imposed here; Slurm's of 65,533 nodes is.
* `Scheduler: awsbatch` is refused.
* slurm.conf describes nodes with their cores and threads, so Slurm gives a job whole cores: where a core has two
  threads, a one-CPU job holds two CPUs. ParallelCluster writes CPUs only, and packs one job per thread. For that, give
  the compute resource `CustomSlurmSettings: {Sockets: <vCPUs>, CoresPerSocket: 1, ThreadsPerCore: 1}`.

Each section below lists its keys, with the type or range, and the default; **required** keys have none.
"""


def reference() -> str:
    """The page, in Markdown."""
    parts = [_HEAD]
    seen: dict[type[Section], str] = {}
    for path, section in sections():
        title = f"`{path}`" if path else "Top level"
        if section in seen:
            parts.append(f"## {title}\n\nThe same keys as {seen[section]}.\n")
            continue
        seen[section] = title
        parts.append(f"## {title}\n\n{(section.__doc__ or '').strip()}\n\n{_table(section)}")
    parts.append(_owned())
    return "\n".join(parts)


def _table(section: type[Section]) -> str:
    schema = json_schema()
    name = section.__name__
    properties = schema["properties"] if section is Settings else schema["$defs"][name]["properties"]
    lines = ["| Key | Values | Default | Meaning |", "|---|---|---|---|"]
    for field_name, field in section.model_fields.items():
        key = field.alias or field_name
        default = "**required**" if field.is_required() else _default(field.get_default(call_default_factory=True))
        meaning = field.description or _referred(properties[key], schema)
        lines.append(f"| `{key}` | {_cell(_values(properties[key], schema))} | {default} | {_cell(meaning)} |")
    return "\n".join(lines) + "\n"


def _referred(schema: Mapping[str, Any], top: Mapping[str, Any]) -> str:
    """The description of the section that a key holds."""
    for option in (schema, schema.get("items", {}), *schema.get("anyOf", [])):
        if "$ref" in option:
            return str(top["$defs"][option["$ref"].rpartition("/")[2]].get("description", ""))
    return ""


def _values(schema: Mapping[str, Any], top: Mapping[str, Any]) -> str:
    """Type and range in words."""
    if "anyOf" in schema:
        kinds = [_values(option, top) for option in schema["anyOf"] if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "$ref" in schema:
        target = top["$defs"][schema["$ref"].rpartition("/")[2]]
        return _values(target, top) if "enum" in target else "section"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    match schema.get("type"):
        case "array":
            least, most = schema.get("minItems"), schema.get("maxItems")
            many = f" ({_range(least, most)})" if least or most else ""
            return f"list of {_values(schema['items'], top)}{many}"
        case "object":
            return "mapping"
        case "string":
            return _text_form(schema)
        case "integer" | "number" as kind:
            words = "whole number" if kind == "integer" else "number"
            if "exclusiveMinimum" in schema:
                return f"{words} above {schema['exclusiveMinimum']:g}"
            return f"{words} {_range(schema.get('minimum'), schema.get('maximum'))}".strip()
        case "boolean":
            return "true, false"
    return "any"


def _text_form(schema: Mapping[str, Any]) -> str:
    pattern = schema.get("pattern")
    if pattern is None:
        limits = _range(schema.get("minLength"), schema.get("maxLength"))
        return f"text ({limits} characters)" if limits else "text"
    return "text: " + FORMS.get(pattern, f"`{pattern}`").removeprefix("must be ")


def _range(least: float | None, most: float | None) -> str:
    if least is None:
        return "" if most is None else f"up to {most:,}"
    return f"from {least:,}" if most is None else f"{least:,} to {most:,}"


def _default(value: object) -> str:
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, Section):
        return "the section's"
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, tuple | Mapping) and not value:
        return "none"
    return f"`{json.dumps(value)}`" if not isinstance(value, str) or not value else f"`{value}`"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def _owned() -> str:
    """The deny-lists."""
    lines = [
        "## CustomSlurmSettings: keys that are refused\n",
        "slurm.conf parameters that are written by clustermgtd, or by what installs the head node. At the cluster's",
        "level, an entry that begins with NodeName, PartitionName, NodeSet or DownNodes is a line of its own, for",
        "nodes that are not managed here. Options of SchedulerParameters, CommunicationParameters, PrivateData and",
        "DebugFlags are added to ours.\n",
    ]
    for title, owned in (
        ("Cluster (`Scheduling.SlurmSettings`)", GLOBAL_OWNED),
        ("Queue", QUEUE_OWNED),
        ("Compute resource", COMPUTE_RESOURCE_OWNED),
    ):
        lines.append(f"* {title}: " + "; ".join(f"{key}{f' ({hint})' if hint else ''}" for key, hint in owned.items()))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
