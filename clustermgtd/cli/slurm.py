"""`clustermgtctl slurm`: what was found out about Slurm, and how the daemon asks it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass
from http.client import HTTPConnection, HTTPException

from clustermgtd.adapters.slurm.capabilities import Capabilities, probe
from clustermgtd.adapters.slurm.command_line import CommandLine, located
from clustermgtd.adapters.slurm.used_backend import UsedBackend, try_backend
from clustermgtd.adapters.system.loop_clock import LoopClock
from clustermgtd.cli import facts_command
from clustermgtd.cli.command import Help, Subparsers
from clustermgtd.cli.facts_command import Answer, Question
from clustermgtd.cli.table import UNKNOWN, table
from clustermgtd.errors import ClustermgtdError
from clustermgtd.model.slurm_backend import SlurmBackend
from clustermgtd.settings import Settings
from clustermgtd.settings.daemon import Metrics
from clustermgtd.settings.slurm_access import SlurmAccess

_HELP = Help(
    name="slurm",
    summary="what this Slurm can do, and whether it is asked by pyslurm or by the command line, and why",
    description="""\
Ask Slurm what the daemon asks it when it starts: its release, whether nodes have an InstanceId, whether partitions
have times of their own, whether there is accounting (without it some releases keep a node's reason after RESUME).
Then try pyslurm as the daemon does, unless cluster.yaml wants the command line, and show what a daemon that starts
now would use and why; and what the running one uses, which its /healthz tells. Nothing is changed; slurmctld notes
in its log that it does not know a node.""",
    examples="""\
examples:
  clustermgtctl slurm /etc/clustermgtd/cluster.yaml
  clustermgtctl slurm cluster.yaml --output json | jq '.daemon.why'

exit status: 0, 1 if the file is not accepted or Slurm could not be asked, 2 for a wrong command line""",
)
_DAEMON_DEADLINE_S = 2.0
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing listens here


@dataclass(frozen=True, slots=True)
class _Found:
    """What there is to show."""

    slurm: Capabilities | None
    fits: UsedBackend | None
    """What a daemon that starts now would use; None where there is no scontrol."""
    daemon: UsedBackend | None
    no_daemon: str
    """Why the running daemon did not tell."""


def register(subparsers: Subparsers) -> None:
    facts_command.register(subparsers, _HELP, "", _answer)


def _answer(question: Question) -> Answer:
    settings = question.settings
    slurm, fits, unread = asyncio.run(_ask_slurm(settings.clustermgtd.slurm))
    daemon, no_daemon = _ask_daemon(settings.clustermgtd.metrics)
    found = _Found(slurm, fits, daemon, no_daemon)
    return Answer(_json(found, settings) if question.as_json else _text(found), unread)


async def _ask_slurm(slurm: SlurmAccess) -> tuple[Capabilities | None, UsedBackend | None, tuple[str, ...]]:
    """Its capabilities, the backend that fits, and what could not be read."""
    try:
        bin_dir, conf_file = located(slurm.bin_dir, slurm.conf_file)
    except ClustermgtdError as error:
        return None, None, (f"Slurm cannot be asked: {error}",)
    command_line = CommandLine(bin_dir, conf_file, deadline_s=slurm.command_deadline_seconds)
    fits = await try_backend(slurm, conf_file, LoopClock())
    try:
        return await probe(command_line.ask), fits, ()
    except ClustermgtdError as error:
        return None, fits, (f"Slurm cannot be asked: {error}",)


def _ask_daemon(metrics: Metrics) -> tuple[UsedBackend | None, str]:
    """What the running daemon uses, or why it does not tell."""
    if not metrics.enabled or not metrics.port:
        return None, "it cannot be asked: Clustermgtd.Metrics is not enabled, or Port is 0"
    address = _ANY_ADDRESS.get(metrics.address, metrics.address)
    connection = HTTPConnection(address, metrics.port, timeout=_DAEMON_DEADLINE_S)
    try:
        connection.request("GET", "/healthz")
        health = json.loads(connection.getresponse().read())
        return UsedBackend(SlurmBackend(health["slurm_backend"]), str(health["slurm_backend_why"])), ""
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
        return None, f"{address} port {metrics.port}: {error}"
    finally:
        connection.close()


def _text(found: _Found) -> str:
    rows = [[name, value, ""] for name, value in _capabilities(found.slurm)]
    rows.append(["backend that fits", *_words(found.fits, "there is no scontrol")])
    rows.append(["backend in use", *_words(found.daemon, found.no_daemon)])
    return table(("WHAT", "FOUND", "WHY"), rows)


def _capabilities(slurm: Capabilities | None) -> list[tuple[str, str]]:
    names = ("Slurm", "instance ids", "times of partitions", "accounting")
    if slurm is None:
        return [(name, UNKNOWN) for name in names]
    abilities = (slurm.has_instance_ids, slurm.has_partition_times, slurm.has_accounting)
    return list(zip(names, (slurm.release, *("yes" if has else "no" for has in abilities)), strict=True))


def _words(used: UsedBackend | None, why_none: str) -> tuple[str, str]:
    return (UNKNOWN, why_none) if used is None else (used.backend, used.why)


def _json(found: _Found, settings: Settings) -> str:
    return json.dumps(
        {
            "slurm": None if found.slurm is None else asdict(found.slurm),
            "setting": settings.clustermgtd.slurm.backend,
            "fits": None if found.fits is None else asdict(found.fits),
            "daemon": {"backend": None, "why": found.no_daemon} if found.daemon is None else asdict(found.daemon),
        },
        indent=2,
    )
