"""Console output of instances that are given up, into the log and a file, while EC2 still has it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from clustermgtd.errors import ClustermgtdError
from clustermgtd.model.action import Action
from clustermgtd.model.claim import Launch, LaunchResult
from clustermgtd.model.failed_node import FailedNode
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.snapshot import Plan, Snapshot
from clustermgtd.ports.fleet import Fleet

log = structlog.get_logger(__name__)

WAITING_MAX = 100
"""Instances whose console may wait to be read; of further ones it is lost."""
FILES_MAX = 200
"""The oldest are deleted."""
FILE_CHARACTERS_MAX = 65_536
LOG_LINES_MAX = 20
LOG_CHARACTERS_MAX = 4000
SUFFIX = ".console.txt"


class ConsoleCapture:
    """A `LoopObserver`. An instance is ended by a later plan than the one that gives it up, and EC2 keeps the output of
    an ended one for a while."""

    def __init__(self, fleet: Fleet, folder: Callable[[], str | None]) -> None:
        """`folder`: where files go; None: nowhere."""
        self._fleet = fleet
        self._folder = folder
        self._given_up: frozenset[InstanceId] = frozenset()
        self._waiting: asyncio.Queue[FailedNode] = asyncio.Queue(WAITING_MAX)

    async def run(self) -> None:
        """Read consoles until cancelled."""
        while True:
            await self.capture(await self._waiting.get())

    async def capture(self, failed: FailedNode) -> None:
        """One instance's. What cannot be read or written is said and left."""
        facts = {"node": failed.node, "instance_id": failed.instance, "reason": failed.reason, "detail": failed.detail}
        try:
            text = await self._fleet.console_output(failed.instance)
        except ClustermgtdError as error:
            log.warning("node_given_up", **facts, console="", error=str(error))
            return
        tail = "\n".join(text.splitlines()[-LOG_LINES_MAX:])[-LOG_CHARACTERS_MAX:]
        folder = self._folder()
        written = ""
        if folder is not None and text:
            file = Path(folder) / f"{failed.node}.{failed.instance}{SUFFIX}"
            try:
                await asyncio.to_thread(_write, file, text[-FILE_CHARACTERS_MAX:])
                written = str(file)
            except OSError as error:
                log.warning("console_not_written", file=str(file), error=str(error))
        log.warning("node_given_up", **facts, console=tail, file=written)

    def tick_done(self, snapshot: Snapshot, plan: Plan, duration_s: float) -> None:
        del snapshot, duration_s
        for failed in plan.failed:
            if failed.instance in self._given_up:
                continue
            if self._waiting.full():
                log.warning("console_skipped", node=failed.node, instance_id=failed.instance, reason=failed.reason)
            else:
                self._waiting.put_nowait(failed)
        self._given_up = frozenset(failed.instance for failed in plan.failed)

    def tick_failed(self, error: Exception, duration_s: float) -> None:
        """Nothing is given up."""

    def action_applied(self, action: Action, outcome: str) -> None:
        """What is given up is read from the plan."""

    def launch_done(self, launch: Launch, result: LaunchResult, duration_s: float) -> None:
        """A launched instance is not ill yet."""


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8", errors="replace")
    files = sorted(file.parent.glob(f"*{SUFFIX}"), key=lambda one: one.stat().st_mtime)
    for old in files[:-FILES_MAX]:
        old.unlink(missing_ok=True)
