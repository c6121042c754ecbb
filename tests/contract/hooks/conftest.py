"""A head node for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.contract.hooks.site import Site


@pytest.fixture
def site() -> Iterator[Site]:
    with TemporaryDirectory(prefix="site") as root:
        yield Site(Path(root))
