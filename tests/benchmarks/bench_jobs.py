"""Many jobs in one resume call.

The peer works off one job after the other: 500 jobs of 2 nodes took it 31.9 s, 1,002 requests and 502 processes.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.bench_wire import resume
from tests.benchmarks.row import Row
from tests.benchmarks.stand import Stand, split

REQUESTS_MAX = 80
PEER = {(500, 2): (31.9, 1002, 502), (100, 10): (11.2, 202, 102)}
"""By jobs and nodes of each: seconds, requests, processes."""


def measure() -> Iterator[Row]:
    for (jobs, size), (seconds, requests, processes) in PEER.items():
        with Stand(jobs * size) as stand:
            seen = resume(stand, list(split(stand.names, size)))
        name, nodes = f"jobs/{jobs}-of-{size}", jobs * size
        yield Row(f"{name}/last-instance-recorded", round(seen.recorded_s, 3), "s", nodes, seconds, "the peer")
        made = sum(seen.calls.values())
        yield Row(f"{name}/requests", made, "calls", nodes, REQUESTS_MAX, "required")
        yield Row(f"{name}/requests", made, "calls", nodes, requests, "the peer")
        yield Row(f"{name}/programs", seen.programs, "", nodes, processes, "the peer")
        yield Row(f"{name}/cpu", round(seen.cpu_s, 3), "s", nodes)
        yield Row(f"{name}/loop-stall-max", round(seen.stall_max_ms, 1), "ms", nodes)
