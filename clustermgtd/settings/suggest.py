"""The nearest thing that would have been accepted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from clustermgtd.settings.cluster import Settings
from clustermgtd.settings.document import Location, path_text
from clustermgtd.settings.section import Section


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The most similar of some words, whatever their case; None if none is similar."""
    by_folded = {name.casefold(): name for name in known}
    matches = get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[matches[0]] if matches else None


def key_suggestion(location: Location) -> str:
    """What to write instead of an unknown key."""
    section = section_at(location[:-1])
    key = str(location[-1])
    known = keys_of(section) if section else []
    exact = [name for name in known if name.casefold() == key.casefold()]
    homes = _homes().get(key, [])
    if not exact and homes:
        return f"{key} belongs under {' or '.join(homes[:2])}"
    near = exact[0] if exact else nearest(key, known)
    if near:
        return f"did you mean {near}?"
    if known and len(known) <= 12:
        return f"known keys: {', '.join(known)}"
    return ""


def keys_of(section: type[Section]) -> list[str]:
    """A section's keys in the file's spelling."""
    return [field.alias or name for name, field in section.model_fields.items()]


def section_at(location: Location) -> type[Section] | None:
    """The model of the section at a location; None where there is none."""
    here: Any = Settings
    for part in location:
        if isinstance(here, type) and issubclass(here, Section):
            field = next((f for f in here.model_fields.values() if f.alias == part), None)
            if field is None:
                return None
            here = field.annotation
        else:
            here = _inner(here)
        here = without_none(here)
    return here if isinstance(here, type) and issubclass(here, Section) else None


def sections() -> Iterator[tuple[str, type[Section]]]:
    """Every section with its path (`Scheduling.SlurmQueues[]`), parents first, in the file's order."""
    yield from _sections("", Settings)


def _sections(path: str, section: type[Section]) -> Iterator[tuple[str, type[Section]]]:
    yield path, section
    for name, field in section.model_fields.items():
        key = field.alias or name
        inner, suffix = without_none(field.annotation), ""
        if get_origin(inner) is tuple:
            inner, suffix = _inner(inner), "[]"
        elif get_origin(inner) is Mapping:
            inner, suffix = _inner(inner), ".<name>"
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from _sections(f"{path}.{key}{suffix}" if path else f"{key}{suffix}", inner)


@cache
def _homes() -> dict[str, list[str]]:
    """Keys of few kinds of section -> where these occur first."""
    homes: dict[str, list[str]] = {}
    first = {section: path for path, section in reversed(list(sections()))}
    for section, path in reversed(first.items()):
        for key in keys_of(section):
            homes.setdefault(key, []).append(path or "the top level")
    return {key: paths for key, paths in homes.items() if len(paths) <= 2}


def without_none(annotation: Any) -> Any:
    if get_origin(annotation) is Annotated:
        return without_none(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        some = [arg for arg in get_args(annotation) if arg is not type(None)]
        return without_none(some[0]) if len(some) == 1 else annotation
    return annotation


def _inner(annotation: Any) -> Any:
    """What a tuple or a mapping holds."""
    arguments = get_args(annotation)
    if not arguments:
        return None
    origin = get_origin(annotation)
    chosen = arguments[0] if origin is tuple else arguments[-1]
    return without_none(chosen)


__all__ = ["key_suggestion", "keys_of", "nearest", "path_text", "section_at", "sections"]
