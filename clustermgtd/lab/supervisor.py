"""The process that is the lab: `python -m clustermgtd.lab.supervisor FOLDER` with the options of `lab up`.

It owns everything, writes down how far it has come, and takes everything down on SIGTERM, SIGINT, failure and
the end of the process that it belongs to.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import structlog

from clustermgtd.errors import ClustermgtdError, ConfigurationError
from clustermgtd.lab import leftovers
from clustermgtd.lab.cluster_files import Chosen
from clustermgtd.lab.folder import LabFolder, LabPhase, LabState
from clustermgtd.lab.site import LabSite

_log = structlog.get_logger(__name__)


class Supervisor:
    """One lab's life, and its state file."""

    def __init__(self, folder: LabFolder, chosen: Chosen, owner: leftovers.ProcessIdentity | None) -> None:
        self._folder = folder
        self._chosen = chosen
        me = leftovers.identify(os.getpid())
        assert me is not None
        self._owner = owner
        self._state = LabState(LabPhase.STARTING, me.pid, me.started_ticks)
        if owner is not None:
            self._state = replace(self._state, owner_pid=owner.pid, owner_started_ticks=owner.started_ticks)

    async def run(self) -> int:
        """Up, until a signal or a failure; then down. Returns the exit code."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        self._write(self._state)
        try:
            site = LabSite(self._folder, self._chosen, self._progress)
            return await self._live(site, stop)
        except ClustermgtdError as error:
            _log.error("lab.failed", error=str(error))
            self._write(replace(self._state, phase=LabPhase.FAILED, error=str(error)))
            return 1
        except BaseException as error:
            self._write(replace(self._state, phase=LabPhase.FAILED, error=f"{type(error).__name__}: {error}"))
            raise

    async def _live(self, site: LabSite, stop: asyncio.Event) -> int:
        work = asyncio.create_task(self._work(site), name="lab-work")
        ends = (
            work,
            asyncio.create_task(stop.wait(), name="lab-stop"),
            asyncio.create_task(_end_of(self._owner), name="lab-owner"),
        )
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in ends:
                task.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
            self._write(replace(self._state, phase=LabPhase.STOPPING))
            await site.close()
            await asyncio.to_thread(leftovers.end_all, self._folder.path)
        if not work.cancelled() and (failure := work.exception()) is not None:
            raise failure
        self._write(replace(self._state, phase=LabPhase.STOPPED))
        return 0

    async def _work(self, site: LabSite) -> None:
        await site.start()
        self._write(
            replace(
                self._state,
                phase=LabPhase.READY,
                endpoint_url=site.aws.endpoint_url,
                region=site.region,
                metrics_url=site.metrics_url,
                ports=site.ports,
            )
        )
        await site.run()

    def _progress(self, line: str) -> None:
        self._write(replace(self._state, progress=(*self._state.progress, line)))

    def _write(self, state: LabState) -> None:
        self._state = state
        self._folder.write_state(state)


async def _end_of(owner: leftovers.ProcessIdentity | None) -> None:
    """Until the owner is gone; for ever without one."""
    gone = asyncio.Event()
    if owner is None:
        await gone.wait()
        return
    try:
        descriptor = os.pidfd_open(owner.pid)
    except ProcessLookupError:
        return
    asyncio.get_running_loop().add_reader(descriptor, gone.set)
    try:
        if leftovers.is_alive(owner):
            await gone.wait()
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


@contextlib.contextmanager
def only_one(folder: LabFolder) -> Iterator[None]:
    """Hold the folder; the kernel lets go of it when this process ends, however that happens.

    Raises:
        ConfigurationError: another supervisor holds it.
    """
    with (folder.path / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError(f"another lab runs in {folder.path}") from error
        yield


def main(argv: list[str]) -> int:
    """Run one lab to its end."""
    parser = argparse.ArgumentParser(prog="python -m clustermgtd.lab.supervisor")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--scenario", type=Path)
    parser.add_argument("--owner", type=int, help="process id; the lab ends with that process")
    options = parser.parse_args(argv)
    folder = LabFolder(options.folder)
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    owner = None if options.owner is None else leftovers.identify(options.owner)
    if options.owner is not None and owner is None:
        return 1
    os.chdir(folder.path)
    with only_one(folder):
        return asyncio.run(Supervisor(folder, Chosen(options.config, options.scenario), owner).run())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
