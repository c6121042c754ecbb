"""What the agent is told: by command line, or by environment variables of the same names.

The systemd unit reads the variables from a file that user data writes; the lab sets them on the process.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ENVIRONMENT_PREFIX = "CLUSTERMGTD_NODE_"
"""`--conf-server` may also be given as CLUSTERMGTD_NODE_CONF_SERVER, and so on."""


@dataclass(frozen=True, slots=True)
class AgentArguments:
    """How one agent runs."""

    table: str
    """DynamoDB table with the launch records."""
    region: str = ""
    """AWS region; empty takes the one that the instance is in."""
    conf_server: str = ""
    """`host[:port]` of slurmctld for configless slurmd; several are separated by commas."""
    conf_file: str = ""
    """slurm.conf, where slurmd is not configless."""
    slurmd: str = "/usr/sbin/slurmd"
    give_up_s: float = 600.0
    """From the agent's start until a slurmd that stays must run."""
    power_off_command: str = "systemctl poweroff"
    """Run when giving up, split like a shell would; empty: the agent's exit code alone says it."""
    console: str = "/dev/console"
    """Where a person reads why the instance gave up (EC2's console output); empty: nowhere but stderr."""
    ephemeral_dir: str = "/scratch"
    """Where the image's boot mounts the instance store, if the instance has one; it reads the same variable. The agent
    mounts nothing: it says in its log that nothing is mounted there. Empty: it does not look."""


def parse(argv: Sequence[str], environment: Mapping[str, str]) -> AgentArguments:
    """The arguments; the command line wins over the environment.

    Raises:
        SystemExit: with code 2 and a sentence on stderr, as argparse does.
    """
    defaults = AgentArguments(table="")

    def default(name: str) -> str:
        fallback = str(getattr(defaults, name.lower()))
        return environment.get(ENVIRONMENT_PREFIX + name, fallback)

    parser = argparse.ArgumentParser(
        prog="python -m clustermgtd.node",
        description="Learn which Slurm node this instance is, start slurmd, report the boot.",
        epilog=f"Every option may be given as an environment variable: --conf-file is {ENVIRONMENT_PREFIX}CONF_FILE.",
    )
    parser.add_argument("--table", default=default("TABLE"), help="DynamoDB table with the launch records")
    parser.add_argument("--region", default=default("REGION"), help="AWS region; default: where the instance is")
    parser.add_argument("--conf-server", default=default("CONF_SERVER"), help="slurmctld host[:port], for configless")
    parser.add_argument("--conf-file", default=default("CONF_FILE"), help="slurm.conf, if not configless")
    parser.add_argument("--slurmd", default=default("SLURMD"), help="path of slurmd")
    parser.add_argument(
        "--give-up-s", type=float, default=default("GIVE_UP_S"), help="seconds until slurmd must run (default 600)"
    )
    parser.add_argument(
        "--power-off-command",
        default=default("POWER_OFF_COMMAND"),
        help="what ends this instance when giving up; empty: exit only",
    )
    parser.add_argument("--console", default=default("CONSOLE"), help="file that shows why the agent gave up")
    parser.add_argument(
        "--ephemeral-dir",
        default=default("EPHEMERAL_DIR"),
        help="where the image mounts the instance store; the agent only looks whether it did",
    )
    values = parser.parse_args(argv)
    if not values.table:
        parser.error(f"--table (or {ENVIRONMENT_PREFIX}TABLE) is required")
    if values.conf_server and values.conf_file:
        parser.error("--conf-server and --conf-file exclude each other")
    if values.give_up_s <= 0:
        parser.error("--give-up-s must be above 0")
    return AgentArguments(**vars(values))


def as_environment(arguments: AgentArguments) -> dict[str, str]:
    """The variables that make `parse([], ...)` return `arguments`."""
    return {
        ENVIRONMENT_PREFIX + "TABLE": arguments.table,
        ENVIRONMENT_PREFIX + "REGION": arguments.region,
        ENVIRONMENT_PREFIX + "CONF_SERVER": arguments.conf_server,
        ENVIRONMENT_PREFIX + "CONF_FILE": arguments.conf_file,
        ENVIRONMENT_PREFIX + "SLURMD": arguments.slurmd,
        ENVIRONMENT_PREFIX + "GIVE_UP_S": f"{arguments.give_up_s:g}",
        ENVIRONMENT_PREFIX + "POWER_OFF_COMMAND": arguments.power_off_command,
        ENVIRONMENT_PREFIX + "CONSOLE": arguments.console,
        ENVIRONMENT_PREFIX + "EPHEMERAL_DIR": arguments.ephemeral_dir,
    }
