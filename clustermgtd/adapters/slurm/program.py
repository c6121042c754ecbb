"""Run a program to its end without blocking the event loop, within a deadline and a size."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clustermgtd.errors import ConfigurationError, TransientError

_CHUNK = 1 << 18
_ERRORS_MAX = 1 << 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program left behind."""

    exit_code: int
    output: bytes
    errors: str


async def run_program(
    argv: Sequence[str], environment: Mapping[str, str], *, deadline_s: float, output_max: int
) -> Answer:
    """Start `argv`, read all of its output, wait for it. It and its children are killed if that cannot be done.

    Raises:
        ConfigurationError: there is no such program, or it may not be run.
        TransientError: it did not end within `deadline_s`, wrote more than `output_max` bytes, or could not be started
            for want of memory, processes or files.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=_CHUNK,
        )
    except (FileNotFoundError, PermissionError) as error:
        raise ConfigurationError(f"{argv[0]} cannot be run: {error.strerror}") from error
    except OSError as error:
        raise TransientError(f"{argv[0]} could not be started: {error}") from error
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(deadline_s):
            output, errors = await asyncio.gather(
                _read(process.stdout, output_max, argv[0]), _read_start(process.stderr, _ERRORS_MAX)
            )
            exit_code = await process.wait()
    except TimeoutError as error:
        raise TransientError(f"{argv[0]} did not answer within {deadline_s:g} s") from error
    finally:
        await _end(process)
    return Answer(exit_code, output, errors.decode(errors="replace").strip())


async def _read(stream: asyncio.StreamReader, size_max: int, program: str) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while chunk := await stream.read(_CHUNK):
        size += len(chunk)
        if size > size_max:
            raise TransientError(f"{program} wrote more than {size_max} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


async def _read_start(stream: asyncio.StreamReader, size_max: int) -> bytes:
    """The first `size_max` bytes; the rest is read and dropped, so that the program never blocks on it."""
    kept = b""
    while chunk := await stream.read(_CHUNK):
        kept += chunk[: size_max - len(kept)]
    return kept


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())
