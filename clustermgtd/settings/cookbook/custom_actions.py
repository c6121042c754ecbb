"""Variables of the role `custom_actions`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from clustermgtd.settings.cluster import Settings
from clustermgtd.settings.common import CustomAction, QueueCustomActions
from clustermgtd.settings.cookbook.machine import Machine, MachineKind


def variables(machine: Machine) -> dict[str, object]:
    """The programs of each event in order, with their checksums, and a digest that changes with cluster.yaml."""
    settings = machine.settings
    actions = _actions(machine)
    checksums = settings.clustermgtd.script_checksums
    timeouts = settings.dev_settings.timeouts
    is_compute = machine.kind is MachineKind.COMPUTE
    return {
        "custom_actions_on_node_start": _programs(actions.on_node_start, checksums),
        "custom_actions_on_node_configured": _programs(actions.on_node_configured, checksums),
        "custom_actions_on_node_updated": _programs(getattr(actions, "on_node_updated", None), checksums),
        "custom_actions_timeout_s": (
            timeouts.compute_node_bootstrap_timeout if is_compute else timeouts.head_node_bootstrap_timeout
        ),
        "custom_actions_is_compute": is_compute,
        # compute nodes are not updated: they leave
        "custom_actions_digest": "" if is_compute else _digest(settings),
    }


def _actions(machine: Machine) -> QueueCustomActions:
    match machine.kind:
        case MachineKind.HEAD:
            return machine.settings.head_node.custom_actions
        case MachineKind.COMPUTE:
            return machine.queue.custom_actions
        case MachineKind.LOGIN:
            return machine.pool.custom_actions


def _programs(action: CustomAction | None, checksums: Mapping[str, str]) -> list[dict[str, object]]:
    return [
        {"script": one.script, "args": list(one.args), "sha256": checksums.get(one.script, "")}
        for one in (action.scripts if action else ())
    ]


def _digest(settings: Settings) -> str:
    return hashlib.sha256(settings.model_dump_json().encode()).hexdigest()
