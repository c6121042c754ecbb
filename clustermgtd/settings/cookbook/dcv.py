"""Variables of the role `dcv`."""

from __future__ import annotations

from clustermgtd.settings.cookbook.machine import Machine, MachineKind


def variables(machine: Machine) -> dict[str, object]:
    """Whether the machine has a remote desktop; compute nodes never do."""
    match machine.kind:
        case MachineKind.HEAD:
            dcv = machine.settings.head_node.dcv
        case MachineKind.LOGIN:
            dcv = machine.pool.dcv
        case MachineKind.COMPUTE:
            return {}
    return {"dcv_enabled": dcv.enabled, "dcv_port": dcv.port}
