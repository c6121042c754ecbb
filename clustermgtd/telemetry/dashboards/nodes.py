"""Nodes, instances and jobs."""

from __future__ import annotations

from typing import Final

from clustermgtd.telemetry.dashboards.panel import COUNT, Dashboard, Panel, increase_by

NODES: Final = Dashboard(
    "nodes",
    "Nodes and jobs",
    (
        Panel("Nodes", COUNT, (("{{state}}", "clustermgtd_nodes"),), "As Slurm shows them.", stacked=True),
        Panel("Instances", COUNT, (("{{state}}", 'clustermgtd_instances{state!="terminated"}'),), stacked=True),
        Panel("Claims", COUNT, (("{{state}}", "clustermgtd_claims"),), stacked=True),
        Panel(
            "Orphans",
            COUNT,
            (
                ("instances that no claim names", "clustermgtd_instances_unclaimed"),
                ("terminations held back: {{reason}}", "clustermgtd_terminations_held_back > 0"),
            ),
        ),
        Panel(
            "Nodes held or left alone",
            COUNT,
            (
                ("held: nothing to be had", "clustermgtd_nodes_held"),
                ("left alone: {{why}}", "clustermgtd_nodes_left_alone > 0"),
            ),
        ),
        Panel("Queues", COUNT, (("{{status}}", "clustermgtd_queues"),), stacked=True),
        Panel("Jobs", COUNT, (("{{state}}", "sum by (state) (slurm_queue_jobs)"),), stacked=True),
        Panel(
            "Why jobs are pending",
            COUNT,
            (("{{reason}}", 'topk(10, sum by (reason) (slurm_queue_jobs{state="pending"}))'),),
            "Slurm's reasons, the ten most frequent.",
            stacked=True,
        ),
        Panel(
            "Pending jobs by partition",
            COUNT,
            (("{{partition}}", 'sum by (partition) (slurm_queue_jobs{state="pending"})'),),
            stacked=True,
        ),
        Panel(
            "Warm nodes",
            COUNT,
            (
                ("wanted {{queue}}", "clustermgtd_warm_nodes_wanted"),
                ("up {{queue}}", "clustermgtd_warm_nodes"),
            ),
        ),
        Panel(
            "Why instances were ended",
            COUNT,
            (
                (
                    "{{reason}}",
                    "sum by (reason) "
                    '(increase(clustermgtd_actions_total{action="terminate-instances",outcome="ok"}[5m])) > 0',
                ),
            ),
            "In five minutes; actions, each of which may end several instances.",
            stacked=True,
        ),
        Panel(
            "Ended by symptoms only",
            COUNT,
            (("{{reason}}", increase_by("clustermgtd_involuntary_terminations_total", "reason")),),
            "In five minutes.",
            stacked=True,
        ),
    ),
)
