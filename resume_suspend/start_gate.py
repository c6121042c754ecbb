"""PrologSlurmctld: wait until the job's nodes are ready, so that slurmctld looks at the job the moment they are.

slurmctld looks for jobs whose powered-up nodes have all registered only every 30 seconds, but also whenever such a
program ends. Whatever goes wrong here, the job starts at Slurm's own next look, as it would without this program.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Mapping

from resume_suspend import wire
from resume_suspend.client import DEFAULT_SOCKET, NotDeliveredError, connect, read_line, told
from resume_suspend.hook import run, say, seconds, show

CONNECT_DEADLINE_S = 1.0
"""For the daemon to accept, and again to say that it is on the case."""
DEADLINE_S = 1800.0

_HELP = f"""\
usage: start_gate [--then PROGRAM [ARGUMENT...]]

Waits until clustermgtd says that the nodes of job SLURM_JOB_ID are ready, and
exits 0; exits 0 at once if they are, if no daemon answers, if the connection
ends, or on SIGTERM. Slurm calls it as PrologSlurmctld.

With --then (or CLUSTERMGTD_START_GATE_THEN=PROGRAM) the site's own
PrologSlurmctld runs afterwards in the same environment, always, and its exit
status is the job's:
  start_gate --then /etc/slurm/prolog.sh
  SLURM_JOB_ID=7 SLURM_JOB_NODELIST='q1-dy-c5-[1-3]' start_gate

environment:
  SLURM_JOB_ID, SLURM_JOB_NODELIST  set by Slurm
  CLUSTERMGTD_SOCKET                the daemon's socket (default {DEFAULT_SOCKET})
  CLUSTERMGTD_START_GATE_DEADLINE   seconds to wait at most (default {DEADLINE_S:g})
  CLUSTERMGTD_START_GATE_THEN       as --then, without arguments

exit status: 0; the site's program's with --then (127 if it is missing, 126 if
it cannot be run); 2 usage, but never for a job
"""


def main(arguments: list[str]) -> int:
    """Returns the exit status, unless a site's own prolog takes this process over."""
    if arguments and arguments[0] in ("-h", "--help"):
        show(_HELP)
        return 0
    then, problem = _then(arguments, os.environ)
    if not problem and not os.environ.get("SLURM_JOB_ID", "").isdecimal():
        problem = "SLURM_JOB_ID is not set to a job id"
    if problem:
        say(f"start_gate: {problem}\nusage: start_gate [--then PROGRAM [ARGUMENT...]] (--help says more)\n")
        if "SLURM_JOB_ID" not in os.environ:
            return 2
    else:
        try:
            outcome = wait_for_nodes(os.environ)
        except Exception as error:  # a job is never held up by a fault of ours
            outcome = f"{type(error).__name__}: {error}"
        if outcome:
            say(f"start_gate: job {os.environ['SLURM_JOB_ID']} is not held back: {outcome}\n")
    return _run_instead(then) if then else 0


def _then(arguments: list[str], environment: Mapping[str, str]) -> tuple[list[str], str]:
    """The site's own prolog with its arguments, and what is wrong with our arguments."""
    if not arguments:
        program = environment.get("CLUSTERMGTD_START_GATE_THEN", "")
        return ([program] if program else []), ""
    if arguments[0] == "--then" and len(arguments) > 1:
        return arguments[1:], ""
    if arguments[0].startswith("--then=") and len(arguments[0]) > len("--then="):
        return [arguments[0].removeprefix("--then="), *arguments[1:]], ""
    if arguments[0] in ("--then", "--then="):
        return [], "--then needs the path of a program"
    return [], f"unknown argument {arguments[0]!r}"


def wait_for_nodes(environment: Mapping[str, str]) -> str:
    """Returns when the job need not be held back any longer; empty if its nodes are ready, else why."""
    until = time.monotonic() + seconds(environment, "CLUSTERMGTD_START_GATE_DEADLINE", DEADLINE_S)
    path = environment.get("CLUSTERMGTD_SOCKET") or DEFAULT_SOCKET
    request = wire.gate_request(int(environment["SLURM_JOB_ID"]), environment.get("SLURM_JOB_NODELIST", ""))
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGTERM, lambda _signal, _frame: None)  # to the end: only the wait is cut short by it
    signal.set_wakeup_fd(woken)
    try:
        return _ask(path, request, until, wake)
    except (NotDeliveredError, OSError, ValueError) as error:
        return told(error)
    finally:
        signal.set_wakeup_fd(-1)
        os.close(wake)
        os.close(woken)


def _ask(path: str, request: bytes, until: float, wake: int) -> str:
    """Send the request, read the daemon's word that it waits, then its answer."""
    soon = min(until, time.monotonic() + CONNECT_DEADLINE_S)
    connection = connect(path, CONNECT_DEADLINE_S)
    try:
        connection.sendall(request)
        line, rest = read_line(connection, soon)
        answer = wire.reply_fields(line)
        if answer.is_waiting:
            if not rest and (ended := _wait_readable(connection.fileno(), wake, until)):
                return ended
            line, _ = read_line(connection, time.monotonic() + CONNECT_DEADLINE_S, rest)
            answer = wire.reply_fields(line)
    finally:
        connection.close()
    if not answer.ok:
        return answer.error or "the daemon refuses"
    return "" if answer.reason == "ready" else answer.reason


def _wait_readable(connection: int, wake: int, until: float) -> str:
    """Empty once the connection has something to say or has ended, else why the wait is over."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    poll.register(wake, select.POLLIN)
    ready = dict(poll.poll(max(0.0, until - time.monotonic()) * 1000))
    if wake in ready:
        return "SIGTERM"
    return "" if ready else "the deadline has come"


def _run_instead(then: list[str]) -> int:
    """Become the site's own prolog; returns only if that is not possible."""
    try:
        os.execv(then[0], then)  # noqa: S606 -- chaining the site's own prolog is the purpose
    except OSError as error:
        say(f"start_gate: cannot run {then[0]}: {error.strerror}\n")
        return 127 if isinstance(error, FileNotFoundError) else 126


if __name__ == "__main__":
    run(main)
