"""What node_exporter says."""

from __future__ import annotations

from typing import Final

from clustermgtd.telemetry.dashboards.panel import BYTES_PER_SECOND, COUNT, PERCENT, Dashboard, Panel

MACHINES: Final = Dashboard(
    "machines",
    "Machines",
    (
        Panel(
            "Machines that answer",
            COUNT,
            (("{{machine_kind}} {{queue}}", 'sum by (machine_kind, queue) (up{job=~"head|machines"})'),),
        ),
        Panel(
            "CPU",
            PERCENT,
            (
                (
                    "{{machine_kind}} {{queue}}",
                    '1 - avg by (machine_kind, queue) (rate(node_cpu_seconds_total{mode="idle"}[5m]))',
                ),
            ),
        ),
        Panel(
            "Least memory that is left",
            PERCENT,
            (
                (
                    "{{machine_kind}} {{queue}}",
                    "min by (machine_kind, queue) (node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)",
                ),
            ),
            "On the machine that has least.",
        ),
        Panel(
            "Fullest file systems",
            PERCENT,
            (
                (
                    "{{machine_kind}} {{instance}} {{mountpoint}}",
                    "topk(10, 1 - node_filesystem_avail_bytes / (node_filesystem_size_bytes > 0))",
                ),
            ),
        ),
        Panel(
            "Network",
            BYTES_PER_SECOND,
            (
                (
                    "in {{machine_kind}} {{queue}}",
                    'sum by (machine_kind, queue) (rate(node_network_receive_bytes_total{device!="lo"}[5m]))',
                ),
                (
                    "out {{machine_kind}} {{queue}}",
                    'sum by (machine_kind, queue) (rate(node_network_transmit_bytes_total{device!="lo"}[5m]))',
                ),
            ),
        ),
        Panel(
            "Disks",
            BYTES_PER_SECOND,
            (
                (
                    "read {{machine_kind}} {{queue}}",
                    "sum by (machine_kind, queue) (rate(node_disk_read_bytes_total[5m]))",
                ),
                (
                    "written {{machine_kind}} {{queue}}",
                    "sum by (machine_kind, queue) (rate(node_disk_written_bytes_total[5m]))",
                ),
            ),
        ),
        Panel(
            "Load of the head node",
            COUNT,
            (("1 min", 'node_load1{machine_kind="head"}'), ("15 min", 'node_load15{machine_kind="head"}')),
        ),
        Panel(
            "Tasks that wait for memory or disks on the head node",
            PERCENT,
            (
                ("memory", 'rate(node_pressure_memory_waiting_seconds_total{machine_kind="head"}[5m])'),
                ("disks", 'rate(node_pressure_io_waiting_seconds_total{machine_kind="head"}[5m])'),
            ),
        ),
    ),
)
