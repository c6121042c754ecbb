"""The lab's instances: every instance that EC2's model shows running is a real process tree, and no other is.

Level-triggered like the daemon: `reconcile` compares what should run with what does, so a missed event costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from clustermgtd.errors import ConfigurationError
from clustermgtd.lab import leftovers, machine
from clustermgtd.lab.environment import process_environment
from clustermgtd.lab.imds import Metadata
from clustermgtd.node import arguments
from clustermgtd.node.imds import ENDPOINT_VARIABLE
from clustermgtd.node.user_data import agent_environment

_STOP_DEADLINE_S = 10.0
_ALIVE_MAX = 2048
BAD_IMAGE = "bad-image"
"""While a file of this name is in the lab's folder, instances that start end themselves, as with an image that does not
boot."""
_BROKEN_AGENT = "import time; print('this image does not boot', flush=True); time.sleep(0.5); raise SystemExit(1)"

_LOCAL = tuple(
    arguments.ENVIRONMENT_PREFIX + name
    for name in ("CONF_FILE", "CONF_SERVER", "CONSOLE", "POWER_OFF_COMMAND", "PROCESSES_BELOW", "SLURMD")
)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class InstanceHost:
    """What all instances of one lab share."""

    folder: Path
    """The lab's folder; an instance's own is `instances/<id>` in it."""
    endpoint_url: str
    """Of the AWS endpoints, under which the metadata service is too."""
    environment: Mapping[str, str]
    """Of every instance: AWS variables and the lab's marker."""
    agent: arguments.AgentArguments
    """What the agent is told. User data wins, but for what cannot be the same here as on EC2 (`_LOCAL`)."""


class InstanceSupervisor:
    """Starts and ends the process trees. `power_off` tells EC2's model that an instance ended by itself."""

    def __init__(self, host: InstanceHost, power_off: Callable[[str], Awaitable[None]]) -> None:
        self._host = host
        self._power_off = power_off
        self._machines: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._taken_away: set[str] = set()
        self.ended_by_themselves = 0
        """Instances whose first program ended: the agent gave up, or slurmd was shut down."""

    @property
    def pids(self) -> Mapping[str, int]:
        """Process id of each instance's machine, by instance id."""
        return {instance: process.pid for instance, process in sorted(self._machines.items())}

    async def reconcile(self, running: Mapping[str, Metadata]) -> None:
        """Make the process trees those of `running`.

        Raises:
            ConfigurationError: more instances than one machine can be asked to play.
        """
        if len(running) > _ALIVE_MAX:
            raise ConfigurationError(f"{len(running)} instances are more than the {_ALIVE_MAX} that a lab plays")
        for instance in sorted(self._machines.keys() - running.keys()):
            self._take_away(instance)
        for instance in sorted(running.keys() - self._watchers.keys()):
            await self._start(running[instance])

    async def close(self) -> None:
        """End all of them; returns when nothing is left."""
        for instance in sorted(self._machines):
            self._take_away(instance)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_DEADLINE_S):
                await asyncio.gather(*self._watchers.values())
        for process in self._machines.values():
            process.kill()

    async def _start(self, metadata: Metadata) -> None:
        instance = metadata.instance_id
        folder = self._host.folder / "instances" / instance
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-I", "-S", machine.__file__, str(os.getpid())]
        is_bad = (self._host.folder / BAD_IMAGE).exists()
        agent = ("-c", _BROKEN_AGENT) if is_bad else ("-m", "clustermgtd.node")
        with (folder / "console.log").open("ab") as console:
            process = await asyncio.create_subprocess_exec(
                *command,
                *(sys.executable, *agent),
                env=self._environment(metadata),
                cwd=folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        self._machines[instance] = process
        self._watchers[instance] = asyncio.create_task(self._watch(instance, process), name=f"instance-{instance}")
        _log.info("instance.started", instance_id=instance, instance_type=metadata.instance_type, pid=process.pid)

    def _environment(self, metadata: Metadata) -> dict[str, str]:
        ours = arguments.as_environment(self._host.agent)
        extra = {
            **self._host.environment,
            **ours,
            **agent_environment(metadata.user_data),
            **{name: ours[name] for name in _LOCAL},
            ENDPOINT_VARIABLE: f"{self._host.endpoint_url}/imds/{metadata.instance_id}",
            leftovers.INSTANCE_MARKER: metadata.instance_id,
        }
        return process_environment(os.environ, extra)

    def _take_away(self, instance: str) -> None:
        if instance not in self._taken_away:
            self._taken_away.add(instance)
            with contextlib.suppress(ProcessLookupError):
                self._machines[instance].terminate()

    async def _watch(self, instance: str, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        await asyncio.to_thread(leftovers.end_all, self._host.folder, instance=instance)
        taken_away = instance in self._taken_away
        _log.info("instance.ended", instance_id=instance, exit_code=code, taken_away=taken_away)
        if not taken_away:
            self.ended_by_themselves += 1
            await self._power_off(instance)
        self._taken_away.discard(instance)
        del self._machines[instance]
        del self._watchers[instance]
