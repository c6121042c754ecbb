"""What resume, suspend and resume_fail have in common: arguments, hand over or spool, exit status."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress

from resume_suspend import wire
from resume_suspend.client import (
    DEFAULT_SOCKET,
    DEFAULT_SPOOL,
    NotDeliveredError,
    RefusedError,
    hand_over,
    spool,
    told,
)

DEADLINE_S = 2.0

_HELP = """\
usage: {program} HOSTLIST

{what}

Slurm calls it as {parameter}; for a try by hand:
  python3 -m resume_suspend.{program} 'q1-dy-c5-[1-10,12]'
  CLUSTERMGTD_SOCKET=/tmp/hooks.sock python3 -m resume_suspend.{program} q1-dy-c5-1

environment:
  CLUSTERMGTD_SOCKET         the daemon's socket (default {socket})
  CLUSTERMGTD_SPOOL          where requests wait if no daemon answers (default {spool})
  CLUSTERMGTD_HOOK_DEADLINE  seconds to wait for the daemon (default {deadline:g})

exit status: 0 the daemon has it or it is spooled, 1 neither, 2 usage
"""


class Program:
    """How a hook introduces itself."""

    __slots__ = ("name", "parameter", "what")

    def __init__(self, name: str, parameter: str, what: str) -> None:
        self.name = name
        self.parameter = parameter
        self.what = what

    def help(self) -> str:
        return _HELP.format(
            program=self.name,
            what=self.what,
            parameter=self.parameter,
            socket=DEFAULT_SOCKET,
            spool=DEFAULT_SPOOL,
            deadline=DEADLINE_S,
        )


def run(main: Callable[[list[str]], int]) -> None:
    """Run a hook's `main` with the process's arguments and end the process with its status.

    Neither garbage nor the interpreter is tidied up: that takes a fifth of a hook's time.
    """
    gc.disable()
    os._exit(main(sys.argv[1:]))


def say(text: str) -> None:
    """Write to stderr, and carry on if Slurm has closed the other end or gave none at all."""
    with suppress(AttributeError, OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()


def show(text: str) -> None:
    """Write to stdout, likewise."""
    with suppress(AttributeError, OSError, ValueError):
        sys.stdout.write(text)
        sys.stdout.flush()


def hostlist_argument(program: Program, arguments: list[str]) -> tuple[str, int | None]:
    """The hostlist, and the status to exit with at once (help, usage error) or None."""
    if any(argument in ("-h", "--help") for argument in arguments):
        show(program.help())
        return "", 0
    problem = ""
    if len(arguments) != 1:
        problem = f"expected one HOSTLIST, got {len(arguments)} arguments"
    elif not arguments[0].strip() or arguments[0].startswith("-"):
        problem = f"{arguments[0]!r} is not a HOSTLIST"
    if not problem:
        return arguments[0].strip(), None
    say(
        f"{program.name}: {problem}\n"
        f"usage: {program.name} HOSTLIST, for example: {program.name} 'q1-dy-c5-[1-10,12]' (--help says more)\n"
    )
    return "", 2


def deliver(program: Program, request_id: str, line: bytes, environment: Mapping[str, str]) -> int:
    """Hand the line over, else spool it; returns the exit status and says on stderr what went wrong."""
    socket_path = environment.get("CLUSTERMGTD_SOCKET") or DEFAULT_SOCKET
    folder = environment.get("CLUSTERMGTD_SPOOL") or DEFAULT_SPOOL
    if len(line) > wire.LINE_BYTES_MAX:
        return _failed(program, f"the request is longer than {wire.LINE_BYTES_MAX} bytes")
    try:
        hand_over(socket_path, line, seconds(environment, "CLUSTERMGTD_HOOK_DEADLINE", DEADLINE_S))
    except RefusedError as refused:
        return _failed(program, f"the daemon refuses the request: {refused}")
    except NotDeliveredError as not_delivered:
        try:
            path = spool(folder, request_id, line)
        except OSError as error:
            return _failed(
                program,
                f"no daemon took the request ({not_delivered}) and it cannot be spooled ({folder}: {told(error)})",
            )
        say(f"{program.name}: no daemon took the request ({not_delivered}); it waits in {path}\n")
    return 0


def seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    """A positive number of seconds from the environment; anything else is said on stderr and the default is used."""
    text = environment.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if 0 < value < 1e9:
        return value
    say(f"{name}={text!r} is not a positive number of seconds; {default:g} is used\n")
    return default


def _failed(program: Program, problem: str) -> int:
    """Say it where Slurm may drop it and where it stays."""
    say(f"{program.name}: {problem}\n")
    import syslog  # only a failure pays for it

    syslog.openlog(f"clustermgtd-{program.name}", syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_ERR, problem)
    return 1
