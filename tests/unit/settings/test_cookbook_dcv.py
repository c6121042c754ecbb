"""The variables of the role `dcv` follow from cluster.yaml."""

from __future__ import annotations

from pathlib import Path

import yaml

from clustermgtd.settings import load
from clustermgtd.settings.cookbook import Machine, MachineKind
from clustermgtd.settings.cookbook.dcv import variables
from tests.architecture.source_tree import ROOT


def test_head_and_login_nodes_have_a_desktop_where_it_is_enabled(tmp_path: Path) -> None:
    document = yaml.safe_load((ROOT / "docs" / "examples" / "parallelcluster.yaml").read_text())
    document["LoginNodes"]["Pools"][0]["Dcv"] = {"Enabled": True, "Port": 9443}
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump(document))
    settings = load(file)
    assert variables(Machine(settings, MachineKind.HEAD)) == {"dcv_enabled": False, "dcv_port": 8443}
    assert variables(Machine(settings, MachineKind.LOGIN, "login")) == {"dcv_enabled": True, "dcv_port": 9443}
    assert variables(Machine(settings, MachineKind.COMPUTE, "spot")) == {}
