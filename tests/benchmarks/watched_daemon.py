"""The production daemon in a process that watches its own event loop.

`python -m tests.benchmarks.watched_daemon CLUSTER_YAML` answers each line on its standard input with one JSON line on
its standard output, about the time since the line before: `{"cpu_s", "stall_p99_ms", "stall_max_ms", "peak_mb"}`. Its
log is on standard error. It ends when its standard input closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

from clustermgtd.daemon import Daemon
from clustermgtd.settings import load
from clustermgtd.telemetry.logging import LogFormat, LogLevel, configure

LOOK_S = 0.002


class LoopWatch:
    """How late a task runs that wants to run every two milliseconds: what any other task has to wait for."""

    def __init__(self) -> None:
        self._late_ms: list[float] = []
        self._cpu_s = time.process_time()

    async def run(self) -> None:
        while True:
            due = time.perf_counter() + LOOK_S
            await asyncio.sleep(LOOK_S)
            self._late_ms.append((time.perf_counter() - due) * 1000)

    def take(self) -> dict[str, float]:
        """Figures since the last call. The watch itself takes about 3 % of a core, which is in `cpu_s`."""
        late, self._late_ms = sorted(self._late_ms) or [0.0], []
        before, self._cpu_s = self._cpu_s, time.process_time()
        return {
            "cpu_s": self._cpu_s - before,
            "stall_p99_ms": late[int(len(late) * 0.99)],
            "stall_max_ms": late[-1],
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


async def _answer(watch: LoopWatch) -> None:
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(watch.take()), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)


async def _run(config: Path) -> None:
    watch = LoopWatch()
    tasks = [asyncio.create_task(watch.run()), asyncio.create_task(_answer(watch))]
    try:
        await Daemon(config).run(load(config))
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


if __name__ == "__main__":
    log = configure(LogLevel.DEBUG, LogFormat.JSON)
    asyncio.run(_run(Path(sys.argv[1])))
    log.close()
