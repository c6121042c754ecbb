"""slurmd: which options this release has, and its command line."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from clustermgtd.errors import PermanentError
from clustermgtd.node.arguments import AgentArguments
from clustermgtd.node.imds import Identity

_PROBE_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class SlurmdFeatures:
    """What differs between releases, as far as the agent cares."""

    takes_instance: bool
    """`--instance-id` and `--instance-type`, since 23.11."""


def probe(slurmd: str) -> SlurmdFeatures:
    """Ask the program itself (its help text), because distributions back-port.

    Raises:
        PermanentError: it cannot be run.
    """
    try:
        answer = subprocess.run([slurmd, "-h"], capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PermanentError(f"cannot run {slurmd}: {error}") from error
    return SlurmdFeatures(takes_instance="--instance-id" in answer.stdout + answer.stderr)


JUST_BOOTED = "-b"
"""Says that the machine has just booted: without it slurmctld would compare boot times, and a node that it waits for
would stay POWERING_UP where the clock or a warm start says otherwise. With it slurmctld gives up the jobs that survived
the slurmd before."""


def command_line(arguments: AgentArguments, features: SlurmdFeatures, identity: Identity, node: str) -> list[str]:
    """slurmd in the foreground as `node`, on a machine that has just booted."""
    command = [arguments.slurmd, "-D", JUST_BOOTED, "-N", node]
    if arguments.conf_server:
        command += ["--conf-server", arguments.conf_server]
    elif arguments.conf_file:
        command += ["-f", arguments.conf_file]
    if features.takes_instance:
        command += [f"--instance-id={identity.instance_id}", f"--instance-type={identity.instance_type}"]
    return command
