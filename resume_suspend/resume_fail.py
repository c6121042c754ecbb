"""ResumeFailProgram: these nodes did not come up within ResumeTimeout."""

from __future__ import annotations

import os
import time

from resume_suspend import wire
from resume_suspend.hook import Program, deliver, hostlist_argument, run

PROGRAM = Program(
    "resume_fail", "ResumeFailProgram", "Tells clustermgtd at once that Slurm gave up on nodes it powered up."
)


def main(arguments: list[str]) -> int:
    """Returns the exit status: 0 handed over or spooled, 1 neither, 2 usage."""
    nodes, status = hostlist_argument(PROGRAM, arguments)
    if status is not None:
        return status
    request_id = wire.new_id()
    line = wire.nodes_request(wire.RESUME_FAIL, nodes, request_id, time.time())
    return deliver(PROGRAM, request_id, line, os.environ)


if __name__ == "__main__":
    run(main)
