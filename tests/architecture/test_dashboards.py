"""The dashboards are current, and every panel asks for what exists, in PromQL that Prometheus takes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from clustermgtd.telemetry.dashboards.__main__ import DASHBOARDS, files
from clustermgtd.telemetry.metrics import Metrics
from tests.architecture.source_tree import ROOT

FOLDER = ROOT / "cookbooks" / "roles" / "monitoring" / "files" / "dashboards"
EXPRESSIONS = [
    (f"{board.name}: {panel.title}: {legend}", expression)
    for board in DASHBOARDS
    for panel in board.panels
    for legend, expression in panel.expressions
]
COLLECTED = {
    "cpu": {"node_cpu_seconds_total"},
    "diskstats": {"node_disk_read_bytes_total", "node_disk_written_bytes_total"},
    "filesystem": {"node_filesystem_avail_bytes", "node_filesystem_size_bytes"},
    "loadavg": {"node_load1", "node_load15"},
    "meminfo": {"node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes"},
    "netdev": {"node_network_receive_bytes_total", "node_network_transmit_bytes_total"},
    "pressure": {"node_pressure_memory_waiting_seconds_total", "node_pressure_io_waiting_seconds_total"},
}
"""What node_exporter 1.5 and 1.9 serve on Linux, by collector, as far as a panel asks for it."""
OTHERS = {"up", "slurm_queue_jobs"}
"""Prometheus's own, and those of the program slurm-queue-figures."""
NAME = re.compile(r"\b(?:up|[a-z]+_[A-Za-z0-9_]+)\b")
FUNCTIONS = {"avg", "avg_over_time", "histogram_quantile", "increase", "min", "rate", "sum", "time", "topk"}
GROUPINGS = {"by", "ignoring", "without"}
SELECTOR = re.compile(r"\b(clustermgtd_[a-z_]+|slurm_queue_jobs)\{([^}]*)\}")
GROUPING = re.compile(r"\b(?:by|ignoring|without) \(([^)]*)\)")


def declared() -> dict[str, dict[str, tuple[str, ...]]]:
    """Label values by label by the metric's exposed name; no values where they are the site's."""
    known: dict[str, dict[str, tuple[str, ...]]] = {
        "slurm_queue_jobs": {"partition": (), "state": (), "reason": ()},
    }
    for declaration in Metrics(CollectorRegistry()).declarations:
        values = {label.name: label.values for label in declaration.labels}
        parts = ("_bucket", "_sum", "_count") if declaration.kind == "histogram" else ("",)
        known |= {f"{declaration.name}{part}": values | ({"le": ()} if part == "_bucket" else {}) for part in parts}
    return known


def metric_names(expression: str) -> set[str]:
    bare = GROUPING.sub("", re.sub(r"\{[^}]*\}|\[[^]]*\]", "", expression))
    return set(NAME.findall(bare)) - FUNCTIONS


def test_the_files_are_current() -> None:
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == files(), "run `make docs`"


def test_grafana_knows_dashboards_and_panels_by_names_of_their_own() -> None:
    boards = [json.loads(text) for text in files().values()]
    assert len({board["uid"] for board in boards}) == len({board["title"] for board in boards}) == len(boards)
    for board in boards:
        assert len({panel["title"] for panel in board["panels"]}) == len(board["panels"]), board["title"]


@pytest.mark.parametrize(("panel", "expression"), EXPRESSIONS, ids=[name for name, _ in EXPRESSIONS])
def test_a_panel_asks_for_metrics_and_labels_that_exist(panel: str, expression: str) -> None:
    known = declared()
    names = metric_names(expression)
    assert names
    assert names <= known.keys() | OTHERS | set().union(*COLLECTED.values()), panel
    for name, selector in SELECTOR.findall(expression):
        for label, values in re.findall(r'(\w+)[=!]~?"([^"]*)"', selector):
            assert not known[name][label] or set(values.split("|")) <= set(known[name][label]), panel
    labels = set().union(*(known.get(name, {}) for name in names))
    if names <= known.keys():
        for grouping in GROUPING.findall(expression):
            assert set(grouping.split(", ")) <= labels, panel
        legend = panel.rsplit(": ", 1)[1]
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= labels, panel


@pytest.mark.parametrize(("panel", "expression"), EXPRESSIONS, ids=[name for name, _ in EXPRESSIONS])
def test_a_panel_calls_functions_of_promql(panel: str, expression: str) -> None:
    assert set(re.findall(r"(\w+) ?\(", expression)) <= FUNCTIONS | GROUPINGS, panel


def test_the_role_collects_what_panels_ask_of_node_exporter() -> None:
    defaults = yaml.safe_load((FOLDER.parents[1] / "defaults" / "main.yml").read_text())
    asked = set().union(*(metric_names(expression) for _, expression in EXPRESSIONS))
    needed = {collector for collector, names in COLLECTED.items() if names & asked}
    assert needed <= set(defaults["monitoring_node_exporter_collectors"])


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_prometheus_takes_every_expression(tmp_path: Path) -> None:
    rules = [{"record": f"panel{number}", "expr": expression} for number, (_, expression) in enumerate(EXPRESSIONS)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    for path in (file, ROOT / "docs" / "operations" / "alerts.yaml"):
        done = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
