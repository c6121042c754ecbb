"""What the hooks write and read on the daemon's socket, in as few imports as possible.

One JSON object per line. `resume_suspend.protocol` gives the same messages as checked values; it costs more to import
than a hook takes to run, so the hooks build their lines here and the daemon reads them there.
"""

from __future__ import annotations

import os
import time

from resume_suspend import quick_json

VERSION = "1.0"
"""Major and minor. Another major is refused; fields that only a newer minor has are ignored."""
LINE_BYTES_MAX = 4 * 1024 * 1024
"""Longest line, newline included. 4,000 single-node jobs take well under one megabyte."""

RESUME = "resume"
SUSPEND = "suspend"
RESUME_FAIL = "resume-fail"
START_GATE = "start-gate"
REPLY = "reply"


class MalformedReplyError(ValueError):
    """What came back is not a reply of this protocol."""


class Answer:
    """A reply as a hook sees it."""

    __slots__ = ("error", "is_permanent", "is_waiting", "ok", "reason")

    def __init__(
        self, ok: bool, error: str = "", is_permanent: bool = False, is_waiting: bool = False, reason: str = ""
    ) -> None:
        self.ok = ok
        self.error = error
        self.is_permanent = is_permanent
        self.is_waiting = is_waiting
        self.reason = reason


def new_id() -> str:
    """A request id that no other request has and that sorts by the time it was made (nanoseconds, 20 digits)."""
    return f"{time.time_ns():020d}-{os.getpid()}-{os.urandom(4).hex()}"


def message(kind: str, fields: dict[str, object]) -> bytes:
    """One line: version and kind first, then `fields`; ASCII only, newline at the end."""
    text = quick_json.dumps({"version": VERSION, "kind": kind, **fields})
    return text.encode("ascii") + b"\n"


def nodes_request(kind: str, nodes: str, request_id: str, sent_at: float, note: str = "") -> bytes:
    """A suspend or resume-fail line."""
    return message(kind, {"id": request_id, "sent_at": sent_at, "nodes": nodes, "note": note})


def resume_request(nodes: str, jobs: list[dict[str, object]], request_id: str, sent_at: float, note: str = "") -> bytes:
    """A resume line. Jobs that would make it longer than a line may be are left out, and the note says so."""
    fields: dict[str, object] = {"id": request_id, "sent_at": sent_at, "nodes": nodes, "jobs": jobs, "note": note}
    line = message(RESUME, fields)
    if len(line) > LINE_BYTES_MAX and jobs:
        left_out = f"{len(jobs)} jobs left out: the request would have been {len(line)} bytes long"
        fields.update(jobs=[], note=f"{note}; {left_out}" if note else left_out)
        line = message(RESUME, fields)
    return line


def gate_request(job_id: int, nodes: str) -> bytes:
    """A start-gate line."""
    return message(START_GATE, {"job_id": job_id, "nodes": nodes})


def reply_fields(line: bytes) -> Answer:
    """A reply line as an Answer.

    Raises:
        MalformedReplyError: the line is no reply of this major version.
    """
    try:
        reply = quick_json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MalformedReplyError(f"reply is not JSON: {line[:80]!r}") from error
    if not isinstance(reply, dict) or reply.get("kind") != REPLY or not isinstance(reply.get("ok"), bool):
        raise MalformedReplyError(f"not a reply: {line[:80]!r}")
    if str(reply.get("version")).partition(".")[0] != VERSION.partition(".")[0]:
        raise MalformedReplyError(f"reply has version {reply.get('version')!r}, this side speaks {VERSION}")
    return Answer(
        ok=reply["ok"],
        error=str(reply.get("error", "")),
        is_permanent=reply.get("permanent") is True,
        is_waiting=reply.get("waiting") is True,
        reason=str(reply.get("reason", "")),
    )
