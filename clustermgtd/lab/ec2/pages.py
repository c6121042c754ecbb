"""Paging: tokens that survive instances coming and going."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence

from clustermgtd.lab.ec2.instances import Filters
from clustermgtd.lab.ec2.records import Ec2Error, InstanceRecord, Page

PAGE_SIZE_MIN = 5
PAGE_SIZE_MAX = 1000


def cut_page(records: Sequence[InstanceRecord], filters: Filters, page_size: int, next_token: str) -> Page:
    """The page after `next_token` of records in launch order.

    Raises:
        Ec2Error: InvalidParameterValue for a page size EC2 refuses, or a token that is not from the same call.
    """
    if not PAGE_SIZE_MIN <= page_size <= PAGE_SIZE_MAX:
        bound, word = (PAGE_SIZE_MAX, "smaller") if page_size > PAGE_SIZE_MAX else (PAGE_SIZE_MIN, "greater")
        raise Ec2Error(
            "InvalidParameterValue",
            f"Value ( {page_size} ) for parameter maxResults is invalid. Expecting a value {word} than {bound}.",
        )
    mark = _mark(filters)
    after = _sequence(next_token, mark) if next_token else 0
    rest = [r for r in records if r.sequence > after]
    page = tuple(rest[:page_size])
    return Page(page, _token(page[-1].sequence, mark) if len(rest) > page_size else "")


def _mark(filters: Filters) -> int:
    return zlib.crc32(repr(sorted((k, tuple(v)) for k, v in filters.items())).encode())


def _token(sequence: int, mark: int) -> str:
    return base64.urlsafe_b64encode(f"{sequence}:{mark}".encode()).decode()


def _sequence(token: str, mark: int) -> int:
    try:
        sequence, found = base64.urlsafe_b64decode(token.encode()).decode().split(":")
        if int(found) == mark:
            return int(sequence)
    except (ValueError, binascii.Error):
        pass
    raise Ec2Error("InvalidParameterValue", "The token provided in the nextToken parameter is invalid.")
