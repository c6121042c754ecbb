"""The repository's own files, for tests that look at them."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("clustermgtd", "resume_suspend")
_NOT_OURS = {"build", "dist", "__pycache__", "node_modules"}
_TEXT = {
    ".py",
    ".md",
    ".toml",
    ".yaml",
    ".yml",
    ".json",
    ".service",
    ".socket",
    ".conf",
    ".sh",
    ".cfg",
    ".j2",
    ".txt",
    "",
}


def text_files() -> Iterator[Path]:
    """Every text file that belongs to the repository, made things left out."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(
            name
            for name in folders
            if name not in _NOT_OURS and not name.endswith(".egg-info") and (not name.startswith(".") or name == ".ci")
        )
        for name in sorted(names):
            path = Path(folder, name)
            if path.suffix in _TEXT and path.is_file() and not name.startswith(".coverage"):
                yield path


def python_files(*parts: str) -> list[Path]:
    """Python files of the packages, or below the given top-level folders."""
    return sorted(path for part in parts or PACKAGES for path in (ROOT / part).rglob("*.py"))


@cache
def syntax(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))
