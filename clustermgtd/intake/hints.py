"""Lines of the hook protocol become hints: the border at which a hostlist is expanded."""

from __future__ import annotations

from clustermgtd.intake.observer import Rejection
from clustermgtd.model.hostlist import expand
from clustermgtd.model.ids import JobId, NodeName
from clustermgtd.ports.hint_sink import Hint, HintKind
from resume_suspend.protocol import (
    Hook,
    ProtocolError,
    Reply,
    Request,
    ResumeFailRequest,
    ResumeRequest,
    SuspendRequest,
    VersionError,
    decode,
)


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
    """The hint, its hostlist expanded.

    Raises:
        UnusableError: `nodes` is not a hostlist, or stands for too many nodes.
    """
    match hook:
        case ResumeRequest():
            jobs = tuple(JobId(job.job_id) for job in hook.jobs)
            return Hint(HintKind.RESUME, nodes_from(hook.nodes), hook.id, hook.sent_at, jobs, hook.note)
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
