"""Where a subcommand's text goes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from clustermgtd.cli.command import Exit


def write(text: str, path: Path | None) -> Exit:
    """To standard output, or to a file, which is replaced whole or not at all. Failures are said on standard error."""
    if path is None:
        print(text, end="")
        return Exit.OK
    try:
        _replace(path, text)
    except OSError as error:
        print(f"{path}: cannot be written: {error.strerror}", file=sys.stderr)
        return Exit.FAILED
    return Exit.OK


def _replace(path: Path, text: str) -> None:
    """Others may read the file at any moment."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
