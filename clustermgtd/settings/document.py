"""YAML text -> plain values, with the line and column of every key and value.

The subset is what a configuration needs: mappings with word keys, sequences, scalars, anchors, aliases and `<<`.
Sequences become tuples. Duplicate keys, unknown tags and everything else that YAML would let pass silently are
problems.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from clustermgtd.settings.problem import Problem

Location = tuple[str | int, ...]
"""Keys and indexes from the top of the document."""
Scalar = str | int | float | bool | None

NODES_MAX = 200_000
"""Nodes in one document with aliases expanded: a file of nested aliases must not fill the memory."""
_MERGE_TAG = "tag:yaml.org,2002:merge"
_SCALAR_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp"))


@dataclass(frozen=True, slots=True)
class Place:
    """A key and its value; a sequence's item has no key of its own and uses the value's mark twice."""

    key: yaml.Mark
    value: yaml.Mark
    text: str | None = None
    """The scalar as written, None for mappings and sequences."""
    is_quoted: bool = False


@dataclass
class Document:
    """A parsed file: `data` is None if there are problems that make it useless."""

    data: dict[str, object] | None
    problems: list[Problem] = field(default_factory=list)
    places: dict[Location, Place] = field(default_factory=dict)

    def place(self, location: Location) -> Place | None:
        """The place of a location, or of its nearest parent that the file has; None for an empty file."""
        for length in range(len(location), -1, -1):
            found = self.places.get(location[:length])
            if found is not None:
                return found
        return None


def path_text(location: Location) -> str:
    """`("SlurmQueues", 0, "Name")` as `SlurmQueues[0].Name`."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def parse(text: str) -> Document:
    """Read one YAML document. Never raises for what the text holds: problems are in the result."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return Document(None, [Problem("", _syntax_message(error), line, column, suggestion=_syntax_hint(error))])
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1) + 1
        return Document(None, [Problem("", "this character is not allowed in YAML", line, column)])
    except RecursionError:
        return Document(None, [Problem("", "nested too deeply")])
    if root is None:
        return Document(None, [Problem("", "the file is empty", suggestion="it needs Image, HeadNode and Scheduling")])
    if not isinstance(root, yaml.MappingNode):
        return Document(None, [_problem((), root, "must be a mapping (KEY: VALUE lines) at the top")])
    builder = _Builder()
    try:
        data = builder.mapping(root, ())
    except RecursionError:
        return Document(None, [Problem("", "nested too deeply, or an anchor that holds itself")])
    except _TooLargeError:
        return Document(None, [Problem("", f"holds more than {NODES_MAX} values")])
    builder.places[()] = Place(root.start_mark, root.start_mark)
    return Document(data, builder.problems, builder.places)


class _TooLargeError(Exception):
    pass


class _Builder:
    """Walks composed nodes once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.places: dict[Location, Place] = {}
        self._scalars = yaml.constructor.SafeConstructor()
        self._count = 0

    def value(self, node: yaml.Node, location: Location) -> object:
        self._count += 1
        if self._count > NODES_MAX:
            raise _TooLargeError
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return tuple(self._items(node, location))
        return self._scalar(node, location)

    def mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, object]:
        result: dict[str, object] = {}
        if not node.tag.endswith(":map"):
            self.problems.append(_problem(location, node, f"unknown YAML tag {node.tag}"))
        first_lines: dict[str, int] = {}
        for key_node, value_node in self._pairs(node):
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(_problem(location, key_node, "a key must be a word"))
                continue
            key = key_node.value
            line = key_node.start_mark.line + 1
            if key in first_lines:
                message = f"is given twice: on line {first_lines[key]} and on line {line}"
                self.problems.append(_problem((*location, key), key_node, message, suggestion="keep one of them"))
                continue
            first_lines[key] = line
            result[key] = self._placed(key_node, value_node, (*location, key))
        for key, value in self._merged(node, location).items():
            result.setdefault(key, value)
        return result

    def _pairs(self, node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        return ((key, value) for key, value in node.value if key.tag != _MERGE_TAG)

    def _merged(self, node: yaml.MappingNode, location: Location) -> dict[str, object]:
        """What `<<` brings in; the places of its values are those of the merged mapping."""
        merged: dict[str, object] = {}
        for key_node, value_node in node.value:
            if key_node.tag != _MERGE_TAG:
                continue
            sources = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
            for source in sources:
                if not isinstance(source, yaml.MappingNode):
                    self.problems.append(_problem(location, source, "`<<` takes a mapping or a list of mappings"))
                    continue
                own = {place: self.places[place] for place in self.places if place[: len(location)] == location}
                for key, value in self.mapping(source, location).items():
                    merged.setdefault(key, value)
                self.places.update(own)
        return merged

    def _items(self, node: yaml.SequenceNode, location: Location) -> Iterator[object]:
        if not node.tag.endswith(":seq"):
            self.problems.append(_problem(location, node, f"unknown YAML tag {node.tag}"))
        for index, item in enumerate(node.value):
            yield self._placed(item, item, (*location, index))

    def _placed(self, key: yaml.Node, value: yaml.Node, location: Location) -> object:
        scalar = value if isinstance(value, yaml.ScalarNode) else None
        self.places[location] = Place(
            key.start_mark,
            value.start_mark,
            scalar.value if scalar else None,
            scalar is not None and scalar.style is not None,
        )
        return self.value(value, location)

    def _scalar(self, node: yaml.Node, location: Location) -> Scalar:
        if node.tag not in _SCALAR_TAGS:
            self.problems.append(_problem(location, node, f"unknown YAML tag {node.tag}"))
            return None
        if node.tag.endswith(":timestamp") or ":" in node.value:
            # dates are not wanted anywhere, and 10:30 is not 630 (YAML 1.1 counts it in sixties)
            return str(node.value)
        try:
            value: Scalar = self._scalars.construct_object(node)
        except (ValueError, KeyError, yaml.YAMLError):
            self.problems.append(_problem(location, node, f"is not a valid {node.tag.rpartition(':')[2]}"))
            return None
        return value


def _problem(location: Location, node: yaml.Node, message: str, suggestion: str = "") -> Problem:
    mark = node.start_mark
    return Problem(path_text(location), message, mark.line + 1, mark.column + 1, suggestion=suggestion)


def _syntax_message(error: yaml.MarkedYAMLError) -> str:
    """What the parser says, without the excerpt of the file that it would add (it may hold a secret)."""
    parts = [part for part in (error.context, error.problem) if part]
    return "not valid YAML: " + ", ".join(parts)


def _syntax_hint(error: yaml.MarkedYAMLError) -> str:
    if error.problem and "'\\t'" in error.problem:
        return "indent with spaces, YAML does not take tabs"
    return ""
