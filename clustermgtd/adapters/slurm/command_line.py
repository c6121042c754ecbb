"""Slurm through `scontrol`, `squeue` and `scancel`."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from clustermgtd.adapters.slurm import reservations
from clustermgtd.adapters.slurm.calls import NodeUpdate
from clustermgtd.adapters.slurm.complaints import INVALID_JOB, complaint
from clustermgtd.adapters.slurm.parsing import (
    JOB_FORMAT,
    ParsedNodes,
    parse_admin_comment,
    parse_jobs,
    parse_nodes,
    parse_partitions,
)
from clustermgtd.adapters.slurm.program import Answer, run_program
from clustermgtd.errors import ClustermgtdError, ConfigurationError, IncompleteObservationError, TransientError
from clustermgtd.model import hostlist
from clustermgtd.model.ids import JobId, NodeName, QueueName
from clustermgtd.model.job import Job
from clustermgtd.model.partition import PartitionState
from clustermgtd.model.reservation import Reservation

_OUTPUT_MAX = 256 << 20


def located(bin_dir: str, conf_file: str) -> tuple[Path, Path]:
    """The folder of Slurm's programs, PATH's if `bin_dir` is empty; and slurm.conf, Slurm's own default if empty.

    Raises:
        ConfigurationError: there is no scontrol.
    """
    scontrol = shutil.which("scontrol", path=bin_dir or None)
    if scontrol is None:
        raise ConfigurationError(f"Clustermgtd.Slurm.BinDir: no scontrol in {bin_dir or 'PATH'}")
    return Path(scontrol).parent, Path(conf_file or os.environ.get("SLURM_CONF", "/etc/slurm/slurm.conf"))


class CommandLine:
    """`SlurmCalls` by the programs in `bin_dir`, with the configuration in `conf_file`. `deadline_s` is for each
    program."""

    def __init__(
        self,
        bin_dir: Path,
        conf_file: Path,
        *,
        deadline_s: float = 20.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._bin_dir = bin_dir
        self._deadline_s = deadline_s
        self._environment = slurm_environment(os.environ if environment is None else environment, conf_file)

    async def nodes(self, names: Sequence[NodeName] = ()) -> ParsedNodes:
        """Parsed on a thread."""
        argv = ["-o", "show", "node", hostlist.fold(names)] if names else ["-o", "-a", "show", "nodes"]
        answer = await self.ask("scontrol", *argv)
        if answer.exit_code and not (names and b"not found" in answer.output):
            raise _incomplete("scontrol", answer)
        return await asyncio.to_thread(parse_nodes, answer.output)

    async def jobs(self, ids: Sequence[JobId] = ()) -> Mapping[JobId, Job]:
        """Parsed on a thread."""
        some = ["-t", "all", "-j", ",".join(map(str, ids))] if ids else []
        answer = await self.ask("squeue", "-h", "-a", "-r", "-O", JOB_FORMAT, *some)
        if answer.exit_code:
            if ids and INVALID_JOB in answer.errors:
                return {}
            raise _incomplete("squeue", answer)
        return await asyncio.to_thread(parse_jobs, answer.output, time.time())

    async def partitions(self) -> Mapping[QueueName, PartitionState]:
        """Hidden ones too."""
        answer = await self.ask("scontrol", "-o", "-a", "show", "partitions")
        if answer.exit_code:
            raise _incomplete("scontrol", answer)
        return parse_partitions(answer.output)

    async def reservations(self) -> Mapping[str, Reservation]:
        """All of them."""
        answer = await self.ask("scontrol", "-o", "show", "reservation")
        if reservations.says_none(_said(answer)):
            return {}
        if answer.exit_code:
            raise _incomplete("scontrol", answer)
        return reservations.parse_reservations(answer.output)

    async def update_nodes(self, update: NodeUpdate) -> None:
        """`scontrol update NodeName=...`."""
        settings = {"State": update.state, "Reason": update.reason, "NodeAddr": ",".join(update.addresses)}
        words = (f"{key}={value}" for key, value in settings.items() if value)
        await self._run("scontrol", "update", f"NodeName={hostlist.fold(update.names)}", *words)

    async def start_now(self, job: JobId) -> None:
        """`scontrol update JobId=... StartTime=now`."""
        await self._run("scontrol", "update", f"JobId={job}", "StartTime=now")

    async def admin_comment(self, job: JobId) -> str | None:
        """`scontrol show job`; squeue of 22.05 prints none."""
        answer = await self.ask("scontrol", "-o", "show", "job", str(job))
        if answer.exit_code:
            if INVALID_JOB in _said(answer):
                return None
            raise _incomplete("scontrol", answer)
        return parse_admin_comment(answer.output)

    async def set_admin_comment(self, job: JobId, text: str) -> None:
        """`scontrol update JobId=... AdminComment=...`."""
        await self._run("scontrol", "update", f"JobId={job}", f"AdminComment={text}")

    async def cancel_jobs(self, ids: Sequence[JobId]) -> None:
        """scancel, which says nothing about jobs that are gone."""
        await self._run("scancel", *map(str, ids))

    async def set_partition_state(self, partition: QueueName, state: PartitionState) -> None:
        """One partition: Slurm takes no list."""
        await self._run("scontrol", "update", f"PartitionName={partition}", f"State={state}")

    async def create_reservation(self, wanted: Reservation) -> None:
        """`scontrol create reservation`."""
        words = reservations.words(wanted, time.time())
        await self._run("scontrol", "create", "reservation", *words, *reservations.OWN_SETTINGS)

    async def update_reservation(self, wanted: Reservation, *, start_too: bool) -> None:
        """`scontrol update ReservationName=...`."""
        words = reservations.words(wanted, time.time())
        await self._run(
            "scontrol", "update", *(word for word in words if start_too or not word.startswith("StartTime="))
        )

    async def delete_reservation(self, name: str) -> None:
        """`scontrol delete`."""
        await self._run("scontrol", "delete", f"ReservationName={name}")

    async def _run(self, program: str, *argv: str) -> None:
        answer = await self.ask(program, *argv)
        if answer.exit_code:
            raise complaint(program, answer.exit_code, _said(answer))

    async def ask(self, program: str, *argv: str) -> Answer:
        """What one program answers, whatever its exit code.

        Raises:
            ConfigurationError: there is no such program, or it may not be run.
            IncompleteObservationError: it did not end in time; of a change, TransientError.
        """
        try:
            return await run_program(
                [str(self._bin_dir / program), *argv],
                self._environment,
                deadline_s=self._deadline_s,
                output_max=_OUTPUT_MAX,
            )
        except TransientError as error:
            if argv[0] in ("create", "delete", "update"):
                raise
            raise IncompleteObservationError(str(error)) from error


def slurm_environment(base: Mapping[str, str], conf_file: Path) -> dict[str, str]:
    """The caller's, without what changes the programs' output, with what fixes it."""
    kept = {key: value for key, value in base.items() if not key.startswith(("SLURM_", "SQUEUE_", "SCONTROL_", "LC_"))}
    fixed = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "SLURM_TIME_FORMAT": "%s", "SLURM_CONF": str(conf_file)}
    return {**kept, **fixed}


def _incomplete(program: str, answer: Answer) -> ClustermgtdError:
    """A failed read: configuration errors stay what they are, the rest means "not now"."""
    error = complaint(program, answer.exit_code, _said(answer))
    if isinstance(error, ConfigurationError):
        return error
    return IncompleteObservationError(str(error), code=error.code)


def _said(answer: Answer) -> str:
    return answer.errors or answer.output[-2_000:].decode(errors="replace")
