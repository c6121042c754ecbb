"""Variables of the role `common`."""

from __future__ import annotations

from clustermgtd.settings.cookbook.machine import Machine


def variables(machine: Machine) -> dict[str, object]:
    """What every machine needs."""
    return {
        "common_cluster_name": machine.settings.cluster_name,
        "common_machine_kind": machine.kind.value,
        "common_machine_group": machine.group,
        "common_region": machine.settings.region,
        "common_proxy": machine.networking.proxy.http_proxy_address or "",
    }
