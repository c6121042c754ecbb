"""The collector stays out of the way, and still collects."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from clustermgtd.adapters.system import garbage


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


class Knot:
    def __init__(self) -> None:
        self.itself = self


def test_what_is_loaded_is_not_walked_through_again() -> None:
    loaded = [object()]
    garbage.keep_out_of_the_way()
    assert all(kept is not loaded for kept in gc.get_objects())
    assert gc.get_freeze_count() > 1000


def test_cycles_made_later_are_still_found() -> None:
    garbage.keep_out_of_the_way()
    knot = weakref.ref(Knot())
    kept: list[list[int]] = []
    while knot() is not None:
        kept.append([])
        assert len(kept) < 3 * garbage.YOUNG_OBJECTS_MAX, "the cycle was never collected"
