"""The daemon as a child of the lab: started, watched until it says READY, ended."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from clustermgtd.errors import ConfigurationError
from clustermgtd.lab.environment import process_environment
from clustermgtd.lab.folder import last_lines
from clustermgtd.lab.processes import die_with_parent, end_process

START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 20.0
_NOTIFY_BYTES_MAX = 4096


class DaemonProcess:
    """`python -m clustermgtd run`, one at a time. One that ends is not started again: that shall be seen."""

    def __init__(self, cluster_yaml: Path, log: Path, environment: Mapping[str, str]) -> None:
        self._cluster_yaml = cluster_yaml
        self._log = log
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self._notifications: _Notifications | None = None

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        if self._process is None or self._process.returncode is not None:
            return None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Of one that ended without being stopped here; None otherwise."""
        return None if self._process is None else self._process.returncode

    @property
    def status(self) -> str:
        """What it last told systemd about itself."""
        return "" if self._notifications is None else self._notifications.status

    async def start(self) -> None:
        """Start it and wait until it says READY (`sd_notify`); does nothing if it runs.

        Raises:
            ConfigurationError: it ended instead, or was not ready in time.
        """
        if self.pid is not None:
            return
        await self.stop()
        self._notifications = _Notifications(self._log.with_name("notify"))
        try:
            with self._log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "clustermgtd", "run", "--config", str(self._cluster_yaml)),
                    env=process_environment(
                        os.environ, {**self._environment, "NOTIFY_SOCKET": str(self._notifications.path)}
                    ),
                    cwd=self._cluster_yaml.parent,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    preexec_fn=die_with_parent(),
                )
            await self._until_ready(self._process, self._notifications)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End it and wait for that; safe at any time."""
        process, self._process = self._process, None
        if process is not None:
            await end_process(process, STOP_DEADLINE_S)
        notifications, self._notifications = self._notifications, None
        if notifications is not None:
            notifications.close()

    async def _until_ready(self, process: asyncio.subprocess.Process, notifications: _Notifications) -> None:
        what = f"is not ready after {START_DEADLINE_S:g} s"
        ended = asyncio.create_task(process.wait(), name="daemon-ended")
        ended.add_done_callback(lambda _: notifications.news.set())
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                await notifications.news.wait()
        except TimeoutError:
            pass
        finally:
            ended.cancel()
        if process.returncode is not None:
            what = f"ended with {process.returncode}"
        if not notifications.is_ready or process.returncode is not None:
            raise ConfigurationError(f"the daemon {what}; {self._log} ends with:\n{last_lines(self._log)}")


class _Notifications:
    """The receiving end of `sd_notify`, for as long as one daemon runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_ready = False
        self.news = asyncio.Event()
        """Set once it is ready, or will not become so."""
        self.status = ""
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.bind(str(path))
        except OSError:
            self._socket.close()
            raise
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self.path.unlink(missing_ok=True)

    def _read(self) -> None:
        for line in self._socket.recv(_NOTIFY_BYTES_MAX).decode(errors="replace").split("\n"):
            if line == "READY=1":
                self.is_ready = True
                self.news.set()
            elif line.startswith("STATUS="):
                self.status = line.removeprefix("STATUS=")
