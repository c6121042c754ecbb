"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.lab import Lab, running_lab


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """One lab for all tests of a module; a test leaves it without jobs."""
    failed_before = request.session.testsfailed
    with running_lab(has_failed=lambda: request.session.testsfailed > failed_before) as running:
        yield running
