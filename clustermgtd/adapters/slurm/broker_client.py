"""A broker that is there as often as it can be: started, watched, asked, and started again after a pause."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from clustermgtd.adapters.slurm.broker_process import (
    BrokerError,
    BrokerProcess,
    Hello,
    Launch,
    Rows,
    SaidError,
    UnsupportedError,
    running_broker,
)
from clustermgtd.model.slurm_backend import BrokerEnd
from clustermgtd.ports.clock import Clock

REQUESTS_MAX = 100
"""That wait for one broker; the daemon makes some ten at a time."""
_PAUSE_S = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Before each start in a row; the last one repeats."""
_SETTLED_S = 60.0
"""A broker that served this long has mended what ended the ones before."""


class BrokerObserver(Protocol):
    """Is told what becomes of the broker."""

    def broker_serves(self, hello: Hello, slurm: str) -> None:
        """`slurm` is slurmctld's release."""
        ...

    def broker_ended(self, error: BrokerError, pause_s: float) -> None:
        """Another one is started in `pause_s`, which is infinite if none is."""
        ...

    def broker_lacks(self, operation: str, detail: str) -> None:
        """It offered the operation and could not do it, so it is not asked for it again."""
        ...


@dataclass(slots=True)
class _Request:
    operation: str
    arguments: Mapping[str, Any]
    take: Callable[[Rows], None]
    answered: asyncio.Future[None]

    def take_rows(self, rows: Rows) -> None:
        """Nobody may be there any more to want them."""
        if not self.answered.done():
            self.take(rows)

    def fail(self, error: Exception) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)


