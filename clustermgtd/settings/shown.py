"""Values of cluster.yaml for people: nothing that may be a secret, never more than a line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from clustermgtd.settings.document import Location
from clustermgtd.settings.section import Section

HIDDEN = "<hidden>"
_SHOWN_MAX = 80
_SECRET = re.compile(
    r"secret|passw|token|auth|credential|pass$|^args$|sssd|attributes|customslurmsettings", re.IGNORECASE
)
_CREDENTIALS_IN_URL = re.compile(r"//[^/@\s]*@|\?.*$")


def shown_text(location: Location, text: str | None) -> str:
    """One scalar as the file has it; empty for None."""
    if text is None:
        return ""
    return _shortened(_open(location, text))


def shown(location: Location, value: object) -> str:
    """A value of a model, whatever its shape; empty for None."""
    if value is None:
        return ""
    plain = _plain(location, value)
    return _shortened(plain if isinstance(plain, str) else json.dumps(plain))


def _plain(location: Location, value: object) -> object:
    """What JSON can say, with secrets replaced."""
    if isinstance(value, Section):
        return _plain(location, value.model_dump(mode="json", by_alias=True, exclude_defaults=True))
    if isinstance(value, Mapping):
        return {str(key): _plain((*location, str(key)), item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain((*location, number), item) for number, item in enumerate(value)]
    if isinstance(value, str):
        return _open(location, str(value))
    return HIDDEN if _may_be_secret(location) and not isinstance(value, bool) else value


def _open(location: Location, text: str) -> str:
    if _may_be_secret(location) and not text.startswith("arn:"):
        return HIDDEN
    return _CREDENTIALS_IN_URL.sub(HIDDEN, text) if "://" in text else text


def _may_be_secret(location: Location) -> bool:
    return any(isinstance(part, str) and _SECRET.search(part) for part in location)


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_MAX else line[:_SHOWN_MAX] + "..."
