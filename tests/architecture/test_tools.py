"""The tools that pyproject.toml configures find nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.architecture.source_tree import ROOT

TOOLS = {
    "import contracts": ["-c", "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"],
    "ruff check": ["-m", "ruff", "check", "--no-cache"],
    "ruff format": ["-m", "ruff", "format", "--check", "--diff", "--no-cache"],
    "mypy --strict": ["-m", "mypy"],
}


@pytest.mark.parametrize("tool", list(TOOLS))
def test_the_tool_is_content(tool: str) -> None:
    done = subprocess.run(
        [sys.executable, *TOOLS[tool]], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, f"{tool}:\n{done.stdout}{done.stderr}"
