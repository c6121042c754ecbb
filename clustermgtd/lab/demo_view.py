"""What the demo shows: a live picture on a terminal, lines with times elsewhere."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from clustermgtd.lab.client import Job, LabStatus

Event = Mapping[str, Any]
_EVENTS_SHOWN = 12
_IDS_SHOWN = 3


class DemoView(Protocol):
    """Where the demo's news go."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def note(self, line: str) -> None:
        """A line for people."""
        ...

    def show(self, status: LabStatus, jobs: Sequence[Job], events: Sequence[Event]) -> None:
        """One look: everything now, and the events since the last look."""
        ...


class PlainView:
    """A line whenever something has changed."""

    def __init__(self) -> None:
        self._started_at = time.monotonic()
        self._last: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def note(self, line: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} +{time.monotonic() - self._started_at:5.1f} s  {line}", flush=True)

    def show(self, status: LabStatus, jobs: Sequence[Job], events: Sequence[Event]) -> None:
        for line in event_lines(events):
            self.note(line)
        now = {
            "jobs": job_line(jobs),
            "nodes": counts(status.nodes),
            "instances": counts(status.site["instances"]),
        }
        for what, text in now.items():
            if text != self._last.get(what):
                self.note(f"{what}: {text}")
        self._last = now


class LiveView:
    """One picture that changes in place."""

    def __init__(self) -> None:
        from rich.live import Live

        self._started_at = time.monotonic()
        self._lines: deque[str] = deque(maxlen=_EVENTS_SHOWN)
        self._status: LabStatus | None = None
        self._jobs: Sequence[Job] = ()
        self._live = Live(get_renderable=self._picture, refresh_per_second=4)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def note(self, line: str) -> None:
        self._lines.append(f"{time.strftime('%H:%M:%S')}  {line}")

    def show(self, status: LabStatus, jobs: Sequence[Job], events: Sequence[Event]) -> None:
        self._status, self._jobs = status, jobs
        for line in event_lines(events):
            self.note(line)

    def _picture(self) -> Any:
        from rich.console import Group
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        facts = Table.grid(padding=(0, 2))
        jobs = Table(box=None, padding=(0, 2), header_style="dim")
        for heading in ("job", "name", "state", "nodes"):
            jobs.add_column(heading)
        if self._status is not None:
            site = self._status.site
            facts.add_row("nodes", counts(self._status.nodes))
            facts.add_row("instances", counts(site["instances"]))
            facts.add_row("launched", f"{site['launched']}, terminated {site['terminated']}")
            facts.add_row("claims open", str(site["open_claims"]))
        for job in self._jobs:
            jobs.add_row(str(job.id), job.name, Text(job.state, style=_STYLES.get(job.state, "yellow")), job.nodes)
        title = f"clustermgtd lab demo  {time.monotonic() - self._started_at:.0f} s"
        events = Text("\n".join(self._lines), style="dim")
        return Panel(Group(facts, Text(""), jobs, Text(""), events), title=title, title_align="left")


_STYLES = {"COMPLETED": "green", "RUNNING": "cyan", "FAILED": "red", "NODE_FAIL": "red"}


def counts(by_state: Mapping[str, int]) -> str:
    """`3 idle~  2 allocated`."""
    return "  ".join(f"{count} {state}" for state, count in by_state.items()) or "none"


def job_line(jobs: Sequence[Job]) -> str:
    """`one-node RUNNING, array 3 RUNNING 1 COMPLETED`."""
    by_name: dict[str, Counter[str]] = {}
    for job in jobs:
        by_name.setdefault(job.name, Counter())[job.state] += 1
    return ", ".join(
        f"{name} {' '.join(state if number == 1 else f'{number} {state}' for state, number in sorted(states.items()))}"
        for name, states in by_name.items()
    )


def event_lines(events: Sequence[Event]) -> list[str]:
    """What EC2 told, one line for each kind of news."""
    by_news: dict[str, list[str]] = {}
    for event in events:
        by_news.setdefault(event["state"] or event["kind"], []).append(event["instance_id"])
    return [
        f"EC2: {news}: {', '.join(instances[:_IDS_SHOWN])}"
        + (f" and {len(instances) - _IDS_SHOWN} more" if len(instances) > _IDS_SHOWN else "")
        for news, instances in by_news.items()
    ]
