"""A file or a text -> `Settings`, or every problem that it has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from clustermgtd.settings.cluster import Settings
from clustermgtd.settings.document import Document, Location, Place, parse, path_text
from clustermgtd.settings.problem import Problem, SettingsError
from clustermgtd.settings.section import FORMS, Finding
from clustermgtd.settings.shown import shown_text
from clustermgtd.settings.suggest import key_suggestion, keys_of, nearest, section_at

FILE_SIZE_MAX: Final = 4 * 1024 * 1024
"""Bytes; more is not a configuration."""
_UNKNOWN = "unknown key"


def load(path: Path | str) -> Settings:
    """Read and check a file.

    Raises:
        SettingsError: with all problems, also if the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(FILE_SIZE_MAX + 1)
    except OSError as error:
        raise SettingsError([Problem("", f"cannot be read: {error.strerror or error}")], str(path)) from error
    if len(content) > FILE_SIZE_MAX:
        raise SettingsError([Problem("", f"is larger than {FILE_SIZE_MAX} bytes")], str(path))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError([Problem("", "is not UTF-8 text", line)], str(path)) from error
    return loads(text, str(path))


def loads(text: str, source: str = "cluster.yaml") -> Settings:
    """Check a text; `source` names it in messages.

    A value that is wrong in itself is reported together with all contradictions between the other values, except
    those of the section that it is in.

    Raises:
        SettingsError: with all problems.
    """
    document = parse(text)
    if document.data is None:
        raise SettingsError(document.problems, source)
    refused = _scheduler_refusal(document)
    if refused is not None:
        raise SettingsError([refused], source)
    problems = list(document.problems)
    try:
        settings = Settings.model_validate(document.data)
    except ValidationError as error:
        problems += [_problem(detail, document) for detail in error.errors() if not _is_echo(detail)]
        problems += _contradictions_elsewhere(document, error)
        raise SettingsError(_once(problems), source) from None
    problems += [_found(owner, finding, document) for owner, finding in settings.all_findings()]
    if problems:
        raise SettingsError(_once(problems), source)
    return settings


def _scheduler_refusal(document: Document) -> Problem | None:
    """AWS Batch is a different product behind the same file; nothing else in it would make sense to check."""
    scheduling = (document.data or {}).get("Scheduling")
    if not isinstance(scheduling, Mapping) or scheduling.get("Scheduler") != "awsbatch":
        return None
    return _at(
        document,
        ("Scheduling", "Scheduler"),
        "awsbatch is not supported: AWS Batch places jobs on its own instances and leaves nothing for a Slurm "
        "daemon to manage",
        "set `Scheduler: slurm` and describe AwsBatchQueues as SlurmQueues, or stay with ParallelCluster for AWS Batch",
    )


def _contradictions_elsewhere(document: Document, error: ValidationError) -> list[Problem]:
    """Contradictions between the values that are right in themselves.

    The wrong values are left out and the rest is checked again; a section that lost a value is not judged. Nothing
    is found if a required key is missing.
    """
    details = [detail for detail in error.errors() if not _is_echo(detail)]
    wrong = {_location(detail, document) for detail in details}
    data: Any = document.data
    for location in wrong:
        data = _without(data, location)
    try:
        settings = Settings.model_validate(data)
    except ValidationError:
        return []
    damaged = {_location(detail, document)[:-1] for detail in details if not _is_strange_key(detail)}
    found = [(owner, finding) for owner, finding in settings.all_findings() if owner not in damaged]
    return [_found(owner, finding, document) for owner, finding in found]


def _is_strange_key(detail: ErrorDetails) -> bool:
    """An unknown key that is not a misspelling of a known one: without it, its section means the same."""
    if detail["type"] != "extra_forbidden":
        return False
    section = section_at(detail["loc"][:-1])
    return section is not None and nearest(str(detail["loc"][-1]), keys_of(section)) is None


