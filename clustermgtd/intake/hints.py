"""Lines of the hook protocol become hints: the border at which hostlists are expanded."""

from __future__ import annotations

import re
from collections.abc import Iterable

from clustermgtd.intake.observer import Rejection
from clustermgtd.model.hostlist import EXPANDED_MAX, expand
from clustermgtd.model.ids import JobId, NodeName
from clustermgtd.ports.hint_sink import Hint, HintedJob, HintKind
from resume_suspend.protocol import (
    Hook,
    ProtocolError,
    Reply,
    Request,
    ResumeFailRequest,
    ResumeJob,
    ResumeRequest,
    SuspendRequest,
    VersionError,
    decode,
)

_ONE_NAME = re.compile(r"[A-Za-z0-9._-]+")


class UnusableError(Exception):
    """The line will never be a hint; the text is fit to be sent back."""

    def __init__(self, reason: Rejection, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def request_from(line: bytes) -> Request:
    """The request in a line.

    Raises:
        UnusableError: it holds none.
    """
    try:
        message = decode(line)
    except VersionError as error:
        raise UnusableError(Rejection.UNSUPPORTED_VERSION, str(error)) from error
    except ProtocolError as error:
        raise UnusableError(Rejection.MALFORMED, str(error)) from error
    if isinstance(message, Reply):
        raise UnusableError(Rejection.MALFORMED, "a reply is not a request")
    return message


def hint_from(hook: Hook) -> Hint:
    """The hint, hostlists expanded. A job whose nodes cannot be made out is left out, and the note says so.

    Raises:
        UnusableError: `nodes` is not a hostlist, or stands for too many nodes.
    """
    match hook:
        case ResumeRequest():
            jobs, left_out = _jobs(hook.jobs)
            note = "; ".join(filter(None, [hook.note, f"{left_out} jobs without usable nodes" if left_out else ""]))
            return Hint(HintKind.RESUME, nodes_from(hook.nodes), hook.id, hook.sent_at, jobs, note)
        case SuspendRequest():
            return Hint(HintKind.SUSPEND, nodes_from(hook.nodes), hook.id, hook.sent_at, note=hook.note)
        case ResumeFailRequest():
            return Hint(HintKind.RESUME_FAIL, nodes_from(hook.nodes), hook.id, hook.sent_at, note=hook.note)


def nodes_from(hostlist: str) -> tuple[NodeName, ...]:
    """The nodes of a hostlist, at least one.

    Raises:
        UnusableError: there are none, too many, or it is not a hostlist.
    """
    try:
        names = expand(hostlist)
    except ValueError as error:
        raise UnusableError(Rejection.MALFORMED, str(error)) from error
    if not names:
        raise UnusableError(Rejection.MALFORMED, f"hostlist names no node: {hostlist[:60]!r}")
    return tuple(map(NodeName, names))


def _jobs(jobs: Iterable[ResumeJob]) -> tuple[tuple[HintedJob, ...], int]:
    """Jobs with their nodes, and how many were left out. All together they name a bounded number of nodes."""
    hinted: list[HintedJob] = []
    left_out = 0
    room = 4 * EXPANDED_MAX  # nodes may be shared by several jobs
    for job in jobs:
        try:
            names = _names(job.nodes_resume, max(0, min(room, EXPANDED_MAX)))
        except ValueError:
            left_out += 1
            continue
        room -= len(names)
        hinted.append(
            HintedJob(
                id=JobId(job.job_id),
                nodes=tuple(map(NodeName, names)),
                allocation=job.nodes_alloc,
                partition=job.partition,
                features=job.features,
                reservation=job.reservation,
                extra=job.extra,
            )
        )
    return tuple(hinted), left_out


def _names(hostlist: str, limit: int) -> list[str]:
    """`expand`, without its cost for the name of one node: thousands of jobs of one node come in one request."""
    if limit and hostlist and _ONE_NAME.fullmatch(hostlist):
        return [hostlist]
    return expand(hostlist, limit)
