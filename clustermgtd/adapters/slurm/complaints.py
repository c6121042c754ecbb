"""What Slurm's programs say when they fail, by what the caller does about it. One table."""

from __future__ import annotations

from clustermgtd.errors import (
    ClustermgtdError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    PermanentError,
    TransientError,
)

INVALID_NODE = "Invalid node name specified"
INVALID_STATE = "Invalid node state specified"
_INVALID_TRANSITION = "Invalid node state transition"
"""What 26.05 says in place of `INVALID_STATE`; the code is that one all the same."""
INVALID_JOB = "Invalid job id specified"
DUPLICATE_RESERVATION = "Duplicate reservation name"
STARTED_RESERVATION = "Reservation already started"
INVALID_RESERVATION = "Requested reservation is invalid"

_TABLE: tuple[tuple[str, type[ClustermgtdError]], ...] = (
    (INVALID_NODE, NotFoundError),
    (INVALID_STATE, ConflictError),
    (_INVALID_TRANSITION, ConflictError),
    (INVALID_JOB, NotFoundError),
    (DUPLICATE_RESERVATION, ConflictError),
    (STARTED_RESERVATION, ConflictError),
    (INVALID_RESERVATION, NotFoundError),
    ("Requested reservation is in use", ConflictError),
    ("Job has already finished", NotFoundError),
    ("Job/step already completing or completed", NotFoundError),
    ("Job is no longer pending execution", ConflictError),
    ("Requested operation is presently disabled", ConflictError),
    ("Unable to contact", TransientError),
    ("Socket timed out", TransientError),
    ("Connection refused", TransientError),
    ("Connection reset", TransientError),
    ("Connection timed out", TransientError),
    ("Zero Bytes were transmitted or received", TransientError),
    ("Transport endpoint is not connected", TransientError),
    ("Slurm backup controller in standby mode", TransientError),
    ("Unexpected message received", TransientError),
    ("Resource temporarily unavailable", TransientError),
    ("Protocol authentication error", TransientError),
    ("unge", TransientError),
    ("Access/permission denied", ConfigurationError),
    ("Invalid user id", ConfigurationError),
    ("Could not establish a configuration source", ConfigurationError),
    ("Unable to process configuration file", ConfigurationError),
    ("Incompatible versions of client and server code", ConfigurationError),
    ("Invalid partition name specified", NotFoundError),
)


def complaint(program: str, exit_code: int, said: str) -> ClustermgtdError:
    """The error for a failed program. What is not in the table is permanent; `code` then holds its last line."""
    kind = next((kind for text, kind in _TABLE if text in said), PermanentError)
    shown = " / ".join(line.strip() for line in said.splitlines() if line.strip())[:500]
    return kind(f"{program} ended with {exit_code}: {shown or 'nothing said'}", code=_code(said))


def _code(said: str) -> str:
    """The first known text, or the last line, as a short code."""
    known = next((text for text, _ in _TABLE if text in said), "")
    if known == _INVALID_TRANSITION:
        return INVALID_STATE
    lines = said.strip().splitlines()
    return known or (lines[-1].strip()[:100] if lines else "")
