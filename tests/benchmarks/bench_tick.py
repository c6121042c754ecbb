"""What a tick costs when every node is backed by an instance: CPU, time, and how long the event loop stands still.

EC2 is read over the wire, Slurm from programs; both are parsed as in production.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from clustermgtd.decide.plan import decide
from clustermgtd.model.claim import ClaimState, Launch
from clustermgtd.model.ids import InstanceId, NodeName
from clustermgtd.model.node import PARKED_ADDRESS
from clustermgtd.model.snapshot import Snapshot
from tests.benchmarks.bench_wire import resume
from tests.benchmarks.row import Row
from tests.benchmarks.stand import POWERING_DOWN, UP, Stand, split
from tests.builders import a_claim, a_launch, a_node, a_policy, a_snapshot, an_instance

QUIET_TICKS = 5
STALL_MAX_MS = 20.0
QUIET_CPU_S = {4000: 0.5}
PEER_CPU_S = {1000: 0.55 + 0.35, 4000: 2.09 + 0.29}
"""One iteration of the peer's daemon, its children included."""
MEMORY_MB = {10_000: 200.0}
LAUNCH_SIZE = 250


def measure() -> Iterator[Row]:
    for nodes in (1000, 4000, 10_000):
        yield from _decided(nodes)
        with Stand(nodes) as stand:
            resume(stand, list(split(stand.names, 1)))
            stand.show(dict.fromkeys(stand.names, UP))
            stand.wake()
            stand.wake()
            yield from _quiet(stand, nodes)
            yield from _busy(stand, nodes)


def _quiet(stand: Stand, nodes: int) -> Iterator[Row]:
    time.sleep(1.0)
    stand.mark()
    figures = []
    for _ in range(QUIET_TICKS):
        stand.wake()
        figures.append(stand.mark())
    seconds = [event["seconds"] for event in stand.events("tick")[-QUIET_TICKS:]]
    cpu = round(statistics.median(figure["cpu_s"] for figure in figures), 3)
    if nodes in QUIET_CPU_S:
        yield Row("tick/quiet/cpu", cpu, "s", nodes, QUIET_CPU_S[nodes], "required")
    peer = (PEER_CPU_S[nodes], "the peer") if nodes in PEER_CPU_S else (None, "")
    yield Row("tick/quiet/cpu", cpu, "s", nodes, *peer)
    yield Row("tick/quiet/wall", statistics.median(seconds), "s", nodes)
    yield from _stalls("tick/quiet", nodes, figures)


def _busy(stand: Stand, nodes: int) -> Iterator[Row]:
    """One node in ten is powered down: its claim changes, its instance ends."""
    stand.show(dict.fromkeys(stand.names, UP) | dict.fromkeys(stand.names[::10], POWERING_DOWN))
    stand.mark()
    stand.wake()
    figure = stand.mark()
    yield Row("tick/busy/cpu", round(figure["cpu_s"], 3), "s", nodes)
    yield Row("tick/busy/wall", stand.events("tick")[-1]["seconds"], "s", nodes)
    yield from _stalls("tick/busy", nodes, [figure])
    limit = (MEMORY_MB[nodes], "required") if nodes in MEMORY_MB else (None, "")
    yield Row("tick/peak-memory", round(figure["peak_mb"], 1), "MB", nodes, *limit)


def _stalls(name: str, nodes: int, figures: list[dict[str, float]]) -> Iterator[Row]:
    p99 = round(max(figure["stall_p99_ms"] for figure in figures), 1)
    yield Row(f"{name}/loop-stall-p99", p99, "ms", nodes, STALL_MAX_MS, "required")
    yield Row(f"{name}/loop-stall-max", round(max(f["stall_max_ms"] for f in figures), 1), "ms", nodes)


def _decided(nodes: int) -> Iterator[Row]:
    """The decisions alone, on values in memory."""
    policy = a_policy([NodeName(f"q1-dy-c5-{n}") for n in range(1, nodes + 1)], names_resolve=False)
    quiet = _world(nodes, changed=0)
    busy = _world(nodes, changed=10)
    for name, snapshot in (("quiet", quiet), ("busy", busy)):
        taken = []
        for _ in range(5):
            started = time.perf_counter()
            decide(snapshot, policy)
            taken.append((time.perf_counter() - started) * 1000)
        yield Row(f"tick/{name}/decide", round(min(taken), 1), "ms", nodes)


def _world(nodes: int, changed: int) -> Snapshot:
    """Every node is up and backed; one in `changed` powers down, or none."""
    names = [f"q1-dy-c5-{n}" for n in range(1, nodes + 1)]
    launches: list[Launch] = []
    for number, part in enumerate(split(names, LAUNCH_SIZE)):
        claims = (a_claim(name, ClaimState.READY, f"i-{name}") for name in part)
        launches.append(a_launch(*claims, token=f"t-{number}"))
    state = dict.fromkeys(names[::changed] if changed else (), POWERING_DOWN)
    return a_snapshot(
        nodes=[a_node(name, state.get(name, UP), address=PARKED_ADDRESS) for name in names],
        instances=[an_instance(InstanceId(f"i-{name}"), token=f"t-{n // LAUNCH_SIZE}") for n, name in enumerate(names)],
        launches=launches,
    )
