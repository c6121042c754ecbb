"""Interruptions, and what nobody uses."""

from __future__ import annotations

from typing import Final

from clustermgtd.telemetry.dashboards.panel import COUNT, DOLLARS, PERCENT, SECONDS, Dashboard, Panel, increase_by

COST: Final = Dashboard(
    "interruptions-and-cost",
    "Interruptions and cost",
    (
        Panel(
            "Announcements that are true now",
            COUNT,
            (("{{kind}}", 'clustermgtd_notices{kind!="none"}'),),
            stacked=True,
        ),
        Panel(
            "Announcements received",
            COUNT,
            (("{{kind}} {{outcome}}", increase_by("clustermgtd_notice_messages_total", "kind, outcome") + " > 0"),),
            "In five minutes.",
        ),
        Panel(
            "Age of announcements on arrival",
            SECONDS,
            (
                (
                    "p50",
                    "histogram_quantile(0.5, sum by (le) (rate(clustermgtd_notice_message_age_seconds_bucket[30m])))",
                ),
                (
                    "p99",
                    "histogram_quantile(0.99, sum by (le) (rate(clustermgtd_notice_message_age_seconds_bucket[30m])))",
                ),
            ),
            "A spot instance is warned two minutes before.",
        ),
        Panel(
            "Instances that ended",
            COUNT,
            (("{{queue}} {{market}}", increase_by("clustermgtd_instances_ended_total", "queue, market")),),
            "In five minutes, for whatever reason.",
            stacked=True,
        ),
        Panel(
            "Idle node-hours of the last day",
            COUNT,
            (("node-hours", 'avg_over_time(clustermgtd_nodes{state="idle"}[1d]) * 24'),),
            "Nodes that were up and had no job.",
        ),
        Panel(
            "Share of nodes that idle",
            PERCENT,
            (
                (
                    "idle",
                    'clustermgtd_nodes{state="idle"} / ignoring (state) '
                    'sum without (state) (clustermgtd_nodes{state=~"idle|allocated"})',
                ),
            ),
            "Of those that are up.",
        ),
        Panel(
            "CPU time that nobody used",
            PERCENT,
            (
                (
                    "{{queue}}",
                    'avg by (queue) (rate(node_cpu_seconds_total{machine_kind="compute",mode="idle"}[5m]))',
                ),
            ),
            "Of all CPUs of the nodes that are up, whether Slurm gave them to a job or not.",
        ),
        Panel(
            "Warm nodes, US dollars an hour",
            DOLLARS,
            (("{{queue}}", "clustermgtd_warm_nodes_kept_dollars_per_hour"),),
            "Idle nodes that stay because of a schedule.",
            stacked=True,
        ),
        Panel(
            "Waiting for the rest of a job, US dollars",
            DOLLARS,
            (("in an hour", "increase(clustermgtd_gang_hold_cost_dollars_total[1h])"),),
            "What instances of jobs that came short cost while they waited.",
        ),
    ),
)
