"""What an idle daemon costs with 1,000 nodes configured: CPU seconds a minute, resident memory."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.row import Row
from tests.e2e.lab import running_lab
from tests.fault_injection.kill_daemon import LAB_CLUSTER

MINUTE_S = 60.0


def cpu_s(pid: int) -> float:
    """User and system time of a process and of its children that have ended (scontrol, squeue)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise LookupError("VmRSS")


def measure() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "cluster.yaml"
        text = LAB_CLUSTER.read_text().replace("MaxCount: 16", "MaxCount: 500")
        config.write_text(text.replace("PeriodSeconds: 5", "PeriodSeconds: 30"))
        with running_lab(config) as lab:
            pid = lab.daemon_pid
            assert pid is not None
            time.sleep(5.0)
            before = cpu_s(pid)
            time.sleep(MINUTE_S)
            yield Row("idle/cpu-per-minute", round(cpu_s(pid) - before, 3), "s", 1000)
            yield Row("idle/resident-memory", round(resident_mb(pid), 1), "MB", 1000)
