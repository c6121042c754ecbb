"""The processes of a node, as the test says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clustermgtd.node.processes import Activity


@dataclass
class FakeProcesses:
    now: Activity = Activity()
    trouble: OSError | None = None
    told: int = 0

    def activity(self, slurmd: int | None) -> Activity:
        if self.trouble is not None:
            raise self.trouble
        return self.now

    def tell_jobs(self, say: Callable[[str], None]) -> int:
        self.told += 1
        return len(self.now.jobs)
