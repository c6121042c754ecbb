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
        replace(path, text.encode())
    except OSError as error:
        print(f"{path}: cannot be written: {error.strerror}", file=sys.stderr)
        return Exit.FAILED
    return Exit.OK


def replace(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Whole or not at all: others may read the file at any moment. `mode` is less what the umask takes away.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
