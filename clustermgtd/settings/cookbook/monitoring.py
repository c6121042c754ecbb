"""Variables of the role `monitoring`."""

from __future__ import annotations

from clustermgtd.settings.cookbook.machine import Machine, MachineKind


def variables(machine: Machine) -> dict[str, object]:
    """Where the daemon's metrics are, and who has to reach node_exporter."""
    metrics = machine.settings.clustermgtd.metrics
    is_head = machine.kind is MachineKind.HEAD
    host = f"[{metrics.address}]" if ":" in metrics.address else metrics.address
    return {
        "monitoring_cluster_name": machine.settings.cluster_name,
        "monitoring_machine_kind": machine.kind.value,
        "monitoring_region": machine.settings.region,
        "monitoring_proxy": machine.networking.proxy.http_proxy_address or "",
        # of port 0 only the daemon's log knows what it became
        "monitoring_daemon_address": f"{host}:{metrics.port}" if metrics.enabled and metrics.port else "",
        # Prometheus is on the head node; nobody else has to ask there
        "monitoring_node_exporter_address": "127.0.0.1" if is_head else "0.0.0.0",  # noqa: S104
    }
