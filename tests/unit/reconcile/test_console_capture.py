"""The console of an instance that is given up is in the log and in a file."""

from __future__ import annotations

import asyncio
from pathlib import Path

from structlog.testing import capture_logs

from clustermgtd.errors import TransientError
from clustermgtd.model.action import Reason
from clustermgtd.model.failed_node import FailedNode
from clustermgtd.model.ids import InstanceId, NodeName
from clustermgtd.model.snapshot import Memory, Plan
from clustermgtd.reconcile import console_capture
from clustermgtd.reconcile.console_capture import FILE_CHARACTERS_MAX, FILES_MAX, LOG_LINES_MAX, ConsoleCapture
from tests.builders import a_snapshot
from tests.fakes.fleet import FakeFleet

FAILED = FailedNode(NodeName("q1-dy-c5-1"), InstanceId("i-1"), Reason.IMPAIRED, "system status check fails")
NAME = "q1-dy-c5-1.i-1.console.txt"


class Console(FakeFleet):
    """A fleet whose instances print."""

    text = "".join(f"line {n}\n" for n in range(100))

    async def console_output(self, instance: InstanceId) -> str:
        if instance != "i-1":
            raise TransientError("EC2 does not answer")
        return self.text


def told(*failed: FailedNode) -> Plan:
    return Plan((), Memory(), 0, failed=failed)


def test_its_end_is_logged_and_all_of_it_is_in_a_file(tmp_path: Path) -> None:
    with capture_logs() as lines:
        asyncio.run(ConsoleCapture(Console(), lambda: str(tmp_path / "new")).capture(FAILED))
    (line,) = lines
    assert (line["event"], line["reason"], line["instance_id"]) == ("node_given_up", "impaired", "i-1")
    assert line["console"].splitlines() == [f"line {n}" for n in range(100 - LOG_LINES_MAX, 100)]
    assert (tmp_path / "new" / NAME).read_text() == Console.text
    assert line["file"] == str(tmp_path / "new" / NAME)


def test_files_are_bounded_in_size_and_number(tmp_path: Path) -> None:
    fleet = Console()
    fleet.text = "x" * (FILE_CHARACTERS_MAX + 5)
    for number in range(FILES_MAX + 3):
        (tmp_path / f"n.i-{number}{console_capture.SUFFIX}").touch()
    (tmp_path / "somebody's notes").touch()
    asyncio.run(ConsoleCapture(fleet, lambda: str(tmp_path)).capture(FAILED))
    assert (tmp_path / NAME).stat().st_size == FILE_CHARACTERS_MAX
    assert len(list(tmp_path.iterdir())) == FILES_MAX + 1


def test_what_cannot_be_read_or_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    unknown = FailedNode(NodeName("n"), InstanceId("i-2"), Reason.BOOT_TIMEOUT, "")
    with capture_logs() as lines:
        asyncio.run(ConsoleCapture(Console(), lambda: str(tmp_path / "file")).capture(FAILED))
        asyncio.run(ConsoleCapture(Console(), lambda: None).capture(unknown))
    assert [line["event"] for line in lines] == ["console_not_written", "node_given_up", "node_given_up"]
    assert lines[-1]["error"] == "EC2 does not answer"


def test_each_instance_is_read_once() -> None:
    async def story() -> list[InstanceId]:
        read: list[InstanceId] = []

        class Counting(Console):
            async def console_output(self, instance: InstanceId) -> str:
                read.append(instance)
                return ""

        watch = ConsoleCapture(Counting(), lambda: None)
        task = asyncio.create_task(watch.run())
        for plan in (told(FAILED), told(FAILED), told()):
            watch.tick_done(a_snapshot(), plan, 0.1)
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        return read

    assert asyncio.run(story()) == ["i-1"]
