"""How Python's garbage collector treats a daemon that keeps much and makes few cycles."""

from __future__ import annotations

import gc

YOUNG_OBJECTS_MAX = 20_000
"""Objects made before the youngest are looked through; Python's default of 700 does it forty times in one observation
of 10,000 nodes."""


def keep_out_of_the_way() -> None:
    """Call once everything that stays is loaded.

    A full collection holds the event loop while it walks through every object there is. Those that are there now
    (modules, AWS's service models: half a million) are never walked through again. Everything that an observation
    makes is freed by reference counting; cycles are still found.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS_MAX, 10, 10)
