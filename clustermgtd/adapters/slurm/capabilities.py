"""What the running Slurm can do, found out once by asking it: distributions back-port, so its version says little."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from clustermgtd.adapters.slurm.complaints import INVALID_NODE
from clustermgtd.adapters.slurm.program import Answer
from clustermgtd.errors import IncompleteObservationError

Ask = Callable[..., Awaitable[Answer]]
"""A Slurm program with its arguments; raises if it does not end in time."""

NO_NODE = "clustermgtd-asks-what-slurm-can-do"
"""The node of the updates that are to fail; slurmctld notes in its log that there is none."""
_RELEASE = re.compile(rb"^SLURM_VERSION\s*= (\S+)", re.MULTILINE)
_ACCOUNTING = re.compile(rb"^AccountingStorageType\s*= (\S+)", re.MULTILINE)
_NO_ACCOUNTING = (b"(null)", b"accounting_storage/none")
_UNKNOWN_WORD = "Update of this parameter is not supported"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """One Slurm's. Nothing is decided by `release`: it is for people."""

    release: str
    """As slurmctld names it: `24.11.5`."""
    has_instance_ids: bool
    """Nodes have an InstanceId, which slurmd tells when it registers."""
    has_partition_times: bool
    """SuspendTime, SuspendTimeout and ResumeTimeout may differ between partitions."""
    has_accounting: bool
    """Without it some releases keep a node's reason after RESUME (docs/reference/slurm-facts.md)."""


async def probe(ask: Ask) -> Capabilities:
    """Three commands, of which none changes anything.

    Raises:
        IncompleteObservationError: slurmctld does not answer, or answers something else.
    """
    config = await _answer(ask, "show", "config")
    release, accounting = _RELEASE.search(config), _ACCOUNTING.search(config)
    if release is None or accounting is None:
        raise IncompleteObservationError("scontrol show config names no SLURM_VERSION or no AccountingStorageType")
    partitions = await _answer(ask, "-o", "-a", "show", "partitions")
    return Capabilities(
        release[1].decode(),
        await _takes_instance_ids(ask),
        b" SuspendTime=" in partitions,
        accounting[1] not in _NO_ACCOUNTING,
    )


async def _takes_instance_ids(ask: Ask) -> bool:
    """scontrol refuses a word that it does not know before it asks slurmctld about the node."""
    answer = await ask("scontrol", "update", f"NodeName={NO_NODE}", "InstanceId=i-0")
    said = answer.errors + answer.output.decode(errors="replace")
    if INVALID_NODE in said:
        return True
    if _UNKNOWN_WORD in said:
        return False
    raise IncompleteObservationError(f"scontrol update InstanceId: {said.strip()[:200] or 'nothing said'}")


async def _answer(ask: Ask, *argv: str) -> bytes:
    answer = await ask("scontrol", *argv)
    if answer.exit_code:
        raise IncompleteObservationError(
            f"scontrol {' '.join(argv)} ended with {answer.exit_code}: {answer.errors[:200]}"
        )
    return answer.output
