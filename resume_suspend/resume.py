"""ResumeProgram: Slurm wants these nodes."""

from __future__ import annotations

import os
import time

from resume_suspend import wire
from resume_suspend.hook import Program, deliver, hostlist_argument, run
from resume_suspend.resume_file import read_resume_file

PROGRAM = Program(
    "resume",
    "ResumeProgram",
    "Tells clustermgtd at once that Slurm powers nodes up, and for which jobs\n"
    "(SLURM_RESUME_FILE, all releases' formats; without a readable file the\n"
    "hostlist alone is handed on).",
)


def main(arguments: list[str]) -> int:
    """Returns the exit status: 0 handed over or spooled, 1 neither, 2 usage."""
    nodes, status = hostlist_argument(PROGRAM, arguments)
    if status is not None:
        return status
    jobs, note = read_resume_file(os.environ.get("SLURM_RESUME_FILE", ""))
    request_id = wire.new_id()
    line = wire.resume_request(nodes, jobs, request_id, time.time(), note)
    return deliver(PROGRAM, request_id, line, os.environ)


if __name__ == "__main__":
    run(main)
