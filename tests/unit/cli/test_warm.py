"""clustermgtctl warm without AWS, as typed; against a real Slurm it is in tests/e2e/test_warm_nodes.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clustermgtd.cli.main import main

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
ALWAYS = "Clustermgtd: {Schedules: {always: {Cron: '* * * * *', DurationMinutes: 5, WarmNodes: [WARM]}}}\n"


@pytest.fixture
def always(tmp_path: Path) -> str:
    file = tmp_path / "cluster.yaml"
    warm = "{Queue: q1, ComputeResource: c5, MinCount: 4}"
    file.write_text((EXAMPLES / "minimal.yaml").read_text() + ALWAYS.replace("WARM", warm))
    return str(file)


def test_a_schedule_that_is_active_is_shown_with_what_it_wants_and_what_that_costs(
    always: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["warm", always, "--offline"]) == 0
    headings, row = (line.split() for line in capsys.readouterr().out.splitlines())
    shown = dict(zip(headings, row, strict=True))
    assert (shown["QUEUE"], shown["RESOURCE"], shown["WANTED"], shown["UP"]) == ("q1", "c5", "4", "-")
    assert shown["SCHEDULE"] == "always"
    assert shown["$/HOUR"] == "0.680"


def test_as_json(always: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warm", always, "--offline", "--output", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["wanted"], row["up"], row["schedule"], row["kept"]) == (4, None, "always", None)
    assert row["next"] < row["until"]


def test_a_cluster_without_schedules_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warm", str(EXAMPLES / "minimal.yaml")]) == 0
    assert capsys.readouterr().out == "no schedules: Clustermgtd.Schedules is empty\n"


def test_without_slurm_it_says_what_is_missing_and_fails(
    always: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert main(["warm", always]) == 1
    assert "Slurm cannot be read: Clustermgtd.Slurm.BinDir: no scontrol in PATH" in capsys.readouterr().err
