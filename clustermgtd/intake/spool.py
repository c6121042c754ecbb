"""The spool folder: requests that hooks wrote while no daemon answered.

A file leaves the folder only when what it said is stored (`on_stored`), or as `rejected/<name>` when it will never
be understood. Until then it is offered once per daemon.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from clustermgtd.errors import ConfigurationError
from clustermgtd.intake.hints import UnusableError, hint_from, request_from
from clustermgtd.intake.observer import IntakeObserver, Rejection, Source
from clustermgtd.ports.clock import Clock
from clustermgtd.ports.hint_sink import HintSink
from resume_suspend.client import SPOOLED_SUFFIX, TEMPORARY_PREFIX
from resume_suspend.protocol import GateRequest
from resume_suspend.wire import LINE_BYTES_MAX

BATCH_MAX = 64
PENDING_MAX = 1000
"""Files offered and not yet stored."""
REJECTED_MAX = 100
"""Files kept in `rejected/`; the oldest go."""
TEMPORARY_MAX_AGE_S = 3600.0
"""A half-written file this old belongs to a hook that was killed."""


@dataclass(frozen=True, slots=True)
class _Spooled:
    name: str
    content: bytes
    fault: str = ""
    """Why it is not looked into, empty if it is."""
    reason: Rejection = Rejection.UNREADABLE


class SpoolDrain:
    """Offers spooled requests to the inbox, oldest first."""

    def __init__(
        self, folder: Path, allowed_uids: Set[int], sink: HintSink, clock: Clock, observer: IntakeObserver
    ) -> None:
        self._folder = folder
        self._allowed_uids = frozenset(allowed_uids)
        self._sink = sink
        self._clock = clock
        self._observer = observer
        self._pending: set[str] = set()
        self._stored: set[str] = set()
        """Stored, but the file could not be removed yet."""

    async def run(self, poll_s: float = 2.0) -> None:
        """Drain at once and then every `poll_s` seconds, until cancelled.

        Raises:
            ConfigurationError: the folder is missing and cannot be made.
        """
        try:
            self._folder.mkdir(mode=0o770, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"cannot make the spool folder {self._folder}: {error.strerror}") from error
        while True:
            while await self.drain() == BATCH_MAX:
                pass
            await self._clock.sleep(poll_s)

    async def drain(self) -> int:
        """One pass; returns how many files were offered. A folder that cannot be read is counted, not raised."""
        for name in sorted(self._stored):
            self._remove(name)
        room = min(BATCH_MAX, PENDING_MAX - len(self._pending))
        now = self._clock.now()
        try:
            found = await asyncio.to_thread(self._read, frozenset(self._pending), room, now)
        except OSError as error:
            self._observer.rejected(Rejection.UNREADABLE, Source.SPOOL, f"{self._folder}: {error.strerror}")
            return 0
        offered = 0
        for spooled in found:
            try:
                if not self._offer(spooled):
                    break
                offered += 1
            except UnusableError as error:
                self._reject(spooled.name, error)
        return offered

    def _offer(self, spooled: _Spooled) -> bool:
        if spooled.fault:
            raise UnusableError(spooled.reason, spooled.fault)
        request = request_from(spooled.content)
        if isinstance(request, GateRequest):
            raise UnusableError(Rejection.MALFORMED, "a start-gate request cannot be spooled")
        hint = hint_from(request)
        if not self._sink.offer(hint, partial(self._remove, spooled.name)):
            self._observer.rejected(Rejection.BUSY, Source.SPOOL, spooled.name)
            return False
        self._pending.add(spooled.name)
        self._observer.accepted(hint.kind, Source.SPOOL)
        return True

    def _remove(self, name: str) -> None:
        """What the file said is stored."""
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            self._stored.add(name)
            self._observer.rejected(Rejection.UNREADABLE, Source.SPOOL, f"{name} cannot be removed: {error.strerror}")
            return
        self._stored.discard(name)
        self._pending.discard(name)

    def _reject(self, name: str, error: UnusableError) -> None:
        """Set a file aside; one that cannot even be moved is not looked at again by this daemon."""
        self._observer.rejected(error.reason, Source.SPOOL, f"{name}: {error}")
        rejected = self._folder / "rejected"
        try:
            rejected.mkdir(mode=0o770, exist_ok=True)
            (self._folder / name).replace(rejected / name)
            for old in sorted(path.name for path in rejected.iterdir())[:-REJECTED_MAX]:
                (rejected / old).unlink(missing_ok=True)
        except OSError:
            self._pending.add(name)

    def _read(self, skip: Set[str], count: int, now: float) -> list[_Spooled]:
        """The oldest `count` files that are not in `skip`; runs in a thread."""
        names = sorted(os.listdir(self._folder))  # noqa: PTH208 -- names, not paths
        for name in names:
            if name.startswith(TEMPORARY_PREFIX):
                _remove_if_old(self._folder / name, now)
        waiting = [name for name in names if name.endswith(SPOOLED_SUFFIX) and name[0] != "." and name not in skip]
        return [self._read_one(name) for name in waiting[: max(0, count)]]

    def _read_one(self, name: str) -> _Spooled:
        try:
            descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            return _Spooled(name, b"", error.strerror or "")
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                return _Spooled(name, b"", "not a plain file")
            if facts.st_uid not in self._allowed_uids:
                fault = f"written by uid {facts.st_uid}, which may not speak here"
                return _Spooled(name, b"", fault, Rejection.NOT_PERMITTED)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return _Spooled(name, file.read(LINE_BYTES_MAX + 1))
        except OSError as error:
            return _Spooled(name, b"", str(error.strerror))
        finally:
            os.close(descriptor)


def _remove_if_old(path: Path, now: float) -> None:
    try:
        if now - path.stat().st_mtime > TEMPORARY_MAX_AGE_S:
            path.unlink()
    except OSError:
        return  # its writer has just renamed it
