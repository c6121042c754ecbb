"""Launches, and what EC2 refuses."""

from __future__ import annotations

from typing import Final

from clustermgtd.telemetry.dashboards.panel import COUNT, PERCENT, SECONDS, Dashboard, Panel, increase_by, quantile

LAUNCHES: Final = Dashboard(
    "launches",
    "Launches and capacity",
    (
        Panel(
            "Demand to slurmd, by market",
            SECONDS,
            (
                ("p50 {{market}}", quantile(0.5, "clustermgtd_node_ready_seconds", "market")),
                ("p90 {{market}}", quantile(0.9, "clustermgtd_node_ready_seconds", "market")),
            ),
            "From seeing Slurm's demand to seeing slurmd registered.",
        ),
        Panel(
            "Boot by phase, p50",
            SECONDS,
            (("{{phase}}", quantile(0.5, "clustermgtd_boot_phase_seconds", "phase")),),
            "From the instance's launch to the end of each phase.",
        ),
        Panel(
            "Boot by phase, p90",
            SECONDS,
            (("{{phase}}", quantile(0.9, "clustermgtd_boot_phase_seconds", "phase")),),
        ),
        Panel(
            "Instances launched",
            COUNT,
            (("{{queue}} {{market}}", increase_by("clustermgtd_instances_launched_total", "queue, market")),),
            "In five minutes.",
            stacked=True,
        ),
        Panel(
            "Refusals of CreateFleet",
            COUNT,
            (("{{kind}} {{market}}", increase_by("clustermgtd_launch_errors_total", "kind, market")),),
            "In five minutes, one per override. Which type and zone: the daemon's log, or `clustermgtctl prices`.",
            stacked=True,
        ),
        Panel(
            "Offerings that are banned",
            COUNT,
            (("{{kind}} {{market}} {{state}}", "sum by (kind, market, state) (clustermgtd_offering_bans)"),),
            "`ended`: the time is over, and nobody has tried since.",
        ),
        Panel(
            "Compute resources in a lower tier",
            COUNT,
            (("{{queue}} tier {{tier}}", "clustermgtd_compute_resources_fallen > 0"),),
        ),
        Panel(
            "Compute resources protected, failed boots",
            COUNT,
            (
                ("protected {{queue}}", "clustermgtd_compute_resources_protected"),
                ("failed boots in a row {{queue}}", "clustermgtd_bootstrap_failures"),
            ),
        ),
        Panel(
            "Jobs that came short and wait",
            COUNT,
            (
                ("jobs", "clustermgtd_gangs_held"),
                ("nodes they miss", "clustermgtd_gang_nodes_missing"),
            ),
        ),
        Panel(
            "Tokens of EC2's buckets",
            COUNT,
            (("{{bucket}}", "clustermgtd_bucket_tokens < +Inf"),),
            "What EC2 is believed to allow at once.",
        ),
        Panel(
            "Throttles",
            COUNT,
            (("{{bucket}}", increase_by("clustermgtd_bucket_throttles_total", "bucket")),),
            "In five minutes.",
        ),
        Panel(
            "Waiting for EC2's limits",
            SECONDS,
            (
                ("backlog", "clustermgtd_launch_backlog_seconds"),
                ("margin of ResumeTimeout {{queue}}", "clustermgtd_resume_timeout_margin_seconds"),
            ),
        ),
        Panel(
            "vCPUs and quotas",
            PERCENT,
            (("{{market}} {{class}}", "clustermgtd_vcpu_in_use / (clustermgtd_vcpu_quota > 0)"),),
            "Of the account's quota, as far as this cluster uses it.",
        ),
    ),
)
