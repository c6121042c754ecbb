"""What agents told, as plain data behind the port `NodeAgents`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from clustermgtd.model.ids import InstanceId
from clustermgtd.model.node_report import NodeReport
from clustermgtd.ports.node_agents import Announcement
from tests.fakes.faults import Faults


@dataclass
class FakeNodeAgents:
    faults: Faults = field(default_factory=Faults)
    """By method: `beat`, `announcements`, `reports`, `acknowledge`."""
    beats: int = 0
    stored: dict[InstanceId, NodeReport] = field(default_factory=dict)
    announced: set[Announcement] = field(default_factory=set)
    read: list[InstanceId] = field(default_factory=list)
    """Every report that was asked for."""

    def tell(self, report: NodeReport) -> None:
        """An agent stores and announces its report."""
        self.stored[report.instance] = report
        self.announced.add(Announcement(report.instance, report.sequence))

    async def beat(self) -> None:
        with self.faults.around("beat"):
            self.beats += 1

    async def announcements(self) -> Collection[Announcement]:
        with self.faults.around("announcements"):
            return sorted(self.announced)

    async def reports(self, instances: Iterable[InstanceId]) -> Mapping[InstanceId, NodeReport]:
        with self.faults.around("reports"):
            wanted = sorted(set(instances))
            self.read += wanted
            return {instance: self.stored[instance] for instance in wanted if instance in self.stored}

    async def acknowledge(self, announcements: Iterable[Announcement]) -> None:
        with self.faults.around("acknowledge"):
            self.announced -= set(announcements)
