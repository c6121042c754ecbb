"""The variables of the role `monitoring` follow from cluster.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from clustermgtd.settings import load
from clustermgtd.settings.cookbook import Machine, MachineKind
from clustermgtd.settings.cookbook.monitoring import variables
from tests.architecture.source_tree import ROOT

EXAMPLE = ROOT / "docs" / "examples" / "parallelcluster.yaml"


def machine(folder: Path, kind: MachineKind, group: str = "", metrics: dict[str, object] | None = None) -> Machine:
    document = yaml.safe_load(EXAMPLE.read_text()) | {"Clustermgtd": {"ClusterName": "genes", "Metrics": metrics or {}}}
    file = folder / "cluster.yaml"
    file.write_text(yaml.safe_dump(document))
    return Machine(load(file), kind, group)


def test_the_head_node_asks_the_daemon_where_it_serves(tmp_path: Path) -> None:
    given = variables(machine(tmp_path, MachineKind.HEAD))
    assert given["monitoring_daemon_address"] == "127.0.0.1:9840"
    assert given["monitoring_cluster_name"] == "genes"
    assert given["monitoring_region"] == "us-east-1"


@pytest.mark.parametrize(
    ("metrics", "address"),
    [
        ({"Address": "10.0.0.7", "Port": 9000}, "10.0.0.7:9000"),
        ({"Address": "::1"}, "[::1]:9840"),
        ({"Enabled": False}, ""),
        ({"Port": 0}, ""),
    ],
)
def test_the_daemons_address_is_the_configured_one(tmp_path: Path, metrics: dict[str, object], address: str) -> None:
    given = variables(machine(tmp_path, MachineKind.HEAD, metrics=metrics))
    assert given["monitoring_daemon_address"] == address


def test_prometheus_reaches_node_exporter_on_the_other_machines(tmp_path: Path) -> None:
    head = variables(machine(tmp_path, MachineKind.HEAD))
    compute = variables(machine(tmp_path, MachineKind.COMPUTE, "spot"))
    login = variables(machine(tmp_path, MachineKind.LOGIN, "login"))
    assert head["monitoring_node_exporter_address"] == "127.0.0.1"
    assert compute["monitoring_node_exporter_address"] == login["monitoring_node_exporter_address"] == "0.0.0.0"
    assert [one["monitoring_machine_kind"] for one in (head, compute, login)] == ["head", "compute", "login"]