class BrokerClient:
    """Asks the broker that `run` keeps going. `launch.deadline_s` is for each call, its waiting for others included."""

    def __init__(self, launch: Launch, clock: Clock, observer: BrokerObserver) -> None:
        self._launch = launch
        self._clock = clock
        self._observer = observer
        self._requests: asyncio.Queue[_Request] = asyncio.Queue(REQUESTS_MAX)
        self._current: _Request | None = None
        self._operations: frozenset[str] = frozenset()
        self.pid: int | None = None
        """The present broker's, for tests."""
        self.last_error: BrokerError | None = None
        """Why the last start or service ended; None while one serves."""
        self.tried = asyncio.Event()
        """Set once the first broker serves, or cannot."""

    def can(self, operation: str) -> bool:
        """A broker serves that offers it, and is not busy with a call that nobody waits for any more: one that was not
        answered in time is about to end it."""
        is_busy_in_vain = self._current is not None and self._current.answered.done()
        return operation in self._operations and not is_busy_in_vain

    async def ask(self, operation: str, arguments: Mapping[str, Any], take: Callable[[Rows], None]) -> None:
        """As `BrokerProcess.ask`.

        Raises:
            BrokerError: nobody answered in time; an update may have been done or not.
        """
        request = _Request(operation, arguments, take, asyncio.get_running_loop().create_future())
        try:
            self._requests.put_nowait(request)
        except asyncio.QueueFull as error:
            raise BrokerError(BrokerEnd.NO_ANSWER, f"{REQUESTS_MAX} calls wait for the broker") from error
        try:
            async with asyncio.timeout(self._launch.deadline_s):
                await request.answered
        except TimeoutError as error:
            message = f"no answer to {operation} within {self._launch.deadline_s:g} s"
            raise BrokerError(BrokerEnd.NO_ANSWER, message) from error

    async def run(self) -> None:
        """Keep a broker going, for ever; one that has no pyslurm to import is not tried again."""
        failures = 0
        while True:
            began = self._clock.monotonic()
            error = await self._whole_life()
            if self._clock.monotonic() - began > _SETTLED_S or error.why is BrokerEnd.NEW_CONFIGURATION:
                failures = 0
            pause_s = _pause_s(error.why, failures)
            failures += 1
            self.last_error = error
            self._observer.broker_ended(error, pause_s)
            self.tried.set()
            if math.isinf(pause_s):
                return
            await self._clock.sleep(pause_s)

    async def _whole_life(self) -> BrokerError:
        """`_life` in a task of its own, so that a cancellation always comes through: before Python 3.13 a TaskGroup
        forgets one that comes while a task of its own fails."""
        life = asyncio.create_task(self._life(), name="slurm broker")
        try:
            await asyncio.wait({life})
        finally:
            life.cancel()
            await asyncio.wait({life})
        return life.result()

    async def _life(self) -> BrokerError:
        """One broker's, from its start to its end; nobody waits for it any more then."""
        failed: BrokerError | None = None
        try:
            async with running_broker(self._launch) as process, asyncio.TaskGroup() as tasks:
                self.pid = process.pid
                tasks.create_task(process.watch(), name="slurm broker's end")
                tasks.create_task(self._serve(process), name="slurm broker's requests")
        except* BrokerError as group:
            failed = _first(group)
        assert failed is not None, "a broker's life ends with an error"
        self._leave(failed)
        return failed

    def _leave(self, error: BrokerError) -> None:
        self._operations = frozenset()
        self.pid = None
        if self._current is not None:
            self._current.fail(error)
            self._current = None
        while not self._requests.empty():
            self._requests.get_nowait().fail(error)

    async def _serve(self, process: BrokerProcess) -> None:
        hello = await process.hello()
        slurm = await _release(process)
        if _series(hello.release) != _series(slurm):
            message = f"pyslurm {hello.release} is not for Slurm {slurm}"
            raise BrokerError(BrokerEnd.OTHER_RELEASE, message)
        self._operations = hello.operations
        self.last_error = None
        self._observer.broker_serves(hello, slurm)
        self.tried.set()
        configuration = _changed_at(self._launch.conf_file)
        while True:
            self._current = await self._requests.get()
            if not self._current.answered.done():
                await self._answer(process, self._current)
            self._current = None
            if self._requests.empty() and _changed_at(self._launch.conf_file) != configuration:
                raise BrokerError(BrokerEnd.NEW_CONFIGURATION, f"{self._launch.conf_file} has changed")

    async def _answer(self, process: BrokerProcess, request: _Request) -> None:
        try:
            await process.ask(request.operation, request.arguments, request.take_rows)
        except SaidError as error:
            request.fail(error)
        except UnsupportedError as error:
            self._operations -= {request.operation}
            self._observer.broker_lacks(request.operation, str(error))
            request.fail(error)
        else:
            if not request.answered.done():
                request.answered.set_result(None)


def _pause_s(why: BrokerEnd, failures: int) -> float:
    if why is BrokerEnd.NOT_IMPORTABLE:
        return math.inf
    return 0.0 if why is BrokerEnd.NEW_CONFIGURATION else _PAUSE_S[min(failures, len(_PAUSE_S) - 1)]


def _changed_at(conf_file: Path | None) -> int:
    """When the file was written; 0 if it is not there."""
    try:
        return 0 if conf_file is None else conf_file.stat().st_mtime_ns
    except OSError:
        return 0


async def _release(process: BrokerProcess) -> str:
    """slurmctld's release, which tells that it answers, too."""
    rows: list[str] = []
    try:
        await process.ask("release", {}, lambda given: rows.extend(row[0] for row in given))
    except (SaidError, UnsupportedError) as error:
        raise BrokerError(BrokerEnd.NO_SLURMCTLD, f"slurmctld's release is not known: {error}") from error
    if len(rows) != 1:
        raise BrokerError(BrokerEnd.GARBAGE, f"not a release: {rows}"[:200])
    return rows[0]


def _series(release: str) -> tuple[int, ...]:
    """`22.05.8` and `22.5.3` are both of (22, 5)."""
    numbers = release.split(".")[:2]
    return tuple(int(number) for number in numbers if number.isdigit())


def _first(group: BaseExceptionGroup[BrokerError]) -> BrokerError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, BrokerError)
    return error
