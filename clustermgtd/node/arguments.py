"""What the agent is told: by command line, or by environment variables of the same names.

The systemd unit reads the variables from a file that user data writes; the lab sets them on the process.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ENVIRONMENT_PREFIX = "CLUSTERMGTD_NODE_"
"""`--conf-server` may also be given as CLUSTERMGTD_NODE_CONF_SERVER, and so on."""


@dataclass(frozen=True, slots=True)
class AgentArguments:
    """How one agent runs. Times are seconds."""

    table: str
    """DynamoDB table with the launch records."""
    region: str = ""
    """AWS region; empty takes the one that the instance is in."""
    conf_server: str = ""
    """`host[:port]` of slurmctld for configless slurmd; several are separated by commas."""
    conf_file: str = ""
    """slurm.conf, where slurmd is not configless."""
    variables: str = ""
    """Digest of the stored variables with which the instance configures itself; empty: its image is complete."""
    slurmd: str = "/usr/sbin/slurmd"
    give_up_s: float = 600.0
    """From the agent's start until a slurmd that stays must run."""
    power_off_command: str = "systemctl poweroff"
    """Run when the instance ends itself, split like a shell would; empty: the agent's exit code alone says it."""
    console: str = "/dev/console"
    """Where a person reads why the instance gave up (EC2's console output); empty: nowhere but stderr."""
    ephemeral_dir: str = "/scratch"
    """Where the image's boot mounts the instance store, if the instance has one; it reads the same variable. The agent
    mounts nothing: it says in its log that nothing is mounted there. Empty: it does not look."""
    metadata_period_s: float = 5.0
    """Between two looks at what EC2 announces."""
    interruption_hook: str = ""
    """Program that is run when the instance is about to be taken; empty: none."""
    interruption_hook_s: float = 100.0
    """Longest time for it."""
    health_check: str = ""
    """Program that says by its exit status whether the node is well; empty: none."""
    health_interval_s: float = 300.0
    health_deadline_s: float = 60.0
    dead_man_idle_s: float = 1800.0
    """Silence of the head node after which the instance ends itself if no job runs on it; 0: never."""
    dead_man_job_s: float = 86_400.0
    """The same with a job."""
    dead_man_unreadable_s: float = 21_600.0
    """At least so long where the heartbeat cannot be read."""
    processes_below: str = ""
    """`parent`: of the machine's processes only those below the agent's parent belong to the node, because other nodes
    share the machine (the lab). Empty: all."""


_HELP = {
    "table": "DynamoDB table with the launch records",
    "region": "AWS region; default: where the instance is",
    "conf_server": "slurmctld host[:port], for configless",
    "conf_file": "slurm.conf, if not configless",
    "variables": "digest of the variables with which the instance configures itself; empty: its image is complete",
    "slurmd": "path of slurmd",
    "give_up_s": "seconds until slurmd must run",
    "power_off_command": "what ends this instance; empty: exit only",
    "console": "file that shows why the instance ended itself",
    "ephemeral_dir": "where the image mounts the instance store; the agent only looks whether it did",
    "metadata_period_s": "seconds between two looks at what EC2 announces",
    "interruption_hook": "program that is run when the instance is about to be taken",
    "interruption_hook_s": "longest time for it, seconds",
    "health_check": "program whose exit status says whether the node is well",
    "health_interval_s": "seconds between two health checks",
    "health_deadline_s": "longest time for one health check, seconds",
    "dead_man_idle_s": "seconds of the head node's silence until an idle instance ends itself; 0: never",
    "dead_man_job_s": "the same for one with a job",
    "dead_man_unreadable_s": "at least so many seconds where the heartbeat cannot be read",
    "processes_below": "'parent': only processes below the agent's parent are the node's",
}


def parse(argv: Sequence[str], environment: Mapping[str, str]) -> AgentArguments:
    """The arguments; the command line wins over the environment.

    Raises:
        SystemExit: with code 2 and a sentence on stderr, as argparse does.
    """
    parser = argparse.ArgumentParser(
        prog="python -m clustermgtd.node",
        description="Learn which Slurm node this instance is, start slurmd, watch over it, report.",
        epilog=f"Every option may be given as an environment variable: --conf-file is {ENVIRONMENT_PREFIX}CONF_FILE.",
    )
    for name, text in as_environment(AgentArguments(table="")).items():
        key = name.removeprefix(ENVIRONMENT_PREFIX).lower()
        kind = float if key.endswith("_s") else str
        help_text = f"{_HELP[key]} (default {text!r})" if text else _HELP[key]
        parser.add_argument(
            f"--{key.replace('_', '-')}", type=kind, default=environment.get(name, text), help=help_text
        )
    values = parser.parse_args(argv)
    if not values.table:
        parser.error(f"--table (or {ENVIRONMENT_PREFIX}TABLE) is required")
    if values.conf_server and values.conf_file:
        parser.error("--conf-server and --conf-file exclude each other")
    for key in ("give_up_s", "metadata_period_s", "interruption_hook_s", "health_interval_s", "health_deadline_s"):
        if getattr(values, key) <= 0:
            parser.error(f"--{key.replace('_', '-')} must be above 0")
    if values.processes_below not in ("", "parent"):
        parser.error("--processes-below takes 'parent' or nothing")
    return AgentArguments(**vars(values))


def as_environment(arguments: AgentArguments) -> dict[str, str]:
    """The variables that make `parse([], ...)` return `arguments`."""
    return {
        ENVIRONMENT_PREFIX + name.upper(): repr(float(value)).removesuffix(".0")
        if isinstance(value, float | int)
        else value
        for name, value in dataclasses.asdict(arguments).items()
    }
