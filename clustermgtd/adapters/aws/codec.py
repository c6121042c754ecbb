"""Launches and what is known besides them as stored text: versioned JSON, validated when read, compressed."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, replace
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from clustermgtd.errors import PermanentError
from clustermgtd.model.claim import Launch
from clustermgtd.model.fleet_status import FleetRecord
from clustermgtd.model.offering_memory import OfferingMemory
from clustermgtd.model.safeguards import Safeguards

BODY_VERSION = 1
"""Grows when a change is made that the reader below cannot take; a field with a default needs no new version."""

TEXT_MAX_BYTES = 16 * 1024
"""Longer bodies are stored compressed; shorter ones can be read in the console."""

_INFLATED_MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Body:
    body_version: int
    launch: Launch


@dataclass(frozen=True, slots=True)
class _OfferingsBody:
    body_version: int
    offerings: OfferingMemory


@dataclass(frozen=True, slots=True)
class _FleetBody:
    body_version: int
    fleet: FleetRecord


@dataclass(frozen=True, slots=True)
class _SafeguardsBody:
    body_version: int
    safeguards: Safeguards


_BODY: TypeAdapter[_Body] = TypeAdapter(_Body)
_OFFERINGS: TypeAdapter[_OfferingsBody] = TypeAdapter(_OfferingsBody)
_FLEET: TypeAdapter[_FleetBody] = TypeAdapter(_FleetBody)
_SAFEGUARDS: TypeAdapter[_SafeguardsBody] = TypeAdapter(_SafeguardsBody)
_T = TypeVar("_T")


def encode(launch: Launch) -> str | bytes:
    """The body of a record: JSON, or zlib-compressed JSON if that is long. The stored version is not part of it."""
    return _short(_BODY.dump_json(_Body(BODY_VERSION, replace(launch, version=0))))


def decode(body: str | bytes, version: int) -> Launch:
    """The launch of a record, with the record's version.

    Raises:
        PermanentError: a newer daemon wrote it, or it is damaged. The record is never guessed at.
    """
    return replace(_read(_BODY, body).launch, version=version)


def encode_offerings(offerings: OfferingMemory) -> str | bytes:
    """The body of the record of offerings, as `encode`."""
    return _short(_OFFERINGS.dump_json(_OfferingsBody(BODY_VERSION, replace(offerings, version=0))))


def decode_offerings(body: str | bytes, version: int) -> OfferingMemory:
    """What is known about offerings, with the record's version.

    Raises:
        PermanentError: as `decode`.
    """
    return replace(_read(_OFFERINGS, body).offerings, version=version)


def encode_fleet(record: FleetRecord) -> str | bytes:
    """The body of the record of stops and starts, as `encode`."""
    return _short(_FLEET.dump_json(_FleetBody(BODY_VERSION, replace(record, version=0))))


def decode_fleet(body: str | bytes, version: int) -> FleetRecord:
    """What operators asked for, with the record's version.

    Raises:
        PermanentError: as `decode`.
    """
    return replace(_read(_FLEET, body).fleet, version=version)


def encode_safeguards(safeguards: Safeguards) -> str | bytes:
    """The body of the record of what is held back, as `encode`."""
    return _short(_SAFEGUARDS.dump_json(_SafeguardsBody(BODY_VERSION, replace(safeguards, version=0))))


def decode_safeguards(body: str | bytes, version: int) -> Safeguards:
    """What is held back, with the record's version.

    Raises:
        PermanentError: as `decode`.
    """
    return replace(_read(_SAFEGUARDS, body).safeguards, version=version)


def _short(text: bytes) -> str | bytes:
    return zlib.compress(text, level=6) if len(text) > TEXT_MAX_BYTES else text.decode()


def _read(adapter: TypeAdapter[_T], body: str | bytes) -> _T:
    try:
        text = body.encode() if isinstance(body, str) else _inflated(body)
        _refuse_newer(text)
        return adapter.validate_json(text, strict=True)
    except (ValueError, zlib.error, ValidationError) as error:
        raise PermanentError(f"a claim record cannot be read: {error}", code="BodyDamaged") from error


def _refuse_newer(text: bytes) -> None:
    """The version is written first, so that it is known without reading what it speaks of."""
    if text.startswith(b'{"body_version":%d,' % BODY_VERSION):
        return
    body = json.loads(text)
    found = body.get("body_version") if isinstance(body, dict) else None
    if found != BODY_VERSION:
        raise PermanentError(
            f"a claim record has body version {found!r}, this daemon reads {BODY_VERSION}: another clustermgtd wrote "
            "it; run that release, or let it close its launches before changing",
            code="BodyVersion",
        )


def _inflated(body: bytes) -> bytes:
    inflater = zlib.decompressobj()
    text = inflater.decompress(body, _INFLATED_MAX_BYTES)
    if not inflater.eof:
        raise ValueError("compressed body is cut off or too long")
    return text
