"""The spool folder: what is in it is offered once, removed when stored, and set aside when it cannot be understood."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from clustermgtd.intake.observer import Rejection, Source
from clustermgtd.intake.spool import BATCH_MAX, REJECTED_MAX, SpoolDrain
from resume_suspend import wire
from resume_suspend.client import TEMPORARY_PREFIX, spool
from resume_suspend.protocol import GateRequest, ResumeJob, ResumeRequest, SuspendRequest, encode
from tests.fakes.clock import FakeClock
from tests.fakes.hint_sink import FakeSink, RecordingObserver
from tests.fakes.waiting import until


class Daemon:
    """One daemon's view of the folder."""

    def __init__(self, folder: Path, sink: FakeSink | None = None, uids: frozenset[int] | None = None) -> None:
        self.sink = sink or FakeSink()
        self.observer = RecordingObserver()
        self.clock = FakeClock()
        allowed = frozenset({os.getuid()}) if uids is None else uids
        self.drainer = SpoolDrain(folder, allowed, self.sink, self.clock, self.observer)

    def drain(self) -> int:
        return asyncio.run(self.drainer.drain())


def spooled(folder: Path, number: int) -> Path:
    request = SuspendRequest(f"q1-dy-c5-{number}", f"{number:020d}-1-ab", 1.0)
    return Path(spool(str(folder), request.id, encode(request)))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_requests_are_offered_oldest_first_and_leave_when_stored(tmp_path: Path) -> None:
    for number in (3, 1, 2):
        spooled(tmp_path, number)
    daemon = Daemon(tmp_path)

    assert daemon.drain() == 3
    assert [hint.nodes for hint in daemon.sink.hints] == [("q1-dy-c5-1",), ("q1-dy-c5-2",), ("q1-dy-c5-3",)]
    assert daemon.observer.taken == [("suspend", Source.SPOOL)] * 3
    assert len(names(tmp_path)) == 3, "nothing is removed before it is stored"

    daemon.sink.store()
    assert names(tmp_path) == []


def test_a_pending_request_is_offered_once_by_one_daemon_and_again_by_the_next(tmp_path: Path) -> None:
    spooled(tmp_path, 1)
    daemon = Daemon(tmp_path)
    assert [daemon.drain(), daemon.drain()] == [1, 0]

    after_a_crash = Daemon(tmp_path)
    assert after_a_crash.drain() == 1
    after_a_crash.sink.store()
    assert names(tmp_path) == []


def test_a_full_inbox_keeps_the_rest_for_later(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        spooled(tmp_path, number)
    daemon = Daemon(tmp_path, FakeSink(room=2))

    assert daemon.drain() == 2
    assert daemon.observer.refused == [(Rejection.BUSY, Source.SPOOL)]
    daemon.sink.store()
    assert daemon.drain() == 1
    assert [hint.nodes[0] for hint in daemon.sink.hints] == ["q1-dy-c5-1", "q1-dy-c5-2", "q1-dy-c5-3"]


def test_a_resume_request_keeps_its_jobs(tmp_path: Path) -> None:
    jobs = (ResumeJob(7, "q1-dy-c5-[1-2]", partition="q1"), ResumeJob(8, "q1-dy-c5-[2"))
    request = ResumeRequest("q1-dy-c5-[1-3]", "1", 1.0, jobs, "from the test")
    spool(str(tmp_path), "1", encode(request))
    daemon = Daemon(tmp_path)
    daemon.drain()
    (hint,) = daemon.sink.hints
    assert hint.nodes == ("q1-dy-c5-1", "q1-dy-c5-2", "q1-dy-c5-3")
    assert hint.jobs == (7, 8)
    assert hint.note == "from the test"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Rejection.MALFORMED),
        (b"\0" * 100, Rejection.MALFORMED),
        (encode(SuspendRequest("q1-dy-c5-1", "1", 1.0))[:40], Rejection.MALFORMED),
        (encode(SuspendRequest("q1-dy-c5-[1", "1", 1.0)), Rejection.MALFORMED),
        (encode(SuspendRequest("q1-[1-999999]", "1", 1.0)), Rejection.MALFORMED),
        (encode(GateRequest(1, "q1-dy-c5-1")), Rejection.MALFORMED),
        (b'{"version":"2.0","kind":"suspend"}', Rejection.UNSUPPORTED_VERSION),
        (b" " * (wire.LINE_BYTES_MAX + 1), Rejection.MALFORMED),
    ],
)
def test_what_cannot_be_understood_is_set_aside_once(tmp_path: Path, content: bytes, reason: Rejection) -> None:
    (tmp_path / "1.json").write_bytes(content)
    spooled(tmp_path, 2)
    daemon = Daemon(tmp_path)

    assert daemon.drain() == 1, "the good one behind it is not held up"
    assert daemon.observer.refused == [(reason, Source.SPOOL)]
    assert (tmp_path / "rejected" / "1.json").read_bytes() == content
    daemon.drain()
    assert len(daemon.observer.refused) == 1


