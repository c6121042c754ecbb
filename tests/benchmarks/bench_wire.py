"""Nodes over the wire, with unlimited buckets: from the end of Slurm's hook to every instance recorded in the table.

The peer's figures are of its own programs on the same kind of machine, and not like for like: they count from the start
of its hook, include DNS and Slurm updates that this daemon does not make, and moto built its instances (3.9 to 5.7 s
for 1,000), which the lab's EC2 does faster. The peer's own share of its 6.2 s was 1.5 to 2.3 s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.benchmarks.row import Row
from tests.benchmarks.stand import POWERING_UP, Stand, split

PEER_S = {(1, 1): 0.48, (100, 1): 0.78, (1000, 1): 6.24, (1000, 1000): 6.22}
"""By nodes and jobs; median wall time of the peer's resume program."""
PEER_CPU_S = {(1, 1): 0.30, (100, 1): 0.49, (1000, 1): 1.10, (1000, 1000): 0.97}
PEER_MB = {(1, 1): 72, (100, 1): 72, (1000, 1): 80}
EC2_CALLS_BESIDE = 6
"""The constant beside one EC2 call per hundred nodes: the tick's look at the world, and pages of it."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """What one resume call came to. Times in seconds after the hook's end."""

    accepted_s: float
    """EC2 accepted the last CreateFleet."""
    recorded_s: float
    """The table has the last instance."""
    calls: dict[str, int]
    programs: int
    """Started by the daemon: scontrol, squeue."""
    cpu_s: float
    stall_max_ms: float
    peak_mb: float

    @property
    def ec2_calls(self) -> int:
        return sum(count for name, count in self.calls.items() if name.startswith("CreateFleet")) + self.calls.get(
            "DescribeInstances", 0
        )


def resume(stand: Stand, jobs: Sequence[Sequence[str]]) -> Resumed:
    """Slurm powers up every node of the stand for these jobs."""
    stand.show(dict.fromkeys(stand.names, POWERING_UP), jobs)
    calls, programs = stand.calls(), stand.programs()
    stand.mark()
    ended = stand.resume(jobs)
    stand.wait_until(lambda: stand.instances() >= len(stand.names))
    figures, after = stand.mark(), stand.calls()
    made = {name: int(seen["count"] - calls.get(name, {"count": 0})["count"]) for name, seen in after.items()}
    return Resumed(
        accepted_s=after["CreateFleet"]["last"] - ended,
        recorded_s=max(event["at"] for event in stand.events("launch_done")) - ended,
        calls={name: count for name, count in sorted(made.items()) if count},
        programs=stand.programs() - programs,
        cpu_s=figures["cpu_s"],
        stall_max_ms=figures["stall_max_ms"],
        peak_mb=figures["peak_mb"],
    )


def measure() -> Iterator[Row]:
    for nodes, size in ((1, 1), (100, 100), (100, 1), (1000, 1000), (1000, 1), (4000, 4000), (4000, 1)):
        with Stand(nodes) as stand:
            seen = resume(stand, list(split(stand.names, size)))
        case = (nodes, nodes // size)
        name = "wire/one-job" if size == nodes else "wire/single-node-jobs"
        yield Row(f"{name}/last-create-fleet", round(seen.accepted_s, 3), "s", nodes)
        floor = (3.0, "required") if nodes == 1000 else (None, "")
        peer = (PEER_S[case], "the peer") if case in PEER_S else floor
        yield Row(f"{name}/last-instance-recorded", round(seen.recorded_s, 3), "s", nodes, *peer)
        if nodes == 1000:
            yield Row(f"{name}/last-instance-recorded", round(seen.recorded_s, 3), "s", nodes, 3.0, "required")
        cpu = (PEER_CPU_S[case], "the peer") if case in PEER_CPU_S else (None, "")
        yield Row(f"{name}/cpu", round(seen.cpu_s, 3), "s", nodes, *cpu)
        yield Row(f"{name}/ec2-calls", seen.ec2_calls, "calls", nodes, nodes / 100 + EC2_CALLS_BESIDE, "required")
        for operation, count in seen.calls.items():
            yield Row(f"{name}/calls/{operation}", count, "calls", nodes)
        yield Row(f"{name}/programs", seen.programs, "", nodes)
        yield Row(f"{name}/loop-stall-max", round(seen.stall_max_ms, 1), "ms", nodes)
        peer = (PEER_MB[case], "the peer") if case in PEER_MB else (None, "")
        yield Row(f"{name}/peak-memory", round(seen.peak_mb, 1), "MB", nodes, *peer)
