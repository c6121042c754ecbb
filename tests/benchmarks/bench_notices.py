"""Fifteen thousand messages in a minute, read over the wire by a daemon with 1,000 instances, and once all at once.

Half are news of other clusters' instances, some are nobody's, the rest warns of the cluster's own again and again.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence

from tests.benchmarks.bench_wire import resume
from tests.benchmarks.row import Row
from tests.benchmarks.stand import UP, Stand, split
from tests.event_messages import an_event, instance_id, rebalance, state_change

NODES = 1000
MESSAGES = 15_000
FLOOD_S = 60
STALL_MAX_MS = 20.0
RECEIVED_S = 5.0
PERIOD_S = 30.0
"""Messages about other clusters wait for the next tick, which nothing hurries."""


def bodies(rng: random.Random, ours: Sequence[str], count: int) -> list[str]:
    at = time.time()
    kinds = (
        lambda: state_change(
            instance_id(rng.randrange(10**6, 2 * 10**6)), rng.choice(["running", "terminated"]), at=at
        ),
        lambda: rebalance(rng.choice(ours), at=at - rng.randrange(60)),
        lambda: an_event("Object Created", {"bucket": {"name": "b"}}, source="aws.s3", at=at),
    )
    return [json.dumps(rng.choices(kinds, (50, 45, 5))[0]()) for _ in range(count)]


def measure() -> Iterator[Row]:
    rng = random.Random(1)
    with Stand(NODES) as stand:
        resume(stand, list(split(stand.names, 1)))
        stand.show(dict.fromkeys(stand.names, UP))
        stand.wake()
        stand.wake()
        ours = [id for event in stand.events("launch_done") for id in event["instances"]]
        yield from _steady(stand, rng, ours)
        yield from _at_once(stand, rng, ours)


def _steady(stand: Stand, rng: random.Random, ours: Sequence[str]) -> Iterator[Row]:
    ticks = len(stand.events("tick"))
    stand.mark()
    time.sleep(3.0)
    quiet = stand.mark()
    yield Row("notices/none/loop-stall-p99", round(quiet["stall_p99_ms"], 1), "ms", NODES)
    for _ in range(FLOOD_S):
        begun = time.monotonic()
        stand.send(bodies(rng, ours, MESSAGES // FLOOD_S))
        time.sleep(max(0.0, 1.0 - (time.monotonic() - begun)))
    ended = time.time()
    figures = stand.mark()
    last = stand.when_deleted()
    yield Row("notices/minute/messages", MESSAGES, "", NODES)
    received = round(max(0.0, last["received_at"] - ended), 2)
    yield Row("notices/minute/last-received-after-end", received, "s", NODES, RECEIVED_S, "required")
    deleted = round(max(0.0, last["deleted_at"] - ended), 2)
    yield Row("notices/minute/last-deleted-after-end", deleted, "s", NODES, PERIOD_S, "required")
    yield Row("notices/minute/cpu", round(figures["cpu_s"], 2), "s", NODES)
    yield Row("notices/minute/ticks", len(stand.events("tick")) - ticks, "", NODES)
    p99 = round(figures["stall_p99_ms"], 1)
    yield Row("notices/minute/loop-stall-p99", p99, "ms", NODES, STALL_MAX_MS, "required")
    yield Row("notices/minute/loop-stall-max", round(figures["stall_max_ms"], 1), "ms", NODES)


def _at_once(stand: Stand, rng: random.Random, ours: Sequence[str]) -> Iterator[Row]:
    everything = bodies(rng, ours, MESSAGES)
    stand.mark()
    begun = time.time()
    stand.send(everything)
    last = stand.when_deleted()
    figures = stand.mark()
    yield Row("notices/backlog/received", round(last["received_at"] - begun, 2), "s", NODES, 60.0, "required")
    yield Row("notices/backlog/cpu", round(figures["cpu_s"], 2), "s", NODES)
    p99 = round(figures["stall_p99_ms"], 1)
    yield Row("notices/backlog/loop-stall-p99", p99, "ms", NODES, STALL_MAX_MS, "required")
    yield Row("notices/backlog/peak-memory", round(figures["peak_mb"], 1), "MB", NODES)
