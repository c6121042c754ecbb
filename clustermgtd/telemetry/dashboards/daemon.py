"""The daemon itself."""

from __future__ import annotations

from typing import Final

from clustermgtd.telemetry.dashboards.panel import COUNT, PER_SECOND, SECONDS, Dashboard, Panel, increase_by, quantile

DAEMON: Final = Dashboard(
    "daemon",
    "The daemon",
    (
        Panel(
            "Since the last good round",
            SECONDS,
            (("age", "time() - clustermgtd_last_successful_tick_timestamp_seconds"),),
        ),
        Panel(
            "Rounds", COUNT, (("{{outcome}}", increase_by("clustermgtd_ticks_total", "outcome")),), "In five minutes."
        ),
        Panel(
            "Time of a round",
            SECONDS,
            (
                ("p50", "histogram_quantile(0.5, sum by (le) (rate(clustermgtd_tick_duration_seconds_bucket[30m])))"),
                ("p99", "histogram_quantile(0.99, sum by (le) (rate(clustermgtd_tick_duration_seconds_bucket[30m])))"),
            ),
        ),
        Panel(
            "Calls",
            PER_SECOND,
            (
                (
                    "{{port}} {{method}}",
                    "sum by (port, method) (rate(clustermgtd_port_call_duration_seconds_count[5m]))",
                ),
            ),
        ),
        Panel(
            "Calls that failed",
            PER_SECOND,
            (
                (
                    "{{port}} {{method}} {{outcome}}",
                    "sum by (port, method, outcome) "
                    '(rate(clustermgtd_port_call_duration_seconds_count{outcome!~"ok|cancelled"}[5m])) > 0',
                ),
            ),
        ),
        Panel(
            "Time of calls, p90",
            SECONDS,
            (("{{port}} {{method}}", quantile(0.9, "clustermgtd_port_call_duration_seconds", "port, method")),),
        ),
        Panel(
            "Actions that failed",
            COUNT,
            (
                (
                    "{{action}} {{reason}}",
                    'sum by (action, reason) (increase(clustermgtd_actions_total{outcome="failed"}[5m])) > 0',
                ),
            ),
            "In five minutes.",
        ),
        Panel(
            "Requests of Slurm's hooks",
            COUNT,
            (
                ("{{kind}} {{source}}", increase_by("clustermgtd_hook_requests_total", "kind, source")),
                ("refused: {{reason}}", increase_by("clustermgtd_hook_requests_rejected_total", "reason") + " > 0"),
            ),
            "In five minutes.",
        ),
        Panel(
            "Waiting hints",
            COUNT,
            (
                ("in memory", "clustermgtd_inbox_hints"),
                ("in the spool folder", "clustermgtd_spool_files"),
                ("announcements in the queue", "clustermgtd_notice_queue_messages"),
            ),
        ),
        Panel(
            "Jobs at the start gate",
            COUNT,
            (
                ("waiting", "clustermgtd_start_gate_waiting"),
                ("let go: {{reason}}", increase_by("clustermgtd_start_gate_answers_total", "reason")),
            ),
        ),
        Panel(
            "Age of what is read from AWS",
            SECONDS,
            (("{{facts}}", "time() - (clustermgtd_facts_last_read_timestamp_seconds > 0)"),),
        ),
        Panel(
            "Slurm is asked by",
            COUNT,
            (("{{backend}}", "clustermgtd_slurm_backend"),),
        ),
    ),
)