def test_a_file_of_somebody_else_is_set_aside(tmp_path: Path) -> None:
    spooled(tmp_path, 1)
    daemon = Daemon(tmp_path, uids=frozenset({os.getuid() + 1}))
    assert daemon.drain() == 0
    assert daemon.observer.refused == [(Rejection.NOT_PERMITTED, Source.SPOOL)]
    assert names(tmp_path) == ["rejected"]


def test_links_folders_and_pipes_are_set_aside(tmp_path: Path) -> None:
    (tmp_path / "1.json").symlink_to("/etc/passwd")
    (tmp_path / "2.json").mkdir()
    os.mkfifo(tmp_path / "3.json")
    daemon = Daemon(tmp_path)
    assert daemon.drain() == 0
    assert daemon.observer.refused == [(Rejection.UNREADABLE, Source.SPOOL)] * 3
    assert names(tmp_path) == ["rejected"]


def test_only_so_many_rejected_files_are_kept(tmp_path: Path) -> None:
    for number in range(REJECTED_MAX + 20):
        (tmp_path / f"{number:05d}.json").write_bytes(b"?")
    daemon = Daemon(tmp_path)
    daemon.drain()
    daemon.drain()
    daemon.drain()
    assert names(tmp_path) == ["rejected"]
    kept = names(tmp_path / "rejected")
    assert len(kept) == REJECTED_MAX
    assert kept[0] == "00020.json"


def test_a_file_being_written_is_not_looked_at_and_goes_when_its_writer_is_long_dead(tmp_path: Path) -> None:
    half = tmp_path / f"{TEMPORARY_PREFIX}1"
    half.write_bytes(b'{"version":')
    daemon = Daemon(tmp_path)
    written = daemon.clock.now()
    os.utime(half, (written, written))
    daemon.clock.move(3500)
    assert daemon.drain() == 0
    assert half.exists()
    daemon.clock.move(200)
    daemon.drain()
    assert not half.exists()
    assert daemon.observer.refused == []


def test_a_folder_that_is_gone_is_counted_and_looked_for_again(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    daemon = Daemon(folder)
    assert daemon.drain() == 0
    assert daemon.observer.refused == [(Rejection.UNREADABLE, Source.SPOOL)]
    folder.mkdir()
    spooled(folder, 1)
    assert daemon.drain() == 1


def test_a_running_drain_takes_all_at_start_and_what_comes_later(tmp_path: Path) -> None:
    count = 2 * BATCH_MAX + 1
    folder = tmp_path / "made" / "by the drain"

    async def play() -> None:
        daemon = Daemon(folder)
        folder.mkdir(parents=True)
        for number in range(count):
            spooled(folder, number)
        running = asyncio.create_task(daemon.drainer.run(poll_s=2.0))
        await until(lambda: daemon.clock.sleeping == 1)
        assert len(daemon.sink.hints) == count
        spooled(folder, count)
        await daemon.clock.advance(2.0)
        await until(lambda: len(daemon.sink.hints) == count + 1)
        running.cancel()
        await asyncio.wait({running})

    asyncio.run(play())


def test_a_full_folder_takes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resume_suspend.client.SPOOLED_MAX", 2)
    spooled(tmp_path, 1)
    spooled(tmp_path, 2)
    with pytest.raises(OSError, match="2 requests wait there already"):
        spooled(tmp_path, 3)
    assert len(names(tmp_path)) == 2