def _found(owner: Location, finding: Finding, document: Document) -> Problem:
    return _at(document, (*owner, *finding.location), finding.message, finding.suggestion)


def _without(data: Any, location: Location) -> Any:
    """A copy of nested data that lacks one mapping key; list items stay, so that indexes stay true."""
    if not location:
        return data
    head, rest = location[0], location[1:]
    if isinstance(data, Mapping) and head in data:
        if not rest:
            return {key: value for key, value in data.items() if key != head}
        return {key: _without(value, rest) if key == head else value for key, value in data.items()}
    if isinstance(data, tuple) and isinstance(head, int) and head < len(data) and rest:
        return tuple(_without(item, rest) if index == head else item for index, item in enumerate(data))
    return data


def _is_echo(detail: ErrorDetails) -> bool:
    """A list is called too short when its items were refused: that was said of the items."""
    return detail["type"] == "too_short" and len(detail["input"]) > detail["ctx"]["actual_length"]


def _once(problems: Iterable[Problem]) -> list[Problem]:
    """One problem per place and message; a value that fits none of several types fails once, not once per type."""
    return list({(problem.path, problem.line, problem.message): problem for problem in problems}.values())


def _location(detail: ErrorDetails, document: Document) -> Location:
    """Where in the file; without the names of alternatives that pydantic adds behind it."""
    location: Location = detail["loc"]
    if detail["type"] == "missing":
        return location
    while location and location not in document.places:
        location = location[:-1]
    return location


def _problem(detail: ErrorDetails, document: Document) -> Problem:
    location = _location(detail, document)
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        return _at(document, location, "is required", "")
    if kind == "extra_forbidden":
        return _at(document, location, _UNKNOWN, key_suggestion(location))
    if location != detail["loc"] and not str(detail["loc"][-1]).startswith("["):
        return _at(document, location, "must be a word, a number, true or false", "")
    message = _message(detail)
    place = document.places.get(location)
    return _at(document, location, message, _suggestion(kind, context, place))


def _at(document: Document, location: Location, message: str, suggestion: str) -> Problem:
    place = document.place(location)
    exact = location in document.places
    line, column = 1, 1
    if place is not None:
        mark = place.key if message == _UNKNOWN or not exact or place.text is None else place.value
        line, column = mark.line + 1, mark.column + 1
    # what an unknown key holds may be anything, a secret too
    value = shown_text(location, place.text) if place is not None and exact and message != _UNKNOWN else ""
    return Problem(path_text(location), message, line, column, value, suggestion)


_MESSAGES: Mapping[str, str] = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "model_type": "must be a mapping (KEY: VALUE lines)",
    "dict_type": "must be a mapping (KEY: VALUE lines)",
    "mapping_type": "must be a mapping (KEY: VALUE lines)",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "needs at least {min_length} entries, has {actual_length}",
    "too_long": "takes at most {max_length} entries, has {actual_length}",
    "string_too_short": "needs at least {min_length} characters",
    "string_too_long": "takes at most {max_length} characters",
    "literal_error": "must be one of {expected}",
    "enum": "must be one of {expected}",
}


def _message(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    if detail["type"] == "string_pattern_mismatch":
        pattern = str(context["pattern"])
        return FORMS.get(pattern, f"must have the form {pattern}")
    template = _MESSAGES.get(detail["type"])
    return template.format(**context) if template else detail["msg"][:1].lower() + detail["msg"][1:]


def _suggestion(kind: str, context: Mapping[str, object], place: Place | None) -> str:
    if place is None or place.text is None:
        return ""
    if kind in ("literal_error", "enum"):
        near = nearest(place.text, re.findall(r"'([^']*)'", str(context["expected"])))
        return f"did you mean {near}?" if near else ""
    if kind == "string_type" and not place.is_quoted and place.text:
        return "put it in quotes"
    if kind in ("int_type", "float_type", "bool_type") and place.is_quoted:
        return "remove the quotes"
    return ""
