"""The user data of a compute instance: one small script, and the way back from it to the agent's variables."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from clustermgtd.node.arguments import ENVIRONMENT_PREFIX, AgentArguments, as_environment

ENVIRONMENT_FILE = "/etc/clustermgtd/node.env"
"""Read by the agent's systemd unit (`EnvironmentFile=`)."""
AGENT_UNIT = "clustermgtd-node.service"
_BEGIN = f"cat >{ENVIRONMENT_FILE} <<'CLUSTERMGTD_NODE_END'"
_END = "CLUSTERMGTD_NODE_END"


def user_data(arguments: AgentArguments, others: Mapping[str, str] | None = None) -> str:
    """A shell script for cloud-init that tells the agent's unit what to do and starts it.

    `others` are variables that are not the agent's own, such as a proxy's.

    Values that equal the agent's defaults are left out, which keeps the text stable over releases (it is part of the
    launch template's hash) and far below EC2's limit of 16 KiB.

    Raises:
        ValueError: a value holds a line break, which a systemd environment file cannot carry.
    """
    defaults = as_environment(AgentArguments(table=""))
    lines = []
    for name, value in sorted({**as_environment(arguments), **(others or {})}.items()):
        if value == defaults.get(name):
            continue
        if "\n" in value or "\r" in value:
            raise ValueError(f"{name} holds a line break: {value!r}")
        lines.append(f"{name}={_quoted(value)}")
    return "\n".join(
        (
            "#!/bin/sh",
            "# Tells this instance's clustermgtd node agent where its record is, and starts it.",
            "set -eu",
            "umask 022",
            "mkdir -p /etc/clustermgtd",
            _BEGIN,
            *lines,
            _END,
            f"systemctl start --no-block {AGENT_UNIT}",
            "",
        )
    )


def agent_environment(text: str) -> dict[str, str]:
    """The variables in user data written by `user_data`; empty if there are none.

    This is how the lab, which has no cloud-init, starts the same agent with the same arguments.
    """
    lines = iter(text.splitlines())
    for line in lines:
        if line == _BEGIN:
            break
    found: dict[str, str] = {}
    for line in lines:
        if line == _END:
            break
        name, separator, value = line.partition("=")
        if separator and name.startswith(ENVIRONMENT_PREFIX):
            found[name] = "".join(shlex.split(value))
    return found


def _quoted(value: str) -> str:
    """In double quotes, for systemd, which expands nothing in an environment file."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
