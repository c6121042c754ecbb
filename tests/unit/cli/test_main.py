"""clustermgtctl, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clustermgtd.cli.main import main

EXAMPLE = str(Path(__file__).parents[3] / "docs" / "examples" / "minimal.yaml")


@pytest.fixture
def refused(tmp_path: Path) -> str:
    file = tmp_path / "cluster.yaml"
    file.write_text(Path(EXAMPLE).read_text().replace("MaxCount: 10", "MaxCnt: 10"))
    return str(file)


def test_check_config_accepts_a_good_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", EXAMPLE]) == 0
    assert capsys.readouterr().out.endswith("accepted (1 queue, 1 compute resource, 1 static node, 9 dynamic nodes)\n")


def test_check_config_names_problems_on_standard_error(refused: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", refused]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        f"{refused}:21:11: Scheduling.SlurmQueues[0].ComputeResources[0].MaxCnt: unknown key (did you mean MaxCount?)",
        f"{refused}: 1 problem",
    ]


def test_check_config_as_json(refused: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", refused, "--output", "json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["accepted"] is False
    assert answer["problems"] == [
        {
            "path": "Scheduling.SlurmQueues[0].ComputeResources[0].MaxCnt",
            "message": "unknown key",
            "line": 21,
            "column": 11,
            "value": "",
            "suggestion": "did you mean MaxCount?",
        }
    ]
    assert main(["check-config", EXAMPLE, "--output", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["accepted"], answer["problems"], answer["cluster"]["dynamic_nodes"]) == (True, [], 9)


def test_check_config_warns_of_what_is_allowed_and_will_disappoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cluster.yaml"
    text = Path(EXAMPLE).read_text().replace("MaxCount: 10", "MaxCount: 4000")
    file.write_text(f"{text}\nDevSettings:\n  Timeouts:\n    ComputeNodeBootstrapTimeout: 900\n")
    assert main(["check-config", str(file)]) == 0
    assert "can have 4,000 nodes" in capsys.readouterr().err
    assert main(["check-config", str(file), "--output", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["accepted"] is True
    assert len(answer["warnings"]) == 1


def test_config_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config-schema"]) == 0
    assert json.loads(capsys.readouterr().out)["additionalProperties"] is False


def test_render_writes_to_standard_output_or_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "slurm-conf", EXAMPLE, "--program-dir", "/opt/hooks"]) == 0
    text = capsys.readouterr().out
    assert "\nResumeProgram=/opt/hooks/resume\n" in text
    target = tmp_path / "slurm_clustermgtd.conf"
    assert main(["render", "slurm-conf", EXAMPLE, "--program-dir", "/opt/hooks", "--output-file", str(target)]) == 0
    assert target.read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_render_leaves_out_what_a_release_finds_defunct(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "slurm-conf", EXAMPLE, "--slurm-release", "24.11.5"]) == 0
    assert "NoAddrCache" not in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["render", "slurm-conf", EXAMPLE, "--slurm-release", "new"])
    assert "'new' is not a release of Slurm, such as 24.11" in capsys.readouterr().err


def test_render_fails_for_a_refused_file_or_an_unwritable_place(
    refused: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", "slurm-conf", refused]) == 1
    assert "MaxCnt: unknown key" in capsys.readouterr().err
    target = tmp_path / "missing" / "slurm.conf"
    assert main(["render", "slurm-conf", EXAMPLE, "--output-file", str(target)]) == 1
    assert capsys.readouterr().err == f"{target}: cannot be written: No such file or directory\n"


@pytest.mark.parametrize(
    "argv", [[], ["fly"], ["check-config"], ["check-config", EXAMPLE, "--output", "xml"], ["render"]]
)
def test_a_wrong_command_line_is_exit_status_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2
    assert "usage: clustermgtctl" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["check-config"],
        ["config-schema"],
        ["fleet"],
        ["fleet", "status"],
        ["fleet", "stop"],
        ["fleet", "start"],
        ["fleet", "confirm-terminations"],
        ["render"],
        ["render", "slurm-conf"],
    ],
)
def test_every_help_shows_examples_and_exit_statuses(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*argv, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert "exit status:" in text
