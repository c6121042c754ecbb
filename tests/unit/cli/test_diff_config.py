"""`clustermgtctl diff-config`, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clustermgtd.cli.main import main

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "minimal.yaml"


def changed(folder: Path, old: str, new: str) -> list[str]:
    """The arguments for the example and the example with one thing changed."""
    text = EXAMPLE.read_text()
    assert old in text
    file = folder / "new.yaml"
    file.write_text(text.replace(old, new))
    return ["diff-config", str(EXAMPLE), str(file)]


def test_no_change(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff-config", str(EXAMPLE), str(EXAMPLE)]) == 0
    assert capsys.readouterr().out == "no change\n"


@pytest.mark.parametrize(
    ("old", "new", "status", "need"),
    [
        ("MaxCount: 10", "MaxCount: 20", 0, "live"),
        ("MaxCount: 10", "MaxCount: 5", 3, "drain"),
        (
            "InstanceType: c5.xlarge\n          MinCount",
            "InstanceType: c5.2xlarge\n          MinCount",
            4,
            "fleet stop",
        ),
        ("alinux2023", "ubuntu2404", 5, "not possible"),
    ],
)
def test_the_exit_status_is_the_worst_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, status: int, need: str
) -> None:
    assert main(changed(tmp_path, old, new)) == status
    said = capsys.readouterr().out
    assert said.startswith(f"{need.upper()}  ")
    assert said.endswith(f"1 change; in all: {need}\n")


def test_what_is_said_of_a_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(changed(tmp_path, "MaxCount: 10", "MaxCount: 20"))
    head, reason, action, _ = capsys.readouterr().out.splitlines()
    assert head == "LIVE  Scheduling.SlurmQueues[q1].ComputeResources[c5].MaxCount: 10 -> 20"
    assert reason == "    10 nodes come; those that are there stay as they are."
    assert action.startswith("    to do: render slurm.conf anew")


def test_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*changed(tmp_path, "MaxCount: 10", "MaxCount: 5"), "--output", "json"]) == 3
    answer = json.loads(capsys.readouterr().out)
    assert (answer["need"], answer["nodes_added"], answer["nodes_removed"]) == ("drain", "", "q1-dy-c5-[5-9]")
    (change,) = answer["changes"]
    assert (change["path"], change["old"], change["new"]) == (
        "Scheduling.SlurmQueues[q1].ComputeResources[c5].MaxCount",
        "10",
        "5",
    )
    assert change["need"] == "drain"
    assert change["reason"]
    assert change["action"]


def test_a_file_that_is_not_accepted_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(changed(tmp_path, "MaxCount: 10", "MaxCnt: 10")) == 1
    assert "did you mean MaxCount?" in capsys.readouterr().err
