"""Programs that make machines, run to their end."""

from __future__ import annotations

import subprocess


class CommandError(Exception):
    """A program failed; the message has its last words."""


def run(*command: str, timeout_s: float = 60.0, text: str | None = None) -> str:
    """Its standard output.

    Raises:
        CommandError: it ended with another code than 0, or not in time.
    """
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=timeout_s, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandError(f"{' '.join(command)}: {error}") from error
    if done.returncode != 0:
        raise CommandError(f"{' '.join(command)}: exit code {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout
