"""Slurm on one machine, without root: munged and slurmctld in a folder and on ports of their own.

Any number can run side by side. What is started here dies with this process, even after `kill -9` (the kernel sends
SIGKILL to the children), and is written down in `processes.json` so that a later process can end what is left over;
processes are found by id and start time, never by name.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from clustermgtd.errors import ConfigurationError, PermanentError
from clustermgtd.lab.processes import Processes, ProcessRecord, die_with_parent, end_process
from clustermgtd.lab.slurm_files import SlurmPorts, find_program, last_lines, merge_conf, slurm_release

START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 15.0
_SOCKET_PATH_MAX = 100


class _Identity(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


class SlurmCommandError(PermanentError):
    """A Slurm program ended with an error; the message holds what it said."""


@dataclass(frozen=True, slots=True)
class SlurmPaths:
    """Where one Slurm keeps its files."""

    folder: Path

    @property
    def conf(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def controller_log(self) -> Path:
        return self.folder / "log" / "slurmctld.log"

    @property
    def munge_log(self) -> Path:
        return self.folder / "munge" / "munged.log"

    @property
    def munge_socket(self) -> Path:
        return self.folder / "munge" / "socket"

    @property
    def munge_key(self) -> Path:
        return self.folder / "munge" / "key"

    @property
    def state_file(self) -> Path:
        return self.folder / "processes.json"

    def node_log(self, node: str) -> Path:
        return self.folder / "log" / f"slurmd.{node}.log"


class SlurmControl:
    """munged and slurmctld in one folder.

    `write_conf`, `start`, then commands through `run`; `stop` at the end. `user` is the account that runs them (the
    present one if None); only root can name another.
    """

    def __init__(self, folder: Path, *, ports: SlurmPorts, user: str | None = None) -> None:
        self.paths = SlurmPaths(folder.absolute())
        self.ports = ports
        self.user = user or pwd.getpwuid(os.geteuid()).pw_name
        self._switches_user = user is not None and pwd.getpwnam(user).pw_uid != os.geteuid()
        self._processes = Processes(self.paths.state_file)
        self._munged: asyncio.subprocess.Process | None = None
        self._controller: asyncio.subprocess.Process | None = None
        self._make_folders()

    def write_conf(self, node_part: str, extra: str = "") -> Path:
        """Write slurm.conf: what a rootless Slurm on one machine needs, `node_part`, `extra`.

        A setting that occurs again in `extra` replaces the one in `node_part`, and either replaces ours.
        """
        release = slurm_release()
        cached = "CommunicationParameters=NoAddrCache\n" if release < (23, 11) else ""  # later ones know no cache
        text = merge_conf(self._base_conf() + cached, node_part, extra)
        _write_whole(self.paths.conf, text)
        plugin = "cgroup/v1" if release < (23, 2) else "disabled"
        _write_whole(self.paths.folder / "cgroup.conf", f"CgroupPlugin={plugin}\n")
        return self.paths.conf

    async def start(self) -> None:
        """End leftovers of an earlier process, start munged and slurmctld, return when `scontrol ping` answers.

        Raises:
            ConfigurationError: one of them ended or did not answer in time; the message holds its last log lines.
        """
        self._processes.end_leftovers()
        try:
            await self._start_munged()
            await self.start_controller()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End slurmctld and munged; safe to call at any time, any number of times."""
        controller, self._controller = self._controller, None
        munged, self._munged = self._munged, None
        for process in (controller, munged):
            if process is not None:
                await end_process(process, STOP_DEADLINE_S)
                self._processes.forget(process.pid)

    async def restart_controller(self, *, hard: bool = False) -> None:
        """End slurmctld (`hard`: SIGKILL, so that nothing is saved) and start it again on the same state."""
        await self.stop_controller(hard=hard)
        await self.start_controller()

    async def stop_controller(self, *, hard: bool = False) -> None:
        """End slurmctld only."""
        controller, self._controller = self._controller, None
        if controller is not None:
            await end_process(controller, 0 if hard else STOP_DEADLINE_S)
            self._processes.forget(controller.pid)

    def pids(self) -> dict[str, int]:
        """Process id by name (`munged`, `slurmctld`) of what is recorded and still runs, whoever started it."""
        return {record.name: record.pid for record in self._processes.running()}

    def end_leftovers(self) -> list[ProcessRecord]:
        """End what an earlier, killed process left running in this folder; returns what was ended."""
        return self._processes.end_leftovers()

    def environment(self) -> dict[str, str]:
        """The environment in which Slurm's commands talk to this slurmctld."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
        return {**kept, "SLURM_CONF": str(self.paths.conf)}

    def command(self, *argv: str) -> list[str]:
        """`argv` so that it talks to this slurmctld whatever the caller's environment is."""
        return ["/usr/bin/env", f"SLURM_CONF={self.paths.conf}", *argv]

    async def run(self, *argv: str, deadline_s: float = 30.0, stdin: str = "") -> str:
        """Standard output of a Slurm command.

        Raises:
            SlurmCommandError: it failed or exceeded the deadline (then it was killed).
        """
        process = await asyncio.create_subprocess_exec(
            *argv,
            env=self.environment(),
            cwd=self.paths.folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=die_with_parent(),
            **self._identity(),
        )
        try:
            async with asyncio.timeout(deadline_s):
                output, errors = await process.communicate(stdin.encode())
        except TimeoutError as error:
            raise SlurmCommandError(f"{' '.join(argv)}: no answer within {deadline_s:g} s") from error
        finally:
            await end_process(process, 0)
        if process.returncode:
            said = errors.decode(errors="replace").strip() or output.decode(errors="replace").strip()
            raise SlurmCommandError(f"{' '.join(argv)}: exit {process.returncode}: {said}")
        return output.decode(errors="replace")

    def slurmd_argv(self, node: str) -> list[str]:
        """How a node's slurmd is started: in the foreground, "just booted", its port taken from slurm.conf."""
        return [find_program("slurmd"), "-b", "-D", "-N", node, "-f", str(self.paths.conf)]

    def _identity(self) -> _Identity:
        if not self._switches_user:
            return {}
        account = pwd.getpwnam(self.user)
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [account.pw_gid]}

    def _make_folders(self) -> None:
        if len(str(self.paths.munge_socket)) > _SOCKET_PATH_MAX:
            raise ConfigurationError(
                f"{self.paths.folder} is too long a path for the munge socket; choose a shorter one"
            )
        account = pwd.getpwnam(self.user)
        for name in ("", "munge", "log", "state", "spool"):
            path = self.paths.folder / name
            path.mkdir(mode=0o755, parents=True, exist_ok=True)
            path.chmod(0o755)
            if self._switches_user:
                os.chown(path, account.pw_uid, account.pw_gid)
        if not self.paths.munge_key.exists():
            descriptor = os.open(self.paths.munge_key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as key:
                key.write(secrets.token_bytes(128))
            if self._switches_user:
                os.chown(self.paths.munge_key, account.pw_uid, account.pw_gid)

    def _base_conf(self) -> str:
        folder = self.paths.folder
        host = socket.gethostname().partition(".")[0]
        return f"""\
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={self.ports.controller}
SlurmdPort={self.ports.first_node}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={self.paths.munge_socket}
SlurmUser={self.user}
SlurmdUser={self.user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/spool/slurmd.%n.pid
SlurmctldLogFile={self.paths.controller_log}
SlurmdLogFile={folder}/log/slurmd.%n.log
SlurmctldDebug=verbose
SlurmdDebug=info
DebugFlags=Power
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
PropagateResourceLimits=NONE
MailProg=/bin/true
ReturnToService=2
PrivateData=cloud
TreeWidth=65533
SlurmctldTimeout=300
SlurmdTimeout=60
MessageTimeout=10
InactiveLimit=0
KillWait=2
Waittime=0
"""

    async def _start_munged(self) -> None:
        munge = self.paths.folder / "munge"
        argv = [
            find_program("munged"),
            "--foreground",
            "--force",
            f"--socket={self.paths.munge_socket}",
            f"--key-file={self.paths.munge_key}",
            f"--pid-file={munge}/pid",
            f"--seed-file={munge}/seed",
            "--num-threads=2",
        ]
        self._munged = await self._spawn("munged", argv, self.paths.munge_log)
        await self._await_answer(
            self._munged, "munged", self.paths.munge_log, "munge", "--no-input", self._munge_option
        )

    @property
    def _munge_option(self) -> str:
        return f"--socket={self.paths.munge_socket}"

    async def start_controller(self) -> None:
        """Start slurmctld only, on the state that an earlier one saved; munged runs already."""
        if not self.paths.conf.exists():
            raise ConfigurationError(f"{self.paths.conf} does not exist: call write_conf first")
        argv = [find_program("slurmctld"), "-D", "-f", str(self.paths.conf)]
        console = self.paths.folder / "log" / "slurmctld.console"
        self._controller = await self._spawn("slurmctld", argv, console)
        await self._await_answer(self._controller, "slurmctld", console, "scontrol", "ping")

    async def _spawn(self, name: str, argv: list[str], log: Path) -> asyncio.subprocess.Process:
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env=self.environment(),
                cwd=self.paths.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent(),
                **self._identity(),
            )
        self._processes.remember(name, process.pid)
        return process

    async def _await_answer(self, process: asyncio.subprocess.Process, name: str, log: Path, *probe: str) -> None:
        """Until `probe` succeeds (and `scontrol ping` says UP)."""
        wait_s = 0.02
        trouble = "no answer"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_DEADLINE_S):
                while process.returncode is None:
                    try:
                        answer = await self.run(*probe, deadline_s=10)
                        if name != "slurmctld" or " is UP" in answer:
                            return
                        trouble = answer.strip()
                    except SlurmCommandError as error:
                        trouble = str(error)
                    await asyncio.sleep(wait_s)
                    wait_s = min(wait_s * 1.5, 0.5)
        if process.returncode is not None:
            trouble = f"ended with {process.returncode}"
        raise ConfigurationError(f"{name} did not start ({trouble}); it wrote:\n{last_lines(log)}")


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
