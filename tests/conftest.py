"""In which order several test processes share the work."""

from __future__ import annotations

import pytest

LONG_FIRST = ("simulation", "e2e", "contract")
"""Folders of modules that take minutes. One of them at the end would keep a single process busy."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long modules first, where `-n` shares the tests out; one process runs them as they stand in the tree."""
    if hasattr(config, "workerinput"):
        items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    folders = item.path.relative_to(item.config.rootpath).parts
    return min((place for place, name in enumerate(LONG_FIRST) if name in folders), default=len(LONG_FIRST))
