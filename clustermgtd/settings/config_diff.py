"""Two cluster.yaml, key by key: lists whose entries have names are compared by name, not by position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from clustermgtd.settings.cluster import Settings
from clustermgtd.settings.document import Location
from clustermgtd.settings.section import Section
from clustermgtd.settings.shown import shown
from clustermgtd.settings.suggest import without_none

_NAMES = ("name", "key")
"""Fields that name an entry of a list."""
_LED = "Scheduling.SlurmQueues"
"""The list whose first entry means something: it is Slurm's default partition."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One key that differs, or one entry of a list that came or went."""

    pattern: str
    """As `update_policy.RULES` has it: `Scheduling.SlurmQueues[].ComputeResources[].MaxCount`."""
    names: tuple[str, ...]
    """What stands for each `[]` and `<name>` of the pattern."""
    old: str
    """For people, secrets hidden; empty if there is none."""
    new: str

    @property
    def path(self) -> str:
        """`Scheduling.SlurmQueues[q1].ComputeResources[c5].MaxCount`."""
        text = self.pattern
        for name in self.names:
            entry, key = text.find("[]"), text.find("<name>")
            is_entry = entry >= 0 and (key < 0 or entry < key)
            text = text.replace("[]", f"[{name}]", 1) if is_entry else text.replace("<name>", name, 1)
        return text

    def name_after(self, prefix: str) -> str | None:
        """The name of the entry of a list or mapping: `name_after("Scheduling.SlurmQueues")` is the queue's."""
        for mark in ("[]", ".<name>"):
            if self.pattern.startswith(prefix + mark):
                return self.names[prefix.count("[]") + prefix.count("<name>")]
        return None


def differences(old: Settings, new: Settings) -> tuple[Difference, ...]:
    """In the order of the models. A value that is written and one that is the default anyway do not differ."""
    return tuple(_section(Settings, old, new, "", (), ()))


def keys() -> Iterator[str]:
    """The pattern of everything that can differ."""
    yield from _keys(Settings, "")


def _keys(model: type[Section], at: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        pattern = _below(at, field.alias or name)
        kind, inner = _kind(field)
        match kind:
            case "section":
                yield from _keys(inner, pattern)
            case "entries":
                if pattern == _LED:
                    yield pattern
                yield f"{pattern}[]"
                yield from _keys(inner, f"{pattern}[]")
            case "mapping":
                yield from _keys(inner, f"{pattern}.<name>")
            case _:
                yield pattern


def _section(
    model: type[Section],
    old: Section | None,
    new: Section | None,
    at: str,
    location: Location,
    names: tuple[str, ...],
) -> Iterator[Difference]:
    """`None` is a section that is not there: it is as good as one with defaults."""
    for name, field in model.model_fields.items():
        key = field.alias or name
        pattern, here = _below(at, key), (*location, key)
        before, after = _value(old, name, field), _value(new, name, field)
        if before == after:
            continue
        kind, inner = _kind(field)
        match kind:
            case "section":
                yield from _section(inner, before, after, pattern, here, names)
            case "entries":
                if pattern == _LED and before[0].name != after[0].name:
                    yield Difference(pattern, names, f"{before[0].name} first", f"{after[0].name} first")
                yield from _entries(inner, before, after, f"{pattern}[]", here, names)
            case "mapping":
                for entry in sorted({*before, *after}):
                    ends = before.get(entry), after.get(entry)
                    yield from _section(inner, *ends, f"{pattern}.<name>", (*here, entry), (*names, entry))
            case _:
                yield Difference(pattern, names, shown(here, before), shown(here, after))


def _entries(
    model: type[Section],
    old: tuple[Section, ...],
    new: tuple[Section, ...],
    pattern: str,
    location: Location,
    names: tuple[str, ...],
) -> Iterator[Difference]:
    before, after = _by_name(old), _by_name(new)
    for name in dict.fromkeys((*before, *after)):
        here, ends = (*location, name), (before.get(name), after.get(name))
        if None in ends:
            texts = [shown(here, end) for end in ends]
            yield Difference(pattern, (*names, name), *texts)
        else:
            yield from _section(model, *ends, pattern, here, (*names, name))


def _by_name(entries: tuple[Section, ...] | None) -> dict[str, Section]:
    return {next(str(getattr(entry, f)) for f in _NAMES if hasattr(entry, f)): entry for entry in entries or ()}


def _value(section: Section | None, name: str, field: FieldInfo) -> Any:
    if section is not None:
        return getattr(section, name)
    return None if field.is_required() else field.get_default(call_default_factory=True)


def _kind(field: FieldInfo) -> tuple[str, Any]:
    """`section`, `entries` (a list of sections with names), `mapping` (of sections) or `value`, and the section."""
    inner: Any = without_none(field.annotation)
    origin = get_origin(inner)
    if origin in (tuple, Mapping):
        arguments = get_args(inner)
        inner = without_none(arguments[0 if origin is tuple else -1])
    if not (isinstance(inner, type) and issubclass(inner, Section)):
        return "value", None
    if origin is tuple:
        return ("entries", inner) if set(_NAMES) & set(inner.model_fields) else ("value", None)
    return ("mapping", inner) if origin is Mapping else ("section", inner)


def _below(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key
