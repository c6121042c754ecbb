"""What a CloudFormation template is put together from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from clustermgtd.settings.cluster import Settings
from clustermgtd.settings.document import Location

Value = object
"""What JSON can say; a mapping of one key (`Ref`, `Fn::...`) is filled in by CloudFormation."""
Resource = dict[str, Value]

STACK_TAG = "clustermgtd:stack"
"""On everything that a template makes. Never `clustermgtd:cluster`: the daemon takes instances and templates with
that one for its own, and ends those that no claim names."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a template."""

    resources: Mapping[str, Resource] = field(default_factory=dict)
    """By logical id."""
    outputs: Mapping[str, Value] = field(default_factory=dict)
    """By name."""
    made: Mapping[Location, Value] = field(default_factory=dict)
    """What the machines' copy of cluster.yaml says about what was made, by place in the file."""


def merged(parts: Iterable[Part]) -> Part:
    """All of them together; no two say the same."""
    resources: dict[str, Resource] = {}
    outputs: dict[str, Value] = {}
    made: dict[Location, Value] = {}
    for part in parts:
        twice: set[object] = set()
        twice |= (resources.keys() & part.resources) | (outputs.keys() & part.outputs) | (made.keys() & part.made)
        assert not twice, twice
        resources |= part.resources
        outputs |= part.outputs
        made |= part.made
    return Part(resources, outputs, made)


def logical(kind: str, name: str = "") -> str:
    """A logical id: letters and digits only. Names that lose something by it get four digits of their hash."""
    words = re.findall(r"[A-Za-z0-9]+", name)
    plain = "".join(word[0].upper() + word[1:] for word in words)
    is_plain = re.fullmatch(r"[a-z0-9]*", name) is not None
    return kind + plain + ("" if is_plain else hashlib.sha256(name.encode()).hexdigest()[:4])


def ref(id: str) -> Value:
    return {"Ref": id}


def attribute(id: str, name: str) -> Value:
    return {"Fn::GetAtt": [id, name]}


def sub(text: str) -> Value:
    """`${AWS::Region}` and the like are filled in."""
    return {"Fn::Sub": text}


def substituted(value: Value) -> Value:
    """Every text in it that holds `${` is filled in."""
    if isinstance(value, str):
        return sub(value) if "${" in value else value
    if isinstance(value, Mapping):
        return {key: substituted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [substituted(item) for item in value]
    return value


def tags(settings: Settings, name: str = "") -> list[Value]:
    """The site's tags and ours; the console shows `name`."""
    found = {tag.key: tag.value for tag in settings.tags} | {STACK_TAG: settings.cluster_name}
    if name:
        found["Name"] = f"{settings.cluster_name}-{name}"
    return [{"Key": key, "Value": value} for key, value in sorted(found.items())]


def without_none(properties: Mapping[str, Value]) -> dict[str, Value]:
    """Properties that have a value."""
    return {name: value for name, value in properties.items() if value is not None}
